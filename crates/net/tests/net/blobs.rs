//! Blobs: up, down, and from node to node, every byte verified.

use std::io::{self, Cursor};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use blob::{CHUNK, ChunkSet, Digest, Manifest, ManifestBuilder, VerifiedChunk};
use bytes::Bytes;
use client::{BlobSource, Kind};
use contract::api::{self, ErrorReason};
use net::{ChunkSink, PeerBlobs, PeerError, Wanted};

use crate::support::host::{Host, MemoryBlobs, Server, serve_blobs};
use crate::support::{impatient, ledgers, soon};

/// Bytes that differ from chunk to chunk, a little more than three chunks.
fn content() -> Bytes {
    let length = 3 * CHUNK + 12_345;
    (0..length)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect::<Vec<_>>()
        .into()
}

/// A node that has the blob.
async fn node(content: &Bytes) -> (Arc<MemoryBlobs>, Server) {
    let blobs = Arc::new(MemoryBlobs::default());
    blobs.insert(content);
    let server = serve_blobs(blobs.clone()).await;
    (blobs, server)
}

/// Puts chunks together, and refuses to take one twice.
#[derive(Default)]
pub struct Assembled {
    manifest: Option<Manifest>,
    bytes: Vec<u8>,
    written: Vec<u64>,
}

#[net::async_trait]
impl ChunkSink for Assembled {
    async fn begin(&mut self, manifest: &Manifest) -> io::Result<()> {
        assert!(self.manifest.is_none(), "begun twice");
        self.manifest = Some(manifest.clone());
        self.bytes.resize(manifest.size() as usize, 0);
        Ok(())
    }

    async fn write(&mut self, chunk: VerifiedChunk<'_>) -> io::Result<()> {
        assert!(
            !self.written.contains(&chunk.index()),
            "chunk {} came twice",
            chunk.index()
        );
        self.written.push(chunk.index());
        let start = chunk.offset() as usize;
        self.bytes[start..start + chunk.data().len()].copy_from_slice(chunk.data());
        Ok(())
    }
}

pub fn wanted(content: &Bytes, sources: &[&str]) -> Wanted {
    Wanted {
        digest: Digest::of(content),
        size: content.len() as u64,
        sources: sources.iter().map(|source| (*source).to_owned()).collect(),
        seed: 1,
        present: None,
    }
}

