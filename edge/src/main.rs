//! `edge`: the stateless tier. Receives OTLP and routes every record to its backend.

mod commands;
mod components;
mod loadbalancing;

use std::process::ExitCode;

use shared::service::cli::{self, App};

/// Gives memory back to the system by background threads, so that a burst does not stay in RSS;
/// after how long is set where jemalloc is built, in `.cargo/config.toml`.
#[cfg(not(test))] // Tests have one that counts.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::main(&App {
        name: "edge",
        version: env!("CARGO_PKG_VERSION"),
        about: env!("CARGO_PKG_DESCRIPTION"),
        registry: components::registry(),
        descriptors: components::descriptors(),
        commands: commands::all(),
    })
}
