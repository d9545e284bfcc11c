//! The addresses of a name, asked again and again.
//!
//! A and AAAA are asked side by side, each with its own timeout, over UDP and over TCP when an
//! answer was truncated. Nothing is cached here, so a change is seen with the next lookup.
//! What an answer means for the set is decided by [`Members`].

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{Meter, Resolver};
use crate::config::{Path, Problems};
use crate::config_struct;
use crate::membership::members::{Answer, Members};
use crate::telemetry::thin::Thin;

config_struct! {
    /// `resolver::dns`.
    #[derive(PartialEq)]
    pub struct DnsConfig {
        /// The name whose addresses are the backends.
        pub hostname: String = String::new(),
        /// Port of every backend; without one they are dialled at 4317.
        pub port: String = String::new(),
        /// Time between lookups, ± 10 %; 0 is 5s.
        pub interval: Duration = DEFAULT_INTERVAL,
        /// Time for one lookup; 0 is 1s.
        pub timeout: Duration = DEFAULT_TIMEOUT,
        /// Ours: DNS servers to ask, each `address` or `address:port`, instead of the system's.
        pub nameservers: Vec<String> = Vec::new(),
        /// Ours: a backend leaves when this many lookups in a row succeeded without it.
        pub misses_before_removal: u32 = 3,
    }
}

const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest pause as long as no backend was found: until then everything is refused.
const IMPATIENT_INTERVAL: Duration = Duration::from_secs(1);
/// Each pause is spread by this share to both sides, so that edges do not ask in step.
const JITTER: f64 = 0.1;

impl DnsConfig {
    pub(super) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.hostname.is_empty() {
            problems.report(&at.key("hostname"), "no hostname specified to resolve the backends");
        } else if let Err(error) = Name::from_utf8(&self.hostname) {
            problems.report(&at.key("hostname"), format!("not a DNS name: {error}"));
        }
        if !self.port.is_empty() && !self.port.parse::<u16>().is_ok_and(|port| port > 0) {
            problems.report(&at.key("port"), format!("invalid port {:?}", self.port));
        }
        if self.misses_before_removal == 0 {
            problems.report(&at.key("misses_before_removal"), "must be positive");
        }
        let at = at.key("nameservers");
        for (index, server) in self.nameservers.iter().enumerate() {
            if parse_nameserver(server).is_none() {
                problems.report(
                    &at.index(index),
                    format!("{server:?} is not an address such as 10.0.0.10:53"),
                );
            }
        }
    }

    pub(super) fn build(&self) -> Box<dyn Resolver> {
        let or_default = |duration: Duration, default| match duration.is_zero() {
            true => default,
            false => duration,
        };
        Box::new(Dns {
            hostname: self.hostname.clone(),
            port: self.port.clone(),
            interval: or_default(self.interval, DEFAULT_INTERVAL),
            timeout: or_default(self.timeout, DEFAULT_TIMEOUT),
            nameservers: self.nameservers.iter().filter_map(|s| parse_nameserver(s)).collect(),
            members: Members::new(self.misses_before_removal),
            client: None,
            next_lookup: None,
            meter: Meter::new("dns"),
            thin: Thin::new(),
        })
    }
}

fn parse_nameserver(text: &str) -> Option<SocketAddr> {
    let with_default_port = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53));
    text.parse().ok().or_else(with_default_port)
}

struct Dns {
    hostname: String,
    port: String,
    interval: Duration,
    timeout: Duration,
    nameservers: Vec<SocketAddr>,
    members: Members,
    /// Made anew after a failure, so that a changed resolv.conf is read.
    client: Option<TokioResolver>,
    next_lookup: Option<Instant>,
    meter: Meter,
    thin: Thin,
}

#[async_trait]
impl Resolver for Dns {
    async fn changed(&mut self) -> Vec<String> {
        loop {
            if let Some(next_lookup) = self.next_lookup {
                tokio::time::sleep_until(next_lookup).await;
            }
            let answer = self.lookup().await;
            let changed = self.learn(&answer);
            self.next_lookup = Some(Instant::now() + self.pause());
            if changed {
                return self.members.addresses().map(|ip| endpoint(ip, &self.port)).collect();
            }
        }
    }
}

