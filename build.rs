//! Compiles every `.proto` under `proto/` in pure Rust: protox parses, tonic-prost-build generates. No protoc is needed
//! and nothing generated is committed.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files = Vec::new();
    collect(Path::new("proto"), &mut files)?;
    files.sort();
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(&files)?;
    let descriptors = compiler.file_descriptor_set();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Encoded by the compiler: our annotations are extensions, which prost's own types would drop.
    fs::write(
        out.join("descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    let services = env::var_os("CARGO_FEATURE_SERVICES").is_some();
    // Every message knows its full name, by which `net` finds its annotations.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        // One encoding for one value: the ledger's state hash is taken over encoded messages.
        .btree_map(".")
        .build_client(services)
        .build_server(services)
        .build_transport(false)
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}

/// Finds every `.proto` under `directory`.
fn collect(directory: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            into.push(path);
        }
    }
    Ok(())
}
