//! HTTP on hyper: OTLP/HTTP's server and client.

pub mod client;
pub mod server;
