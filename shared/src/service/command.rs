//! Subcommands that only one tier has.

use std::sync::Arc;

use super::model::Model;
use crate::config::Node;

/// `EX_USAGE` of sysexits.h.
pub(super) const WRONG_USAGE: u8 = 64;

/// A subcommand of one tier. It takes `--config` and `--set` as all do.
pub struct TierCommand {
    /// Its name, help and further arguments.
    pub define: fn() -> clap::Command,
    /// Does its work; what it gives back is printed.
    pub run: fn(&Loaded, &clap::ArgMatches) -> Result<String, Failure>,
}

/// A configuration that makes sense.
pub struct Loaded {
    /// As it was read, expanded.
    pub root: Arc<Node>,
    /// What it says.
    pub model: Model,
}

/// Why a command did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub(super) code: u8,
    /// For stderr; empty when it was logged.
    pub(super) text: String,
}

impl Failure {
    /// The command line or the configuration is wrong.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { code: WRONG_USAGE, text: text.into() }
    }

    /// The world did not answer as it should.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    /// What is said of it.
    pub fn text(&self) -> &str {
        &self.text
    }
}
