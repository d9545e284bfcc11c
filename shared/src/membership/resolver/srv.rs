//! The SRV records of a name. Ours: the Collector has no such resolver.
//!
//! The targets' names are on the ring, with the records' ports, and are looked up when they are
//! dialled, by the same nameservers. A pod of a `StatefulSet` has the same name after a restart, so its keys come back to it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::time::Instant;

use super::lookup::{LookupConfig, Lookups, Question, Reply};
use super::nameserver::{Failure, Nameservers};
use super::report::{Outcome, Report};
use super::{Resolver, ResolverSection};
use crate::config::{Path, Problems};
use crate::config_struct;
use crate::membership::members::Answer;

config_struct! {
    /// `resolver::srv`.
    #[derive(PartialEq)]
    pub struct SrvConfig {
        /// The service's name, or, with a leading `_`, the whole name of its SRV records.
        pub hostname: String = String::new(),
        /// The name of the port.
        pub port_name: String = String::new(),
        /// The protocol of the port.
        pub protocol: String = "tcp".to_owned(),
    }
    flatten {
        /// How it is looked up.
        pub lookup: LookupConfig = LookupConfig::default(),
    }
}

impl ResolverSection for SrvConfig {
    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.hostname.is_empty() {
            problems.report(&at.key("hostname"), "no hostname specified to resolve the backends");
        } else if self.hostname.starts_with('_') {
            if !self.port_name.is_empty() {
                problems.report(&at.key("port_name"), "hostname is the whole name already");
            }
        } else if self.port_name.is_empty() {
            problems.report(&at.key("port_name"), "no port name specified to look up");
        }
        if let Err(error) = Name::from_utf8(self.name()) {
            problems.report(at, format!("{:?} is not a DNS name: {error}", self.name()));
        }
        self.lookup.validate(at, problems);
    }

    fn build(&self) -> Box<dyn Resolver> {
        let name = self.name();
        let report = Report::new("srv", &name);
        let name = Name::from_utf8(name).expect("validated");
        Box::new(Lookups::new(Services, name, &self.lookup, report))
    }
}

impl SrvConfig {
    fn name(&self) -> String {
        match self.hostname.starts_with('_') {
            true => self.hostname.clone(),
            false => format!("_{}._{}.{}", self.port_name, self.protocol, self.hostname),
        }
    }
}

/// Asks for SRV records.
struct Services;

impl Question for Services {
    /// `host:port`
    type Member = String;

    async fn ask(
        &self,
        nameservers: &Nameservers,
        name: &Name,
        deadline: Instant,
    ) -> Result<Reply<String>, Failure> {
        targets(&nameservers.ask(name, RecordType::SRV, deadline).await?)
    }

    fn endpoint(&self, member: &String) -> String {
        member.clone()
    }
}

/// The targets of the best priority. Weights do not count: they would need every edge to see the
/// same ones.
fn targets(records: &[Record]) -> Result<Reply<String>, Failure> {
    let services: Vec<&SRV> = records
        .iter()
        .filter_map(|record| match &record.data {
            // The root as target says that there is no such service.
            RData::SRV(service) if !service.target.is_root() => Some(service),
            _ => None,
        })
        .collect();
    let best = services.iter().map(|service| service.priority).min();
    let found: Vec<String> = services
        .iter()
        .filter(|service| Some(service.priority) == best)
        .map(|service| format!("{}:{}", host(&service.target), service.port))
        .collect();
    let seconds = records.iter().map(|record| record.ttl).min().unwrap_or(0);
    match found.is_empty() {
        true => Err(Failure {
            outcome: Outcome::Empty,
            reason: "the answer has no SRV record with a target".to_owned(),
        }),
        false => {
            Ok(Reply { answer: Answer::whole(found), ttl: Duration::from_secs(seconds.into()) })
        }
    }
}

/// A name as the ring has it: in lower case, since DNS does not tell cases apart and the ring
/// does, and without the final dot.
fn host(name: &Name) -> String {
    let mut host = name.to_lowercase().to_utf8();
    if host.ends_with('.') {
        host.pop();
    }
    host
}
