//! HTTP on hyper: OTLP/HTTP's server and client, requests to others, and a server of pages.

pub mod client;
mod cors;
pub mod pages;
pub mod request;
pub mod server;
