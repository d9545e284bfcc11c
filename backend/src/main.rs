//! `backend`: the stateful tier. Keeps whole traces until they can be judged, and exports.

mod commands;
mod components;
mod prometheus;
mod remote_write;
mod tail_sampling;

use std::process::ExitCode;

use shared::service::cli::{self, App};

/// Gives memory back to the system by background threads, so that a burst does not stay in RSS;
/// after how long is set where jemalloc is built, in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::main(&App {
        name: "backend",
        version: env!("CARGO_PKG_VERSION"),
        about: env!("CARGO_PKG_DESCRIPTION"),
        registry: components::registry(),
        descriptors: components::descriptors(),
        commands: commands::all(),
    })
}
