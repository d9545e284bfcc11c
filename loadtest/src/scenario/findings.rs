//! What became of every span, from what the sender was told and what the backends wrote down.
//!
//! A span may arrive twice only where an answer was lost. Whether one was is judged by the
//! backends' records, not by the edge: an arrival is *in doubt* if its request was never answered,
//! if its connection was reset within a second of the answer, or if the backend was killed or
//! stopped then.

mod latency;
mod report;

use std::collections::{HashMap, HashSet};

use self::latency::Latency;
use super::Mode;
use super::edge::EdgeTotals;
use super::script::{BACKENDS, Scenario};
use super::sender::{Fate, Sent, key_of};
use crate::faulty::record::{Entry, Kind};

/// An answer may be on its way for so long.
const ON_ITS_WAY_NS: u64 = 1_000_000_000;

/// Everything that is known after a run.
pub(super) struct Evidence<'a> {
    pub(super) scenario: Scenario,
    pub(super) mode: Mode,
    pub(super) sent: &'a [Sent],
    /// One for each backend.
    pub(super) records: &'a [Vec<Entry>],
    pub(super) edge: EdgeTotals,
    pub(super) clean_exit: bool,
    /// Beginning of fair weather, of the fault and of fair weather again, in nanoseconds since
    /// the Unix epoch.
    pub(super) phases: [u64; 3],
}

/// Spans and requests as the sender saw them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Client {
    spans: u64,
    acknowledged: u64,
    rejected: u64,
    given_up: u64,
    retries: u64,
    unanswered: u64,
}

/// Spans as they arrived.
#[derive(Debug, Default, PartialEq, Eq)]
struct Delivery {
    once: u64,
    /// Arrivals beyond the first, by backend.
    duplicates: Vec<u64>,
    /// Duplicates of spans whose earlier arrivals were not in doubt: the edge knew better.
    needless: u64,
    /// Duplicates, not explained otherwise, of requests that the client had to send again.
    resent: u64,
    /// Arrivals, and how many of them are in doubt.
    arrivals: u64,
    in_doubt: u64,
    /// Acknowledged, and neither taken nor rejected for good by any backend.
    lost: u64,
    /// Acknowledged, and rejected for good by a backend.
    rejected: u64,
    /// Rejected for good, by the edge or by a backend, together with a poisoned span of another
    /// request.
    innocent: u64,
    /// Arrivals during the fault at another backend than before it.
    moved: u64,
}

/// What a run showed.
pub struct Findings {
    scenario: Scenario,
    mode: Mode,
    client: Client,
    delivery: Delivery,
    edge: EdgeTotals,
    clean_exit: bool,
    healthy: Latency,
    faulty: Latency,
    /// From the fault until a key of a faulty backend arrived elsewhere, in nanoseconds.
    out_ns: Option<u64>,
    /// From the end of the fault until one arrived at home again, in nanoseconds.
    back_ns: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Arrival {
    sink: usize,
    time_ns: u64,
    in_doubt: bool,
}

impl Findings {
    pub(super) fn of(evidence: &Evidence<'_>) -> Self {
        let arrivals = arrivals(evidence);
        let homes = homes(evidence, &arrivals);
        let mut findings = Self {
            scenario: evidence.scenario,
            mode: evidence.mode,
            client: client(evidence.sent),
            delivery: delivery(evidence, &arrivals, &homes),
            edge: evidence.edge,
            clean_exit: evidence.clean_exit,
            healthy: Latency::new(),
            faulty: Latency::new(),
            out_ns: None,
            back_ns: None,
        };
        findings.time(evidence, &arrivals, &homes);
        findings
    }

