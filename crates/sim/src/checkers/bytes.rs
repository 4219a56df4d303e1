//! I-19: every byte that is delivered was verified. Whatever a machine gives a name, and whatever a program finds as its input, is what its digest says.

use blob::Digest;

use super::{Checker, Fact, Moment};
use crate::machine::{self, name};

/// Looks at what is named and what is handed to programs.
#[derive(Debug)]
pub(super) struct Bytes;

impl Checker for Bytes {
    fn code(&self) -> &'static str {
        "I-19"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Fetched {
                machine,
                digest,
                bytes,
            } => check(&format!("what {} fetched", name(*machine)), *digest, bytes),
            Fact::Started {
                machine,
                fence,
                assignment,
            } => {
                let files = assignment.inputs.iter().flat_map(|input| &input.files);
                for file in files {
                    let digest = machine::digest(&file.digest);
                    let bytes = moment.blobs.bytes(*machine, digest);
                    let bytes = bytes.ok_or(format!("{fence} starts without {}", file.uri))?;
                    check(&format!("{} of {fence}", file.uri), digest, bytes)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn check(what: &str, digest: Digest, bytes: &[u8]) -> Result<(), String> {
    let is = Digest::of(bytes);
    match is == digest {
        true => Ok(()),
        false => Err(format!("{what} should be {digest} and is {is}")),
    }
}
