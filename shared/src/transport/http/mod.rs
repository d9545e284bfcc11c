//! HTTP on hyper: OTLP/HTTP's server and client.

pub mod server;
