//! gRPC and HTTP, servers and clients, moving opaque bytes.