impl Dns {
    /// Asks for both kinds of addresses. A failure is logged here.
    async fn lookup(&mut self) -> Answer {
        if let Ok(ip) = self.hostname.parse::<IpAddr>() {
            return Answer { v4: Some(vec![ip]), v6: None };
        }
        let client = match &self.client {
            Some(client) => client,
            None => match self.connect() {
                Ok(client) => self.client.insert(client),
                Err(error) => {
                    self.report(&error.to_string());
                    return Answer::default();
                }
            },
        };
        let (v4, v6) = tokio::join!(
            ask(client, &self.hostname, RecordType::A, self.timeout),
            ask(client, &self.hostname, RecordType::AAAA, self.timeout),
        );
        match (v4, v6) {
            (Ok(v4), Ok(v6)) => Answer { v4: Some(v4), v6: Some(v6) },
            // Some servers never answer for AAAA; where IPv4 is in use that does not matter.
            (Ok(v4), Err(error)) if !v4.is_empty() => {
                debug!(hostname = self.hostname, %error, "no answer for AAAA records");
                Answer { v4: Some(v4), v6: None }
            }
            (Err(error), Ok(v6)) if !v6.is_empty() => {
                debug!(hostname = self.hostname, %error, "no answer for A records");
                Answer { v4: None, v6: Some(v6) }
            }
            (Err(error), _) | (_, Err(error)) => {
                self.client = None;
                self.report(&error);
                Answer::default()
            }
        }
    }

    fn connect(&self) -> Result<TokioResolver, NetError> {
        let mut builder = match self.nameservers.is_empty() {
            true => TokioResolver::builder_tokio()?,
            false => {
                let servers = self.nameservers.iter().copied().map(nameserver).collect();
                let config = ResolverConfig::from_name_servers(servers);
                let provider = TokioRuntimeProvider::default();
                let mut builder = TokioResolver::builder_with_config(config, provider);
                builder.options_mut().use_hosts_file = ResolveHosts::Never;
                builder
            }
        };
        let options: &mut ResolverOpts = builder.options_mut();
        options.cache_size = 0;
        // One lost packet must not cost the whole lookup.
        options.timeout = self.timeout / 2;
        options.attempts = 2;
        builder.build()
    }

    /// Whether the set changed.
    fn learn(&mut self, answer: &Answer) -> bool {
        if answer.is_empty() {
            self.meter.failed.num_resolutions.increment(1);
            if answer.v4.is_some() {
                self.report("the answer has no address");
            }
            return false;
        }
        self.meter.succeeded.num_resolutions.increment(1);
        let change = self.members.learn(answer);
        if change.passed_over > 0 {
            self.meter.set.num_backends_over_limit.increment(change.passed_over as u64);
            if let Some(suppressed) = self.thin.pass(crate::clock::now()) {
                let passed_over = change.passed_over;
                warn!(hostname = self.hostname, passed_over, suppressed, "too many backends");
            }
        }
        if change.any() {
            let (joined, left, backends) =
                (&change.joined, &change.left, self.members.addresses().len());
            self.meter.updated(backends);
            info!(hostname = self.hostname, ?joined, ?left, backends, "backends changed");
        }
        change.any()
    }

    fn report(&self, error: &str) {
        if let Some(suppressed) = self.thin.pass(crate::clock::now()) {
            let backends = self.members.addresses().len();
            let hostname = &self.hostname;
            warn!(hostname, error, backends, suppressed, "lookup failed, backends kept");
        }
    }

    fn pause(&self) -> Duration {
        let interval = match self.members.addresses().len() {
            0 => self.interval.min(IMPATIENT_INTERVAL),
            _ => self.interval,
        };
        interval.mul_f64(rand::random_range(1.0 - JITTER..=1.0 + JITTER))
    }
}

fn nameserver(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        let connection: &mut ConnectionConfig = connection;
        connection.port = address.port();
    }
    server
}

/// The addresses of `hostname` of one kind. That there are none is an answer, too.
async fn ask(
    client: &TokioResolver,
    hostname: &str,
    kind: RecordType,
    timeout: Duration,
) -> Result<Vec<IpAddr>, String> {
    match tokio::time::timeout(timeout, client.lookup(hostname, kind)).await {
        Ok(Ok(lookup)) => {
            Ok(lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect())
        }
        Ok(Err(error)) if error.is_no_records_found() => Ok(Vec::new()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {timeout:?}")),
    }
}

/// As the Collector spells it: `1.2.3.4`, `1.2.3.4:4317`, `[fd00::1]`, `[fd00::1]:4317`.
fn endpoint(ip: IpAddr, port: &str) -> String {
    let host = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    match port {
        "" => host,
        port => format!("{host}:{port}"),
    }
}
