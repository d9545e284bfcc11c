//! HTTP on hyper: a client, and OTLP/HTTP's server and client.

pub mod client;
mod cors;
pub mod request;
pub mod server;
