//! Makes a running process out of components and a configuration.

pub mod cli;
pub mod factory;

pub use factory::{
    BuildError, ComponentId, ConnectorConfig, Context, ExporterConfig, Extension, ExtensionConfig,
    Kind, Losses, Outputs, ProcessorConfig, Receiver, ReceiverConfig, Registry,
};
