//! Asks DNS servers: for which full names, over which transport, and what came of it.
//!
//! Nothing is cached here, so a change is seen with the next lookup. Questions go over UDP, and
//! again over TCP when the answer was cut off; half an answer is never taken for a whole one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};
use tokio::time::Instant;

use super::report::Outcome;

/// Why a question brought no records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    pub(super) reason: String,
}

impl Failure {
    /// One that is of none of the better-known kinds.
    pub(super) fn other(reason: String) -> Self {
        Self { outcome: Outcome::Failed, reason }
    }

    /// Whether a server said that there is nothing, which is an answer, too.
    pub(super) fn is_negative(&self) -> bool {
        matches!(self.outcome, Outcome::Empty | Outcome::NoSuchName)
    }
}

/// The DNS servers, and how names are completed.
pub(super) struct Nameservers {
    resolver: TokioResolver,
    hosts: Hosts,
    completion: Completion,
}

impl Nameservers {
    /// The servers that resolv.conf names, with its search domains and the system's hosts file.
    ///
    /// # Errors
    /// When the file cannot be read or names no server.
    pub(super) fn of_system(timeout: Duration) -> Result<Self, Failure> {
        let read = || {
            let (config, options) = read_system_conf()?;
            let mut search = config.search().to_vec();
            // Of `domain` and `search` the last one counts; then both are the same domain.
            if search.is_empty() {
                search.extend(config.domain().cloned());
            }
            let completion = Completion { search, ndots: options.ndots };
            let hosts = Hosts::from_system().unwrap_or_default();
            Self::new(config, timeout, hosts, completion)
        };
        read().map_err(|error| failure(&error))
    }

    /// These servers; every name is a full one.
    ///
    /// # Errors
    /// When there can be no client.
    pub(super) fn given(servers: &[SocketAddr], timeout: Duration) -> Result<Self, Failure> {
        let servers = servers.iter().copied().map(server).collect();
        let config = ResolverConfig::from_name_servers(servers);
        Self::new(config, timeout, Hosts::default(), Completion::default())
            .map_err(|error| failure(&error))
    }

    fn new(
        config: ResolverConfig,
        timeout: Duration,
        hosts: Hosts,
        completion: Completion,
    ) -> Result<Self, NetError> {
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        let options = builder.options_mut();
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        // Some 70 addresses fit into one UDP packet then, and not 28.
        options.edns0 = true;
        // One lost packet must not cost the whole lookup.
        options.timeout = timeout / 2;
        options.attempts = 2;
        Ok(Self { resolver: builder.build()?, hosts, completion })
    }

    #[cfg(test)]
    pub(super) fn completed_by(mut self, completion: Completion) -> Self {
        self.completion = completion;
        self
    }

    /// The full names to ask for, in this order.
    pub(super) fn full_names(&self, name: &Name) -> Vec<Name> {
        self.completion.full_names(name)
    }

    /// The addresses that the hosts file has for a name.
    pub(super) fn hosts_file(&self, name: &Name) -> Vec<IpAddr> {
        let lookup = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let found = [lookup(RecordType::A), lookup(RecordType::AAAA)];
        let records = found.iter().flatten().flat_map(Lookup::answers);
        records.filter_map(|record| record.data.ip_addr()).collect()
    }

    /// The records of a full name; at least one.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn ask(
        &self,
        name: &Name,
        kind: RecordType,
        deadline: Instant,
    ) -> Result<Vec<Record>, Failure> {
        let lookup = self.resolver.lookup(name.clone(), kind);
        match tokio::time::timeout_at(deadline, lookup).await {
            Ok(Ok(lookup)) => Ok(lookup.answers().to_vec()),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(Failure {
                outcome: Outcome::TimedOut,
                reason: format!("no answer in time for {kind} records of {name}"),
            }),
        }
    }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

fn failure(error: &NetError) -> Failure {
    let outcome = match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Outcome::NoSuchName,
            _ => Outcome::Empty,
        },
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => Outcome::ServerFailure,
        NetError::Timeout => Outcome::TimedOut,
        _ => Outcome::Failed,
    };
    Failure { outcome, reason: error.to_string() }
}

/// How a name that does not end in a dot becomes a full one, as resolv.conf has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Completion {
    /// Domains to put behind the name, in this order.
    pub(super) search: Vec<Name>,
    /// With this many dots in it, a name is tried as it is first.
    pub(super) ndots: usize,
}

impl Completion {
    fn full_names(&self, name: &Name) -> Vec<Name> {
        let mut full = name.clone();
        full.set_fqdn(true);
        if name.is_fqdn() {
            return vec![full];
        }
        let mut names = Vec::with_capacity(self.search.len() + 1);
        for domain in &self.search {
            // What gets too long is no name.
            if let Ok(mut longer) = name.clone().append_domain(domain) {
                longer.set_fqdn(true);
                names.push(longer);
            }
        }
        // A name of n labels has n - 1 dots.
        let as_it_is_first = usize::from(name.num_labels()) > self.ndots || name.is_localhost();
        names.insert(if as_it_is_first { 0 } else { names.len() }, full);
        let mut seen = Vec::new();
        names.retain(|name| {
            let new = !seen.contains(name);
            seen.push(name.clone());
            new
        });
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, ndots: usize, search: &str, expected: &str) {
        let search = search.split_whitespace().map(|s| Name::from_utf8(s).unwrap()).collect();
        let names = Completion { search, ndots }.full_names(&Name::from_utf8(name).unwrap());
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        assert_eq!(names.join(" "), expected, "{name}");
    }

    #[test]
    fn a_name_is_completed_as_resolv_conf_says() {
        let pod = "ns.svc.cluster.local svc.cluster.local cluster.local";
        check("b", 5, pod, "b.ns.svc.cluster.local. b.svc.cluster.local. b.cluster.local. b.");
        check("b.ns.svc", 5, "cluster.local", "b.ns.svc.cluster.local. b.ns.svc.");
        check("b.example.com", 2, "corp", "b.example.com. b.example.com.corp.");
        check("b.example.com", 3, "corp", "b.example.com.corp. b.example.com.");
        check("b", 1, "corp corp.", "b.corp. b.");
        check("localhost", 1, "corp", "localhost. localhost.corp.");
    }

    #[test]
    fn a_final_dot_means_that_nothing_is_added() {
        check("b.example.com.", 5, "corp", "b.example.com.");
        check("b.", 5, "corp", "b.");
    }

    #[test]
    fn failures_are_told_apart() {
        use hickory_resolver::net::NoRecords;
        let query = || Query::query(Name::root(), RecordType::A);
        let none = |code| NetError::from(NoRecords::new(query(), code));
        let outcome = |error: &NetError| failure(error).outcome;
        assert_eq!(outcome(&none(ResponseCode::NXDomain)), Outcome::NoSuchName);
        assert_eq!(outcome(&none(ResponseCode::NoError)), Outcome::Empty);
        let code = |code| NetError::Dns(DnsError::ResponseCode(code));
        assert_eq!(outcome(&code(ResponseCode::ServFail)), Outcome::ServerFailure);
        assert_eq!(outcome(&code(ResponseCode::Refused)), Outcome::Failed);
        assert_eq!(outcome(&NetError::Timeout), Outcome::TimedOut);
        assert_eq!(outcome(&NetError::Truncated), Outcome::Failed);
    }
}
