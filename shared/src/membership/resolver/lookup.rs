//! Looking a name up again and again: what `dns` and `srv` have in common.
//!
//! A lookup asks a [`Question`]; what the answer means for the set is decided by [`Members`]. The
//! last set is kept however long lookups fail, and its age is a metric.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::proto::rr::Name;
use tokio::time::Instant;

use super::Resolver;
use super::names::Names;
use super::nameserver::{Failure, Nameservers};
use super::report::{Outcome, Report};
use crate::clock;
use crate::config::{Path, Problems};
use crate::config_struct;
use crate::membership::members::{Answer, Members, Patience};

config_struct! {
    /// How a name is looked up, for every resolver that asks DNS.
    #[derive(PartialEq)]
    pub struct LookupConfig {
        /// Longest time between lookups, ± 10 %; 0 is 5s. An answer whose TTL is shorter is asked
        /// for again when that is over, but not within 1s.
        pub interval: Duration = DEFAULT_INTERVAL,
        /// Time for one lookup; 0 is 1s.
        pub timeout: Duration = DEFAULT_TIMEOUT,
        /// Ours: DNS servers to ask, each `address` or `address:port`, instead of the system's.
        pub nameservers: Vec<String> = Vec::new(),
        /// Ours: a backend leaves when this many lookups in a row succeeded without it.
        pub misses_before_removal: u32 = 3,
        /// Ours: when more than half would leave within this time, they stay for it, and leave if
        /// they are still missing then; 0 lets them go at once.
        pub shrink_hold: Duration = DEFAULT_SHRINK_HOLD,
    }
}

const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
pub(super) const DEFAULT_SHRINK_HOLD: Duration = Duration::from_secs(30);
/// The shortest pause that a TTL asks for: one of 0 must not make us ask without end.
const SHORTEST_TTL: Duration = Duration::from_secs(1);
/// The longest pause as long as no backend was found: until then everything is refused.
const IMPATIENT_INTERVAL: Duration = Duration::from_secs(1);
/// Each pause is spread by this share to both sides, so that edges do not ask in step.
const JITTER: f64 = 0.1;

/// The time, or its default if it is 0.
fn or_default(duration: Duration, default: Duration) -> Duration {
    match duration.is_zero() {
        true => default,
        false => duration,
    }
}

impl LookupConfig {
    /// How the names that an answer gives are looked up: by the same servers, if any are written.
    pub(super) fn names(&self) -> Option<Names> {
        let servers = self.servers();
        let timeout = or_default(self.timeout, DEFAULT_TIMEOUT);
        (!servers.is_empty()).then_some(Names { servers, timeout })
    }

    fn servers(&self) -> Vec<SocketAddr> {
        self.nameservers.iter().filter_map(|server| parse_nameserver(server)).collect()
    }

    pub(super) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
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
}

fn parse_nameserver(text: &str) -> Option<SocketAddr> {
    let with_default_port = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53));
    text.parse().ok().or_else(with_default_port)
}

/// What is asked of DNS servers.
pub(super) trait Question: Send + Sync {
    /// What records name.
    type Member: Ord + Clone + fmt::Debug + Send + Sync;

    /// Asks for one full name. An answer names at least one member.
    fn ask(
        &self,
        nameservers: &Nameservers,
        name: &Name,
        deadline: Instant,
    ) -> impl Future<Output = Result<Reply<Self::Member>, Failure>> + Send;

    /// The member as the ring has it.
    fn endpoint(&self, member: &Self::Member) -> String;
}

/// An answer, and how long it holds.
#[derive(Debug)]
pub(super) struct Reply<M> {
    pub(super) answer: Answer<M>,
    pub(super) ttl: Duration,
}

/// Looks one name up, again and again.
pub(super) struct Lookups<Q: Question> {
    question: Q,
    name: Name,
    interval: Duration,
    timeout: Duration,
    servers: Vec<SocketAddr>,
    members: Members<Q::Member>,
    /// Made anew after a failure, so that a changed resolv.conf is read.
    nameservers: Option<Nameservers>,
    next_lookup: Option<Instant>,
    report: Report,
}

