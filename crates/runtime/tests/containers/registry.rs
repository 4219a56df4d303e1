//! A registry of one image, spoken to as the engine does: enough to pull, and to be refused.

use sha2::{Digest as _, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// What is served, until the process ends.
pub(crate) struct Registry {
    /// `127.0.0.1:PORT`: engines take such for insecure without being told.
    pub(crate) address: String,
}

/// `image:1` is there, `private:1` is for others, and there is nothing else.
struct Content {
    manifest: Vec<u8>,
    blobs: Vec<(String, Vec<u8>)>,
}

impl Registry {
    /// Serves an image of one layer: a tar archive.
    pub(crate) fn serve(layer: Vec<u8>) -> Registry {
        let layer_digest = digest(&layer);
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["PULLED=yes"]}},"rootfs":{{"type":"layers","diff_ids":["{layer_digest}"]}},"history":[{{"created_by":"a test"}}]}}"#
        )
        .into_bytes();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":{},"digest":"{}"}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":{},"digest":"{layer_digest}"}}]}}"#,
            config.len(),
            digest(&config),
            layer.len(),
        )
        .into_bytes();
        let content = Content {
            manifest,
            blobs: vec![(digest(&config), config), (layer_digest, layer)],
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let content = std::sync::Arc::new(content);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let content = content.clone();
                std::thread::spawn(move || content.answer(stream));
            }
        });
        Registry { address }
    }
}

impl Content {
    /// One request a connection. What goes wrong is the engine's to tell.
    fn answer(&self, stream: TcpStream) {
        let mut lines = BufReader::new(&stream).lines();
        let Some(Ok(request)) = lines.next() else {
            return;
        };
        for line in lines {
            if line.is_ok_and(|line| line.is_empty()) {
                break;
            }
        }
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let error = |code: &str, message: &str| {
            format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#).into_bytes()
        };
        let json = "application/json";
        let blob = self
            .blobs
            .iter()
            .find(|(digest, _)| path.ends_with(digest.as_str()));
        let (status, kind, body, more) = if path == "/v2/" {
            ("200 OK", json, b"{}".to_vec(), String::new())
        } else if path.starts_with("/v2/private/") {
            let asks = "Www-Authenticate: Basic realm=\"stub\"\r\n".to_owned();
            let body = error("UNAUTHORIZED", "authentication required");
            ("401 Unauthorized", json, body, asks)
        } else if path.starts_with("/v2/image/manifests/") {
            let kind = "application/vnd.oci.image.manifest.v1+json";
            let digest = format!("Docker-Content-Digest: {}\r\n", digest(&self.manifest));
            ("200 OK", kind, self.manifest.clone(), digest)
        } else if let Some((_, blob)) = blob {
            (
                "200 OK",
                "application/octet-stream",
                blob.clone(),
                String::new(),
            )
        } else {
            let body = error("MANIFEST_UNKNOWN", "manifest unknown");
            ("404 Not Found", json, body, String::new())
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        let _ = stream.write_all(head.as_bytes());
        if method != "HEAD" {
            let _ = stream.write_all(&body);
        }
    }
}

/// As registries name bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
