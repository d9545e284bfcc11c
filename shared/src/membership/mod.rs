//! Which backend owns which key: who the backends are, and the ring that both tiers agree on.
//!
//! In reading order: a [`resolver`] finds the endpoints of the backends, where [`members`] says
//! who stays when a lookup fails; a [`ring`] is a pure function of that set; [`routes`] joins the
//! ring with a backend for each endpoint and swaps both at once when the set changes.

pub mod resolver;

pub mod members;
pub mod ring;

pub mod routes;

pub use resolver::{Names, Resolver, ResolverConfig};
pub use ring::{Owners, Ring, RingHash};
pub use routes::{Connect, Endpoints, Following, Member, RouteTable, Routes};

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The port of a backend whose endpoint names none: OTLP/gRPC's.
pub const DEFAULT_PORT: u16 = 4317;

/// The most endpoints a set may have; what is beyond, in sorted order, is left out.
///
/// A DNS answer of 64 KiB holds about as many addresses.
pub const MAX_ENDPOINTS: usize = 4096;

/// The address to dial for `endpoint`, which may lack a port.
pub fn dial_address(endpoint: &str) -> Cow<'_, str> {
    if endpoint.parse::<Ipv6Addr>().is_ok() {
        return Cow::Owned(format!("[{endpoint}]:{DEFAULT_PORT}"));
    }
    match endpoint.ends_with(']') || !endpoint.contains(':') {
        true => Cow::Owned(format!("{endpoint}:{DEFAULT_PORT}")),
        false => Cow::Borrowed(endpoint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_a_port_is_dialled_at_4317() {
        let check = |endpoint, expected| assert_eq!(dial_address(endpoint), expected);
        check("10.0.0.1", "10.0.0.1:4317");
        check("10.0.0.1:5317", "10.0.0.1:5317");
        check("backend-1", "backend-1:4317");
        check("fd00::1", "[fd00::1]:4317");
        check("[fd00::1]", "[fd00::1]:4317");
        check("[fd00::1]:5317", "[fd00::1]:5317");
    }
}
