//! Giving a blob to a program: a copy of its own, which it may change.

use super::{Blobs, hash_file};
use crate::error::{DiskError, During};
use blob::{CHUNK, Digest, ManifestBuilder};
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

impl Blobs {
    /// Puts a private copy, which its owner may write to, at `to`, which must not exist; whether the blob is here.
    ///
    /// Where the file system can share blocks, nothing is copied. Either way the bytes are checked (I-19): a damaged
    /// blob is set aside and is an error, and nothing is left at `to`. The copy is not synced: a program that is
    /// interrupted by a power cut is not resumed from its inputs.
    pub fn copy_out(&self, digest: &Digest, to: &Path) -> Result<bool, DiskError> {
        let Some(blob) = self.open_blob(digest)? else {
            return Ok(false);
        };
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(to)
            .during("creating", to)?;
        let copied = copy(&blob.file, &blob.path, &file, to);
        let copied = copied.and_then(|found| {
            if found != *digest {
                let why = format!("its bytes have the digest {found}");
                return Err(self.quarantine(digest, &why));
            }
            fs::set_permissions(to, Permissions::from_mode(0o644)).during("making writable", to)
        });
        if copied.is_err() {
            // Nothing that looks like the blob; the error that matters is the one at hand.
            let _ = fs::remove_file(to);
        }
        self.used(digest);
        copied.map(|()| true)
    }
}

/// Copies, and gives the digest of what was copied.
fn copy(from: &File, from_path: &Path, mut to: &File, to_path: &Path) -> Result<Digest, DiskError> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return hash_file(from, from_path).map(|(digest, _)| digest);
    }
    let mut from = from;
    let mut builder = ManifestBuilder::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(builder.finish().0),
            Ok(len) => {
                builder.update(&buffer[..len]);
                to.write_all(&buffer[..len]).during("writing", to_path)?;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e).during("reading", from_path),
        }
    }
}