#[tokio::test]
async fn from_several_nodes_at_once() {
    let content = content();
    let (blobs, one) = node(&content).await;
    let (others, two) = node(&content).await;
    let mut sink = Assembled::default();
    let (peers, wanted) = (
        PeerBlobs::default(),
        wanted(&content, &[&one.address, &two.address]),
    );
    let fetched = peers.fetch(wanted, &mut sink);
    assert_eq!(soon(fetched).await.unwrap().digest(), Digest::of(&content));
    assert_eq!(sink.bytes, content);
    assert!(blobs.reads.load(Ordering::Relaxed) > 0 && others.reads.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_small_and_an_empty_blob() {
    for content in [Bytes::from_static(b"small"), Bytes::new()] {
        let (_, server) = node(&content).await;
        let mut sink = Assembled::default();
        soon(PeerBlobs::default().fetch(wanted(&content, &[&server.address]), &mut sink))
            .await
            .unwrap();
        assert_eq!(sink.bytes, content);
    }
}

/// I-19: wrong bytes are never given out, and another node makes up for the one that sent them.
#[tokio::test]
async fn a_corrupting_source_is_replaced() {
    let content = content();
    let (bad, liar) = node(&content).await;
    bad.damage(Digest::of(&content));
    let (_, honest) = node(&content).await;
    let mut sink = Assembled::default();
    let sources = [
        liar.address.as_str(),
        "127.0.0.1:1",
        honest.address.as_str(),
    ];
    soon(PeerBlobs::default().fetch(wanted(&content, &sources), &mut sink))
        .await
        .unwrap();
    assert_eq!(sink.bytes, content);
}

#[tokio::test]
async fn data_loss_when_no_good_source_is_left() {
    let content = content();
    let (bad, liar) = node(&content).await;
    bad.damage(Digest::of(&content));
    let mut sink = Assembled::default();
    let error = soon(PeerBlobs::default().fetch(wanted(&content, &[&liar.address]), &mut sink))
        .await
        .unwrap_err();
    assert!(matches!(error, PeerError::DataLoss { .. }), "{error}");
    assert!(error.to_string().starts_with("DATA_LOSS"), "{error}");
    assert!(sink.written.is_empty());

    let mut sink = Assembled::default();
    let error = soon(PeerBlobs::default().fetch(wanted(&content, &["127.0.0.1:1"]), &mut sink))
        .await
        .unwrap_err();
    assert!(matches!(error, PeerError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_fetch_goes_on_with_what_is_here() {
    let content = content();
    let (_, server) = node(&content).await;
    let mut builder = ManifestBuilder::new();
    builder.update(&content);
    let manifest = builder.finish().1;
    let mut present = ChunkSet::empty(manifest.chunk_count());
    present.insert(0);
    present.insert(2);
    let mut sink = Assembled::default();
    let wanted = Wanted {
        present: Some((manifest, present)),
        ..wanted(&content, &[&server.address])
    };
    soon(PeerBlobs::default().fetch(wanted, &mut sink))
        .await
        .unwrap();
    sink.written.sort();
    assert_eq!(sink.written, [1, 3]);
}

#[tokio::test]
async fn an_upload_arrives_and_travels_once() {
    let host = Host::new();
    let server = host.serve().await;
    let client = impatient(&server.address);
    let content = content();
    let (digest, size) = client
        .upload_blob(&BlobSource::Bytes(content.clone()))
        .await
        .unwrap();
    assert_eq!(
        (Digest(digest), size),
        (Digest::of(&content), content.len() as u64)
    );
    assert_eq!(host.blobs.get(&Digest(digest)).unwrap(), content);

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &content[1..]).unwrap();
    let (digest, _) = client
        .upload_blob(&BlobSource::File(file.path().to_owned()))
        .await
        .unwrap();
    assert_eq!(host.blobs.get(&Digest(digest)).unwrap(), content[1..]);
    let missing = client
        .upload_blob(&BlobSource::File("/nowhere".into()))
        .await
        .unwrap_err();
    assert_eq!(missing.kind, Kind::Local);
    server.stop().await;
}

/// A datum of an execution whose outputs lie on workers at these addresses.
fn datum(content: &Bytes, locations: &[&str]) -> api::Datum {
    api::Datum {
        name: "projects/p/data/00000000-0000-4000-8000-000000000000".to_owned(),
        file_name: "model.bin".to_owned(),
        size_bytes: content.len() as i64,
        digest: Bytes::copy_from_slice(Digest::of(content).as_bytes()),
        locations: locations
            .iter()
            .map(|location| (*location).to_owned())
            .collect(),
        ..api::Datum::default()
    }
}

#[tokio::test]
async fn a_download_is_verified_and_tries_every_location() {
    let content = content();
    let (bad, liar) = node(&content).await;
    bad.damage(Digest::of(&content));
    let (_, honest) = node(&content).await;
    let client = impatient("127.0.0.1:1");
    let mut into = Cursor::new(Vec::new());
    let mut told = 0;
    let datum_there = datum(&content, &["127.0.0.1:1", &liar.address, &honest.address]);
    soon(client.download(&datum_there, &mut into, &mut |bytes| told = bytes))
        .await
        .unwrap();
    assert_eq!(into.into_inner(), content);
    assert_eq!(told, content.len() as u64);

    let mut into = Cursor::new(Vec::new());
    let error = soon(client.download(&datum(&content, &[&liar.address]), &mut into, &mut |_| {}))
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::DataLoss);
}

#[tokio::test]
async fn a_download_goes_on_from_where_a_node_was_lost() {
    let content = content();
    let (blobs, server) = node(&content).await;
    let proxy = crate::support::proxy::Proxy::to(&server.address).await;
    proxy.budgets([CHUNK as u64 + 70_000]);
    let mut into = Cursor::new(Vec::new());
    let mut told = Vec::new();
    let there = datum(&content, &[&proxy.address, &server.address]);
    soon(impatient("127.0.0.1:1").download(&there, &mut into, &mut |bytes| told.push(bytes)))
        .await
        .unwrap();
    assert_eq!(into.into_inner(), content);
    assert!(told.is_sorted(), "it started over: {told:?}");
    assert!(blobs.reads.load(Ordering::Relaxed) <= 8);
}

#[tokio::test]
async fn bad_requests_about_blobs() {
    let host = Host::new();
    let server = host.serve().await;
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut blobs =
        api::blob_service_client::BlobServiceClient::new(channel.connect().await.unwrap());
    let reason = |status: tonic::Status| net::status::refusal(&status).reason;
    let digest = |bytes: &Bytes| Bytes::copy_from_slice(Digest::of(bytes).as_bytes());
    let content = Bytes::from_static(b"content");
    host.blobs.insert(&content);

    let read = |digest: Bytes, read_offset| api::ReadBlobRequest {
        digest,
        read_offset,
        read_limit: 0,
    };
    assert_eq!(
        reason(
            blobs
                .read_blob(read(digest(&content), 8))
                .await
                .unwrap_err()
        ),
        ErrorReason::PastEnd
    );
    assert_eq!(
        reason(
            blobs
                .read_blob(read(digest(&content), -1))
                .await
                .unwrap_err()
        ),
        ErrorReason::InvalidField
    );
    assert_eq!(
        reason(blobs.read_blob(read("short".into(), 0)).await.unwrap_err()),
        ErrorReason::InvalidField
    );
    assert_eq!(
        reason(
            blobs
                .read_blob(read(digest(&Bytes::new()), 0))
                .await
                .unwrap_err()
        ),
        ErrorReason::ResourceNotFound
    );

    let upload = |size_bytes, data: &'static [u8]| {
        let message = api::WriteBlobRequest {
            digest: digest(&Bytes::from_static(b"other")),
            size_bytes,
            data: data.into(),
        };
        tokio_stream::once(message)
    };
    assert_eq!(
        reason(blobs.write_blob(upload(5, b"wrong")).await.unwrap_err()),
        ErrorReason::DigestMismatch
    );
    assert_eq!(
        reason(blobs.write_blob(upload(9, b"other")).await.unwrap_err()),
        ErrorReason::InvalidField
    );
    assert_eq!(
        reason(blobs.write_blob(upload(2, b"other")).await.unwrap_err()),
        ErrorReason::InvalidField
    );
    assert!(
        !blobs
            .write_blob(upload(5, b"other"))
            .await
            .unwrap()
            .into_inner()
            .existed
    );
    assert!(
        blobs
            .write_blob(upload(5, b"other"))
            .await
            .unwrap()
            .into_inner()
            .existed
    );
    host.apply(vec![ledgers::create_execution("the server still serves")]);
    server.stop().await;
}
