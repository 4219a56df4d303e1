//! The engine that tests use, and the images that they make in it.

use bollard::Docker;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, InspectContainerOptions, TagImageOptionsBuilder,
};
use bytes::Bytes;
use futures::StreamExt;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use tokio::runtime::Runtime;

/// With a shell, as root.
pub(crate) const BUSYBOX: &str = "shoal-test:busybox";
/// The same with a user of its own, and variables.
pub(crate) const USER: &str = "shoal-test:user";
/// One static program, `/bin/echo`, and no shell.
pub(crate) const BARE: &str = "shoal-test:bare";

/// An engine with the images.
pub(crate) struct Engine {
    /// Where it is; none for the usual socket.
    pub(crate) host: Option<String>,
    pub(crate) docker: Docker,
    pub(crate) pool: Runtime,
}

/// The engine; none where there is none, which is said once.
pub(crate) fn engine() -> Option<&'static Engine> {
    static ENGINE: OnceLock<Option<Engine>> = OnceLock::new();
    let host = std::env::var("DOCKER_HOST").ok();
    let host = host.filter(|host| !host.is_empty());
    let found = ENGINE.get_or_init(|| match Engine::reach(host) {
        Ok(engine) => Some(engine),
        Err(reason) => {
            println!("SKIPPED, all that needs a container engine: {reason}");
            None
        }
    });
    found.as_ref()
}

impl Engine {
    /// The engine there, with the images.
    pub(crate) fn reach(host: Option<String>) -> Result<Engine, String> {
        let pool = Runtime::new().map_err(|error| error.to_string())?;
        let busybox = static_busybox()?;
        let docker = pool.block_on(async {
            let docker = match &host {
                Some(host) => Docker::connect_with_unix(host, 120, bollard::API_DEFAULT_VERSION),
                None => Docker::connect_with_unix_defaults(),
            };
            let docker = docker.map_err(|error| error.to_string())?;
            docker
                .negotiate_version()
                .await
                .map_err(|error| error.to_string())
        })?;
        let engine = Engine { host, docker, pool };
        engine.import(BUSYBOX, &tree(&busybox), &[]);
        let changes = [
            "USER 1234:1234",
            "ENV FROM_IMAGE=yes",
            "ENV LD_PRELOAD=/nowhere.so",
            "ENTRYPOINT [\"/bin/false\"]",
            "WORKDIR /tmp",
        ];
        engine.import(USER, &tree(&busybox), &changes);
        engine.import(BARE, &bare(&busybox), &["CMD [\"/bin/echo\"]"]);
        Ok(engine)
    }

    /// Makes an image of a tree, unless it is there from an earlier run.
    pub(crate) fn import(&self, name: &str, tree: &[u8], changes: &[&str]) {
        let (repo, tag) = name.split_once(':').unwrap();
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(repo)
            .tag(tag)
            .changes(changes.iter().map(|change| (*change).to_owned()).collect())
            .build();
        self.pool.block_on(async {
            if self.docker.inspect_image(name).await.is_ok() {
                return;
            }
            let body = bollard::body_full(Bytes::copy_from_slice(tree));
            let mut answers = Box::pin(self.docker.create_image(Some(options), Some(body), None));
            while let Some(answer) = answers.next().await {
                answer.unwrap();
            }
            // Podman takes no notice of the tag.
            if self.docker.inspect_image(name).await.is_err() {
                let tag = TagImageOptionsBuilder::default()
                    .repo(repo)
                    .tag(tag)
                    .build();
                let latest = format!("{repo}:latest");
                self.docker.tag_image(&latest, Some(tag)).await.unwrap();
            }
        });
    }

    pub(crate) fn remove_image(&self, name: &str) {
        let options = None::<bollard::query_parameters::RemoveImageOptions>;
        let removed = self.docker.remove_image(name, options, None);
        self.pool.block_on(removed).unwrap();
    }

    pub(crate) fn has_image(&self, name: &str) -> bool {
        self.pool.block_on(self.docker.inspect_image(name)).is_ok()
    }

    /// Gives an image another name.
    pub(crate) fn tag(&self, image: &str, name: &str) {
        let (repo, tag) = name.split_once(':').unwrap();
        let options = TagImageOptionsBuilder::default()
            .repo(repo)
            .tag(tag)
            .build();
        let tagged = self.docker.tag_image(image, Some(options));
        self.pool.block_on(tagged).unwrap();
    }

    /// Names of the containers with that label and value.
    pub(crate) fn containers(&self, label: &str, value: &str) -> Vec<String> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{label}={value}")])]);
        let options = bollard::query_parameters::ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let found = self
            .pool
            .block_on(self.docker.list_containers(Some(options)));
        let names = found
            .unwrap()
            .into_iter()
            .filter_map(|found| found.names?.pop());
        names
            .map(|name| name.trim_start_matches('/').to_owned())
            .collect()
    }

    /// What the engine says of a container, as JSON.
    pub(crate) fn inspect(&self, name: &str) -> serde_json::Value {
        let options = None::<InspectContainerOptions>;
        let found = self
            .pool
            .block_on(self.docker.inspect_container(name, options));
        serde_json::to_value(found.unwrap()).unwrap()
    }
}

fn static_busybox() -> Result<Vec<u8>, String> {
    let path = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .ok_or("there is no busybox (package busybox-static)")?;
    let output = Command::new("ldd").arg(path).output();
    let is_dynamic = output.is_ok_and(|output| output.status.success());
    match is_dynamic {
        true => Err(format!("{path} is not static (package busybox-static)")),
        false => std::fs::read(path).map_err(|error| error.to_string()),
    }
}

/// The tree of an image with a shell.
fn tree(busybox: &[u8]) -> Vec<u8> {
    let mut tree = tar::Builder::new(Vec::new());
    for dir in ["bin/", "etc/", "tmp/", "root/", "usr/", "usr/bin/"] {
        append(
            &mut tree,
            dir,
            if dir == "tmp/" { 0o1777 } else { 0o755 },
            b"",
        );
    }
    append(&mut tree, "bin/busybox", 0o755, busybox);
    append(
        &mut tree,
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nuser:x:1234:1234::/tmp:/bin/sh\n",
    );
    let listed = Command::new("busybox").arg("--list").output().unwrap();
    for name in String::from_utf8(listed.stdout).unwrap().lines() {
        if name != "busybox" {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tree.append_link(&mut header, format!("bin/{name}"), "busybox")
                .unwrap();
        }
    }
    tree.into_inner().unwrap()
}

/// The tree of an image without a shell, as an archive.
pub(crate) fn bare_tree() -> Result<Vec<u8>, String> {
    Ok(bare(&static_busybox()?))
}

/// An archive of one file.
pub(crate) fn tree_of(path: &str, bytes: &[u8]) -> Vec<u8> {
    let mut tree = tar::Builder::new(Vec::new());
    append(&mut tree, path, 0o644, bytes);
    tree.into_inner().unwrap()
}

/// The tree of an image without.
fn bare(busybox: &[u8]) -> Vec<u8> {
    let mut tree = tar::Builder::new(Vec::new());
    append(&mut tree, "bin/", 0o755, b"");
    // One program of busybox, by its name.
    append(&mut tree, "bin/echo", 0o755, busybox);
    tree.into_inner().unwrap()
}

fn append(tree: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    if path.ends_with('/') {
        header.set_entry_type(tar::EntryType::Directory);
    }
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    tree.append_data(&mut header, path, bytes).unwrap();
}
