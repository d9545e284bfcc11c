//! gRPC and HTTP, servers and clients, moving opaque bytes.
//!
//! [`grpc`] stands on [`connect`] for sockets and on [`tls`]; [`status`] is the only file that
//! names gRPC and HTTP codes.

pub mod connect;
pub mod grpc;
pub mod status;
pub mod stream;
pub mod tls;
