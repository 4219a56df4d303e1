//! Entry point of the `shoal` binary.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The shim is started for every step and must do so fast: nothing else is set up before it.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "shim") {
        return runtime::shim::main(arguments);
    }
    cli::main()
}