    /// Latencies, and when a faulty backend went out of rotation and came back.
    fn time(
        &mut self,
        evidence: &Evidence<'_>,
        arrivals: &HashMap<u64, Vec<Arrival>>,
        homes: &HashMap<u64, usize>,
    ) {
        let [began, fault, fair] = evidence.phases;
        let warm = began + (fault - began) / 5;
        let sooner = |known: Option<u64>, ns: u64| Some(known.map_or(ns, |known| known.min(ns)));
        for sent in evidence.sent {
            for span in sent.spans.clone() {
                let (Some(first), Some(home)) = (
                    arrivals.get(&span).and_then(|arrivals| arrivals.first()),
                    homes.get(&key_of(span)),
                ) else {
                    continue;
                };
                let is_faulty = evidence.scenario.is_faulty(*home);
                let latency = if is_faulty { &mut self.faulty } else { &mut self.healthy };
                let micros = first.time_ns.saturating_sub(sent.due_ns) / 1_000;
                if (warm..fault).contains(&sent.due_ns) {
                    latency.before.record(sent.due_ns, micros);
                } else if (fault..fair).contains(&sent.due_ns) {
                    latency.during.record(sent.due_ns, micros);
                }
                if is_faulty && sent.due_ns >= fault && first.sink != *home {
                    self.out_ns = sooner(self.out_ns, first.time_ns.saturating_sub(fault));
                }
                if is_faulty && sent.due_ns >= fair && first.sink == *home {
                    self.back_ns = sooner(self.back_ns, first.time_ns.saturating_sub(fair));
                }
            }
        }
    }
}

fn client(sent: &[Sent]) -> Client {
    let mut client = Client::default();
    for sent in sent {
        let spans = sent.spans.end - sent.spans.start;
        client.spans += spans;
        client.retries += u64::from(sent.retries);
        client.unanswered += u64::from(sent.unanswered);
        match sent.fate {
            Fate::Acknowledged(_) => client.acknowledged += spans,
            Fate::Rejected => client.rejected += spans,
            Fate::GivenUp => client.given_up += spans,
        }
    }
    client
}

/// All arrivals of each span, the first one first.
fn arrivals(evidence: &Evidence<'_>) -> HashMap<u64, Vec<Arrival>> {
    let [_, fault, fair] = evidence.phases;
    let mut arrivals: HashMap<u64, Vec<Arrival>> = HashMap::new();
    for (sink, record) in evidence.records.iter().enumerate() {
        let mut answered = HashMap::new();
        let mut cuts = HashMap::new();
        for entry in record {
            match entry.kind {
                Kind::Answered => drop(answered.insert(entry.request, entry.time_ns)),
                Kind::Cut => drop(cuts.insert(entry.connection, entry.time_ns)),
                Kind::Taken | Kind::Rejected => {}
            }
        }
        let outage = evidence.scenario.is_outage() && evidence.scenario.is_faulty(sink);
        for entry in record.iter().filter(|entry| entry.kind == Kind::Taken) {
            let in_doubt = match answered.get(&entry.request) {
                None => true,
                Some(answered) => {
                    let cut = cuts.get(&entry.connection);
                    cut.is_some_and(|cut| answered + ON_ITS_WAY_NS >= *cut)
                        || outage && {
                            let outage = fault.saturating_sub(ON_ITS_WAY_NS)..fair + ON_ITS_WAY_NS;
                            outage.contains(answered)
                        }
                }
            };
            for item in &entry.items {
                let arrival = Arrival { sink, time_ns: entry.time_ns, in_doubt };
                arrivals.entry(item.span).or_default().push(arrival);
            }
        }
    }
    for arrivals in arrivals.values_mut() {
        arrivals.sort_by_key(|arrival| arrival.time_ns);
    }
    arrivals
}

/// The backend that each key went to before the fault.
fn homes(evidence: &Evidence<'_>, arrivals: &HashMap<u64, Vec<Arrival>>) -> HashMap<u64, usize> {
    let [_, fault, _] = evidence.phases;
    let mut homes = HashMap::new();
    for (span, arrivals) in arrivals {
        // Looking at the first arrivals only: the fault may come with the last one.
        if arrivals[0].time_ns < fault {
            homes.insert(key_of(*span), arrivals[0].sink);
        }
    }
    homes
}

fn delivery(
    evidence: &Evidence<'_>,
    arrivals: &HashMap<u64, Vec<Arrival>>,
    homes: &HashMap<u64, usize>,
) -> Delivery {
    let [_, fault, _] = evidence.phases;
    let mut delivery = Delivery {
        duplicates: vec![0; evidence.records.len().max(BACKENDS)],
        ..Delivery::default()
    };
    let entries = evidence.records.iter().flatten();
    let rejections = entries.filter(|entry| entry.kind == Kind::Rejected);
    let rejected: HashSet<u64> =
        rejections.flat_map(|entry| &entry.items).map(|item| item.span).collect();
    for sent in evidence.sent {
        let poisoned = evidence.scenario.poisons(sent.spans.clone());
        let deserved = poisoned || evidence.scenario == Scenario::Partial;
        if sent.fate == Fate::Rejected && !poisoned {
            delivery.innocent += sent.spans.end - sent.spans.start;
        }
        for span in sent.spans.clone() {
            let Some(arrivals) = arrivals.get(&span) else {
                if matches!(sent.fate, Fate::Acknowledged(_)) {
                    let was_rejected = rejected.contains(&span);
                    delivery.rejected += u64::from(was_rejected);
                    delivery.lost += u64::from(!was_rejected);
                    delivery.innocent += u64::from(was_rejected && !deserved);
                }
                continue;
            };
            let doubts = arrivals.iter().filter(|arrival| arrival.in_doubt).count();
            delivery.arrivals += arrivals.len() as u64;
            delivery.in_doubt += doubts as u64;
            delivery.once += u64::from(arrivals.len() == 1);
            for arrival in &arrivals[1..] {
                delivery.duplicates[arrival.sink] += 1;
            }
            let unexplained = (arrivals.len() - 1).saturating_sub(doubts) as u64;
            match sent.retries {
                0 => delivery.needless += unexplained,
                _ => delivery.resent += unexplained,
            }
            let is_away = |home: &usize| arrivals[0].sink != *home;
            if sent.due_ns >= fault && homes.get(&key_of(span)).is_some_and(is_away) {
                delivery.moved += 1;
            }
        }
    }
    delivery
}
