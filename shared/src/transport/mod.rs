//! gRPC and HTTP, servers and clients, moving opaque bytes.
//!
//! [`grpc`] and [`http`] stand on [`connect`] and [`listen`] for connections and on [`tls`];
//! [`status`] is the only place that names gRPC codes and HTTP statuses, [`compression`] the only
//! one that inflates.

pub mod grpc;
pub mod http;

mod bind;
mod bounds;
pub mod budget;
pub mod compression;
pub mod connect;
mod connections;
pub(crate) mod frames;
mod gathered;
pub mod guarded;
mod lifetime;
pub mod listen;
pub mod socket;
pub mod status;
pub mod stream;
pub mod tls;
mod tunnel;
