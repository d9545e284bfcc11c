//! HTTP on hyper: OTLP/HTTP's server and client.

pub mod client;
mod cors;
pub mod server;
