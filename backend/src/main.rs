//! `backend`: see the library of this name.

use std::process::ExitCode;

/// Gives memory back to the system by background threads, so that a burst does not stay in RSS;
/// after how long is set where jemalloc is built, in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    backend::main()
}
