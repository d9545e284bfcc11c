//! The Collector's file model: read, checked with every problem named, then built.
//!
//! Reading goes from text to [`Node`]s that know their lines, from nodes to typed sections
//! ([`config_struct!`](crate::config_struct)), and from sections to components. Only this module
//! reads files and the environment.

mod node;
mod scalar;
pub mod yaml;

mod expand;
mod merge;
mod source;

mod document;
pub mod print;

mod decode;
mod problems;
#[cfg(test)]
pub(crate) mod testing;
pub mod units;
mod values;

mod auth;
mod compression;
mod cors;
mod endpoint;
mod grpc;
mod headers;
mod http;
mod proxy;
mod tls;

pub use auth::AuthConfig;
pub use compression::{Compression, CompressionParams};
pub use cors::CorsConfig;
pub use decode::{Decode, DecodeField, Fields, NotSupported, Section, expected, key_name};
pub use document::Document;
pub use endpoint::{Endpoint, Target};
pub use grpc::{
    Balancer, ClientKeepaliveConfig, GrpcClientConfig, GrpcServerConfig, KeepaliveParameters,
    KeepalivePolicy, ServerKeepaliveConfig, Transport,
};
pub use headers::Headers;
pub(crate) use http::validate_url;
pub use http::{HttpClientConfig, HttpServerConfig};
pub use node::{Data, Entry, Node, Place};
pub use problems::{Path, Problem, Problems, Reference, nearest};
pub use proxy::Proxy;
pub use source::{Process, World};
pub use tls::{ClientTlsConfig, Secret, ServerTlsConfig, TlsConfig, TlsVersion};
