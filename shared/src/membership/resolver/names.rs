//! The addresses of backends that are on the ring by name, asked of the servers that named them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::proto::rr::Name;
use tokio::time::Instant;

use super::dns::{Addresses, IpFamily};
use super::lookup::ask_each;
use super::nameserver::{Failure, Nameservers};
use crate::transport::connect::HostLookup;

/// Looks names up by the nameservers of a resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub(super) servers: Vec<SocketAddr>,
    /// For one name.
    pub(super) timeout: Duration,
}

impl Names {
    async fn ask(&self, host: &str) -> Result<Vec<IpAddr>, Failure> {
        let deadline = Instant::now() + self.timeout;
        let nameservers = Nameservers::given(&self.servers, self.timeout)?;
        let name = Name::from_utf8(host).map_err(|error| Failure::other(error.to_string()))?;
        let question = Addresses { port: String::new(), family: IpFamily::Any };
        Ok(ask_each(&question, &nameservers, &name, deadline).await?.answer.found)
    }
}

#[async_trait]
impl HostLookup for Names {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.ask(host).await.map_err(|failure| io::Error::other(failure.reason))
    }
}
