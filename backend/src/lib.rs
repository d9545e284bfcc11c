//! `backend`: the stateful tier. Keeps whole traces until they can be judged, and exports.
//!
//! A library, so that micro-benchmarks reach the sampler: see [`Sampler`]. The program is [`main`].

mod commands;
mod components;
mod prometheus;
mod remote_write;
mod tail_sampling;

use std::process::ExitCode;

use shared::service::cli::{self, App};

pub use tail_sampling::Sampler;

/// Runs the program by its command line.
pub fn main() -> ExitCode {
    cli::main(&App {
        name: "backend",
        version: env!("CARGO_PKG_VERSION"),
        about: env!("CARGO_PKG_DESCRIPTION"),
        registry: components::registry(),
        descriptors: components::descriptors(),
        commands: commands::all(),
    })
}