impl<Q: Question> Lookups<Q> {
    pub(super) fn new(question: Q, name: Name, config: &LookupConfig, report: Report) -> Self {
        let patience =
            Patience { misses: config.misses_before_removal, shrink_hold: config.shrink_hold };
        Self {
            question,
            name,
            interval: or_default(config.interval, DEFAULT_INTERVAL),
            timeout: or_default(config.timeout, DEFAULT_TIMEOUT),
            servers: config.servers(),
            members: Members::new(patience),
            nameservers: None,
            next_lookup: None,
            report,
        }
    }

    async fn lookup(&mut self) -> Result<Reply<Q::Member>, Failure> {
        let deadline = Instant::now() + self.timeout;
        let nameservers = match self.nameservers.take() {
            Some(nameservers) => nameservers,
            None if self.servers.is_empty() => Nameservers::of_system(self.timeout)?,
            None => Nameservers::given(&self.servers, self.timeout)?,
        };
        let reply = ask_each(&self.question, &nameservers, &self.name, deadline).await?;
        self.nameservers = Some(nameservers);
        Ok(reply)
    }

    /// Whether the set changed.
    fn learn(&mut self, found: Result<&Answer<Q::Member>, &Failure>) -> bool {
        let answer = match found {
            Ok(answer) => answer,
            Err(failure) => {
                self.report.failed(failure.outcome, &failure.reason, self.members.len());
                return false;
            }
        };
        self.report.answered();
        let change = self.members.learn(answer, clock::now());
        self.report.changed(&change, self.members.len());
        change.any()
    }
}

#[async_trait]
impl<Q: Question> Resolver for Lookups<Q> {
    async fn changed(&mut self) -> Vec<String> {
        loop {
            if let Some(next_lookup) = self.next_lookup {
                tokio::time::sleep_until(next_lookup).await;
            }
            let found = self.lookup().await;
            let changed = self.learn(found.as_ref().map(|reply| &reply.answer));
            let ttl = found.map_or(Duration::MAX, |reply| reply.ttl);
            let pause = pause(self.interval, ttl, self.members.len());
            let spread = rand::random_range(1.0 - JITTER..=1.0 + JITTER);
            self.next_lookup = Some(Instant::now() + pause.mul_f64(spread));
            if changed {
                return self.members.iter().map(|m| self.question.endpoint(m)).collect();
            }
        }
    }
}

/// Asks for one full name after the other, until one has what is asked for.
pub(super) async fn ask_each<Q: Question>(
    question: &Q,
    nameservers: &Nameservers,
    name: &Name,
    deadline: Instant,
) -> Result<Reply<Q::Member>, Failure> {
    let mut negative: Option<Failure> = None;
    for name in nameservers.full_names(name) {
        match question.ask(nameservers, &name, deadline).await {
            Ok(reply) => return Ok(reply),
            // A name without such records says more than one that does not exist.
            Err(failure) if failure.is_negative() => match &negative {
                Some(known) if known.outcome == Outcome::Empty => {}
                _ => negative = Some(failure),
            },
            // To go on could find the same name in another domain while ours is away.
            Err(failure) => return Err(failure),
        }
    }
    Err(negative.expect("there is always a full name"))
}

/// Time until the next lookup.
fn pause(interval: Duration, ttl: Duration, members: usize) -> Duration {
    match members {
        0 => interval.min(IMPATIENT_INTERVAL),
        _ => interval.min(ttl.max(SHORTEST_TTL)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_ttl_shortens_the_pause_within_bounds() {
        let check = |interval_ms, ttl_ms, members, expected_ms| {
            let pause =
                pause(Duration::from_millis(interval_ms), Duration::from_millis(ttl_ms), members);
            assert_eq!(pause, Duration::from_millis(expected_ms), "{interval_ms} {ttl_ms}");
        };
        check(5_000, 30_000, 3, 5_000);
        check(5_000, 3_000, 3, 3_000);
        check(5_000, 0, 3, 1_000);
        check(100, 0, 3, 100);
        check(60_000, 30_000, 0, 1_000);
    }

    #[test]
    fn nameservers_may_lack_a_port() {
        assert_eq!(parse_nameserver("10.0.0.10"), Some("10.0.0.10:53".parse().unwrap()));
        assert_eq!(parse_nameserver("[fd00::a]:5353"), Some("[fd00::a]:5353".parse().unwrap()));
        assert_eq!(parse_nameserver("fd00::a"), Some("[fd00::a]:53".parse().unwrap()));
        assert_eq!(parse_nameserver("ns"), None);
    }
}
