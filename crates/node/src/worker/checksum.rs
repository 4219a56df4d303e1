//! The checksums that programs are told of their inputs, made while the bytes pass.

use blob::Digest;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Checksums of a file and its size.
#[derive(Debug, Clone)]
pub(super) struct Checksums {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// By algorithm, in hexadecimal.
    others: Vec<(String, String)>,
}

impl Checksums {
    /// A file whose digest is known and verified.
    pub(super) fn known(digest: Digest, size: u64) -> Self {
        Self {
            digest,
            size,
            others: Vec::new(),
        }
    }

    /// Something that takes bytes as they pass.
    pub(super) fn hasher() -> Hasher {
        Hasher {
            blake3: blake3::Hasher::new(),
            md5: Md5::new(),
            sha1: Sha1::new(),
            sha256: Sha256::new(),
            size: 0,
        }
    }

    /// By the names of the algorithms.
    pub(super) fn by_name(self) -> Vec<(String, String)> {
        self.others
    }
}

/// Takes bytes as they pass.
pub(super) struct Hasher {
    blake3: blake3::Hasher,
    md5: Md5,
    sha1: Sha1,
    sha256: Sha256,
    size: u64,
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.blake3.update(bytes);
        self.md5.update(bytes);
        self.sha1.update(bytes);
        self.sha256.update(bytes);
        self.size += bytes.len() as u64;
    }

    pub(super) fn finish(self) -> Checksums {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        Checksums {
            digest: Digest(*self.blake3.finalize().as_bytes()),
            size: self.size,
            others: vec![
                ("md5".to_owned(), hex(&self.md5.finalize())),
                ("sha1".to_owned(), hex(&self.sha1.finalize())),
                ("sha256".to_owned(), hex(&self.sha256.finalize())),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sums_of_abc() {
        let mut hasher = Checksums::hasher();
        hasher.update(b"a");
        hasher.update(b"bc");
        let sums = hasher.finish();
        assert_eq!(
            (sums.size, sums.digest),
            (3, Digest(*blake3::hash(b"abc").as_bytes()))
        );
        let sums: Vec<_> = sums
            .by_name()
            .into_iter()
            .map(|(name, sum)| format!("{name}:{}", &sum[..8]))
            .collect();
        assert_eq!(sums, ["md5:90015098", "sha1:a9993e36", "sha256:ba7816bf"]);
    }
}
