//! Exporters that both tiers know, other than OTLP.

pub mod debug;
pub mod file;
