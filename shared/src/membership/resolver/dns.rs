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
use crate::membership::members::Answer;
use crate::{config_enum, config_struct};

config_struct! {
    /// `resolver::dns`.
    #[derive(PartialEq)]
    pub struct DnsConfig {
        /// The name whose addresses are the backends.
        pub hostname: String = String::new(),
        /// Port of every backend; without one they are dialled at 4317.
        pub port: String = String::new(),
        /// Ours: which addresses are backends.
        pub ip_family: IpFamily = IpFamily::Any,
    }
    flatten {
        /// How it is looked up.
        pub lookup: LookupConfig = LookupConfig::default(),
    }
}

config_enum! {
    /// Which addresses of a name are backends.
    pub enum IpFamily {
        /// All; a backend that has one of each kind is two.
        Any = "any",
        /// Those of its A records.
        V4 = "ipv4",
        /// Those of its AAAA records.
        V6 = "ipv6",
    }
}

impl IpFamily {
    fn has(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
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
        let question = Addresses { port: self.port.clone(), family: self.ip_family };
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
pub(super) struct Addresses {
    pub(super) port: String,
    pub(super) family: IpFamily,
}

impl Question for Addresses {
    type Member = IpAddr;

    async fn ask(
        &self,
        nameservers: &Nameservers,
        name: &Name,
        deadline: Instant,
    ) -> Result<Reply<IpAddr>, Failure> {
        let mut of_file = nameservers.hosts_file(name);
        of_file.retain(|ip| self.family.has(*ip));
        if !of_file.is_empty() {
            return Ok(Reply { answer: Answer::whole(of_file), ttl: Duration::MAX });
        }
        let ask = |kind| nameservers.ask(name, kind, deadline);
        match self.family {
            IpFamily::V4 => of_one_kind(&ask(RecordType::A).await?, "A"),
            IpFamily::V6 => of_one_kind(&ask(RecordType::AAAA).await?, "AAAA"),
            IpFamily::Any => {
                let (v4, v6) = tokio::join!(ask(RecordType::A), ask(RecordType::AAAA));
                combine(v4, v6)
            }
        }
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

/// What an answer says that was asked for records of one kind only.
fn of_one_kind(records: &[Record], kind: &str) -> Result<Reply<IpAddr>, Failure> {
    let (found, ttl) = addresses(records);
    match found.is_empty() {
        true => Err(none(kind)),
        false => Ok(Reply { answer: Answer::whole(found), ttl }),
    }
}

/// The addresses, and the shortest TTL.
fn addresses<'r>(records: impl IntoIterator<Item = &'r Record>) -> (Vec<IpAddr>, Duration) {
    let (mut found, mut ttl) = (Vec::new(), None);
    for record in records {
        found.extend(record.data.ip_addr().map(|ip| ip.to_canonical()));
        ttl = Some(ttl.map_or(record.ttl, |ttl: u32| ttl.min(record.ttl)));
    }
    (found, Duration::from_secs(ttl.unwrap_or(0).into()))
}

fn none(kind: &str) -> Failure {
    let reason = format!("the answer has no {kind} record");
    Failure { outcome: Outcome::Empty, reason }
}

/// What two answers say together.
fn combine(
    v4: Result<Vec<Record>, Failure>,
    v6: Result<Vec<Record>, Failure>,
) -> Result<Reply<IpAddr>, Failure> {
    let (found, ttl) = addresses([&v4, &v6].into_iter().flatten().flatten());
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
