//! The addresses of a name: its A and AAAA records.
//!
//! Both are asked for side by side, and each may fail by itself: the addresses of the other kind
//! are taken, and nobody of the kind that failed is missed.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::rr::{Name, Record, RecordType};
use tokio::time::Instant;
use tracing::debug;

use super::lookup::{LookupConfig, Lookups, Question, Reply};
use super::nameserver::{Failure, Nameservers};
use super::report::{Outcome, Report};
use super::static_list::StaticList;
use super::{Meter, Resolver, ResolverSection};
use crate::config::{Path, Problems};
use crate::config_struct;
use crate::membership::members::Answer;

config_struct! {
    /// `resolver::dns`.
    #[derive(PartialEq)]
    pub struct DnsConfig {
        /// The name whose addresses are the backends.
        pub hostname: String = String::new(),
        /// Port of every backend; without one they are dialled at 4317.
        pub port: String = String::new(),
    }
    flatten {
        /// How it is looked up.
        pub lookup: LookupConfig = LookupConfig::default(),
    }
}

impl ResolverSection for DnsConfig {
    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.hostname.is_empty() {
            problems.report(&at.key("hostname"), "no hostname specified to resolve the backends");
        } else if let Err(error) = Name::from_utf8(&self.hostname) {
            problems.report(&at.key("hostname"), format!("not a DNS name: {error}"));
        }
        if !self.port.is_empty() && !self.port.parse::<u16>().is_ok_and(|port| port > 0) {
            problems.report(&at.key("port"), format!("invalid port {:?}", self.port));
        }
        self.lookup.validate(at, problems);
    }

    fn build(&self) -> Box<dyn Resolver> {
        let question = Addresses { port: self.port.clone() };
        // An address needs no lookup.
        if let Ok(ip) = self.hostname.parse::<IpAddr>() {
            let endpoint = question.endpoint(&ip.to_canonical());
            return Box::new(StaticList::new([endpoint], Meter::new("dns")));
        }
        let report = Report::new("dns", &self.hostname);
        let name = Name::from_utf8(&self.hostname).expect("validated");
        Box::new(Lookups::new(question, name, &self.lookup, report))
    }
}

/// Asks for addresses.
struct Addresses {
    port: String,
}

impl Question for Addresses {
    type Member = IpAddr;

    async fn ask(
        &self,
        nameservers: &Nameservers,
        name: &Name,
        deadline: Instant,
    ) -> Result<Reply<IpAddr>, Failure> {
        let of_file = nameservers.hosts_file(name);
        if !of_file.is_empty() {
            return Ok(Reply { answer: Answer::whole(of_file), ttl: Duration::MAX });
        }
        let (v4, v6) = tokio::join!(
            nameservers.ask(name, RecordType::A, deadline),
            nameservers.ask(name, RecordType::AAAA, deadline),
        );
        combine(v4, v6)
    }

    /// As the Collector spells it: `1.2.3.4`, `1.2.3.4:4317`, `[fd00::1]`, `[fd00::1]:4317`.
    fn endpoint(&self, member: &IpAddr) -> String {
        let host = match member {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        match self.port.as_str() {
            "" => host,
            port => format!("{host}:{port}"),
        }
    }
}

/// What two answers say together.
fn combine(
    v4: Result<Vec<Record>, Failure>,
    v6: Result<Vec<Record>, Failure>,
) -> Result<Reply<IpAddr>, Failure> {
    let records: Vec<&Record> = [&v4, &v6].into_iter().flatten().flatten().collect();
    let found: Vec<IpAddr> = records
        .iter()
        .filter_map(|record| record.data.ip_addr())
        .map(|ip| ip.to_canonical())
        .collect();
    let seconds = records.iter().map(|record| record.ttl).min().unwrap_or(0);
    let ttl = Duration::from_secs(seconds.into());
    let failed =
        |answer: &Result<_, Failure>| answer.as_ref().is_err_and(|failure| !failure.is_negative());
    if !found.is_empty() {
        let silent_about = match (failed(&v4), failed(&v6)) {
            (true, _) => IpAddr::is_ipv4,
            // Some servers never answer for AAAA; where IPv4 is in use that does not matter.
            (_, true) => IpAddr::is_ipv6,
            (false, false) => |_: &IpAddr| false,
        };
        if let Some(failure) = [&v4, &v6].into_iter().find_map(|answer| answer.as_ref().err()) {
            debug!(reason = failure.reason, "addresses of one kind only");
        }
        return Ok(Reply { answer: Answer { found, silent_about }, ttl });
    }
    let none = |kind: &str| Failure {
        outcome: Outcome::Empty,
        reason: format!("the answer has no {kind} record"),
    };
    let (v4, v6) = (v4.err().unwrap_or(none("A")), v6.err().unwrap_or(none("AAAA")));
    // A name that does not exist has no records of any kind; that it exists but has none of one
    // kind says nothing of the other.
    Err(match (v4.outcome, v6.outcome) {
        (Outcome::NoSuchName, _) => v4,
        (_, Outcome::NoSuchName) => v6,
        _ if !v4.is_negative() => v4,
        _ => v6,
    })
}
