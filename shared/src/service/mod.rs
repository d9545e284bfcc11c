//! Makes a running process out of components and a configuration.
//!
//! In reading order: [`factory`] says what a component must be able to do, [`commons`] what those
//! of a process share, [`KeptTraces`] among it; [`registry`] lists those that a binary knows; [`model`] reads a
//! configuration into components and pipelines; `graph` builds them; [`run`] starts and stops the
//! whole, `reload` changes it; [`cli`] is the command line, [`command`] what a tier adds to it, and
//! `serve` runs a process that `watch`es its configuration.

pub mod commons;
pub mod factory;
mod kept_traces;
pub mod registry;

pub mod model;
mod pipelines;
mod topology;

mod graph;
mod reload;
pub mod run;
pub mod runtime;

pub mod cli;
pub mod command;
mod serve;
mod watch;

#[cfg(test)]
mod testing;

pub use command::{Failure, Loaded, TierCommand};
pub use commons::Commons;
pub use factory::{
    BuildError, ComponentId, ConnectorConfig, Context, ExporterConfig, Extension, ExtensionConfig,
    Kind, Losses, Outputs, ProcessorConfig, Receiver, ReceiverConfig,
};
pub use kept_traces::KeptTraces;
pub use model::Model;
pub use registry::{Gate, Registry, Turned};
pub use reload::Reloaded;
pub use run::{Outcome, Running};
pub use serve::DESCRIPTORS;
