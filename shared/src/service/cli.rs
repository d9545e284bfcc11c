//! The command line, the same for every tier.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::factory::{Kind, Registry};
use crate::telemetry::metrics::Descriptor;

/// A binary: what it is called and which components it knows.
pub struct App {
    /// Name of the binary.
    pub name: &'static str,
    /// Version of the binary.
    pub version: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// Its component types.
    pub registry: Registry,
    /// The metrics of its components.
    pub descriptors: Vec<&'static [Descriptor]>,
}

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the component types that this binary knows
    Components,
}

/// Runs a binary until it is done or told to stop.
pub fn main(app: App) -> ExitCode {
    let command = <Arguments as clap::CommandFactory>::command()
        .name(app.name)
        .version(app.version)
        .about(app.about);
    let arguments = command
        .try_get_matches()
        .and_then(|matches| <Arguments as clap::FromArgMatches>::from_arg_matches(&matches));
    match arguments {
        Ok(Arguments { command: Command::Components }) => print(&components(&app)),
        Err(error) => {
            let shown = error.print();
            match shown.is_ok() && !error.use_stderr() {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(64),
            }
        }
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// All component types as YAML, under the Collector's keys; older spellings are left out.
fn components(app: &App) -> String {
    let mut text = format!(
        "buildinfo:\n  command: {}\n  description: {}\n  version: {}\n",
        app.name, app.about, app.version
    );
    for kind in Kind::ALL {
        let mut factories: Vec<_> =
            app.registry.factories().iter().filter(|factory| factory.kind == kind).collect();
        factories.sort_by_key(|factory| factory.type_name);
        text.push_str(kind.section());
        text.push_str(match factories.is_empty() {
            true => ": []\n",
            false => ":\n",
        });
        for factory in factories {
            writeln!(text, "  - name: {}", factory.type_name).expect("a string takes any text");
        }
    }
    text
}
