//! One panel in one layout: both sides are started, warmed up, and do the same work in turns.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep, sleep_until};

use super::cli::LatencyArguments;
use super::deployment::{Deployment, Plan};
use super::loader::Loader;
use super::manifest::{look_name, order_name};
use super::memory::Sampler;
use super::panel::Setup;
use super::payload::{Expected, Payload, Replay, Work};
use super::results::{
    Case, Comparison, Layout, Leg, Payload as PayloadFacts, Round, RoundUsage, Subject, Summary,
};
use super::spread::real;
use super::summary::summarize;
use super::template::name_of;
use super::tree::{self, Machine, Used};
use crate::command::follow;
use crate::progress::{Progress, say};
use crate::send::Counts;
use crate::testbed::TestbedError;
use crate::testbed::cores::Cores;

/// How long after all has arrived something more might come.
const SETTLE: Duration = Duration::from_millis(200);
/// How long after their wait decisions take that fall in the next round of them.
const DECISIONS: Duration = Duration::from_millis(1_500);
/// Spans of an edge's payload: enough that requests do not stay in a cache.
const EDGE_PAYLOAD_SPANS: u64 = 200_000;
/// A round in which the host took more than this is doubtful, in percent.
const STEAL_LIMIT: f64 = 1.0;

/// What all cases of a run have in common.
pub(super) struct Bench {
    pub(super) subject: Subject,
    /// The system under test, and then its peer.
    pub(super) plans: Vec<Plan>,
    pub(super) spans: u64,
    pub(super) decision_wait: Duration,
    pub(super) rounds: u32,
    pub(super) clients: usize,
    pub(super) concurrency: usize,
    /// In percent of a round's spans.
    pub(super) warm_up: u32,
    /// What does not arrive for so long after the last acknowledgement is missing.
    pub(super) patience: Duration,
    /// Rounds of each yardstick.
    pub(super) yardsticks: u32,
    pub(super) latency: LatencyArguments,
    pub(super) idle: Duration,
    pub(super) seed: u64,
    pub(super) requests: PathBuf,
    /// The cores that this process was given.
    pub(super) cores: Cores,
    /// For configurations and logs.
    pub(super) folder: TempDir,
}

/// Cores of the gateway, and of loader and sinks.
pub(super) fn split(layout: Layout, available: Cores) -> Result<(Cores, Cores), TestbedError> {
    let all = available.numbers();
    let others = |from: usize| all.get(from..).filter(|cores| !cores.is_empty());
    let (gateway, rest) = match layout {
        Layout::Shared => (&all[..1], &all[..1]),
        Layout::Apart => {
            let rest = others(1).ok_or_else(|| {
                TestbedError::new("layout apart needs two cores: one is the gateway's alone")
            })?;
            (&all[..1], rest)
        }
        Layout::Both => {
            let two = all.get(..2).ok_or_else(|| {
                TestbedError::new("layout both needs two cores: the gateway has both")
            })?;
            (two, others(2).unwrap_or(two))
        }
    };
    Ok((Cores::only(gateway)?, Cores::only(rest)?))
}

/// Where rounds get their work.
pub(super) enum Supply {
    /// The same requests over and over.
    Replayed(Replay),
    /// The same requests with other trace ids each time.
    Renamed(Payload),
}

impl Bench {
    /// Measures one panel in one layout.
    ///
    /// # Errors
    /// When something cannot be started, or ends on its own.
    pub(super) async fn case(&self, setup: &Setup, layout: Layout) -> Result<Case, TestbedError> {
        let (gateway_cores, own_cores) = split(layout, self.cores)?;
        own_cores.move_this_process()?;
        say(&format!("panel {}, layout {}", setup.name, layout.name()));
        let payload = self.payload(setup).await?;
        let facts = facts(setup, &payload);
        let supply = self.supply(payload, setup).await?;
        let mut sides = Vec::new();
        for plan in &self.plans {
            let (wait, folder) = (self.decision_wait, self.folder.path());
            sides.push(Deployment::start(plan, setup, wait, gateway_cores, folder).await?);
        }
        let warm_up = self.warm_up_work(&supply, setup)?;
        for side in &mut sides {
            self.warm_up(setup, side, &warm_up).await?;
        }
        drop(warm_up);
        let mut rounds = Vec::new();
        for pair in 0..self.rounds as usize {
            let work = self.round_work(&supply, setup, pair)?;
            // A B, then B A, so that neither always has the machine's better half.
            if pair % 2 == 0 {
                for side in &mut sides {
                    rounds.push(self.round(setup, side, &work, pair).await?);
                }
            } else {
                for side in sides.iter_mut().rev() {
                    rounds.push(self.round(setup, side, &work, pair).await?);
                }
            }
        }
        let latency = self.latencies(setup, &supply, &mut sides, &rounds).await?;
        let summaries = self.rest(&sides, &rounds).await;
        let limits = self.limits(setup, &supply, gateway_cores, own_cores).await?;
        let (connections, in_flight) = (self.clients, self.concurrency.max(self.clients));
        let case = Case {
            panel: setup.name.clone(),
            layout,
            payload: facts,
            connections,
            in_flight,
            sinks: self.plans[0].sinks,
            comparison: Comparison::of(&rounds),
            rounds,
            summaries,
            limits,
            latency,
        };
        for side in sides {
            side.stop().await;
        }
        Ok(case)
    }

    pub(super) fn spans_of(&self, setup: &Setup) -> u64 {
        (self.spans / setup.divisor).max(1)
    }

    async fn payload(&self, setup: &Setup) -> Result<Payload, TestbedError> {
        let spans = match self.subject {
            Subject::Edge => self.spans.min(EDGE_PAYLOAD_SPANS).div_ceil(setup.divisor),
            Subject::Backend | Subject::Tiers => self.spans_of(setup),
        };
        let (folder, sent, seed) = (self.requests.clone(), setup.sent, self.seed);
        let ensure = move || Payload::ensure(&folder, sent, seed, spans);
        tokio::task::spawn_blocking(ensure).await.expect("making requests does not panic")
    }

    async fn supply(&self, payload: Payload, setup: &Setup) -> Result<Supply, TestbedError> {
        if self.subject != Subject::Edge {
            return Ok(Supply::Renamed(payload));
        }
        let compression = setup.inbound;
        let replay = move || payload.replay(compression);
        let replay = tokio::task::spawn_blocking(replay).await.expect("framing does not panic");
        replay.map(Supply::Replayed)
    }

    fn warm_up_work(&self, supply: &Supply, setup: &Setup) -> Result<Work, TestbedError> {
        let spans = self.spans_of(setup) * u64::from(self.warm_up) / 100;
        match supply {
            Supply::Replayed(replay) => Ok(replay.work(spans.max(1))),
            Supply::Renamed(payload) => {
                let mut work = payload.renamed(u128::MAX, setup.policies)?;
                let share = work.requests.len() * self.warm_up as usize / 100;
                work.count = share.max(1);
                Ok(work)
            }
        }
    }

    /// The work of a pair, the same for both sides.
    fn round_work(
        &self,
        supply: &Supply,
        setup: &Setup,
        pair: usize,
    ) -> Result<Work, TestbedError> {
        match supply {
            Supply::Replayed(replay) => Ok(replay.work(self.spans_of(setup))),
            // Between rounds nothing else is to be done, so this may take its time.
            Supply::Renamed(payload) => payload.renamed(key(self.seed, pair), setup.policies),
        }
    }

    fn loader(&self, setup: &Setup, side: &Deployment) -> Loader {
        Loader {
            targets: side.entries.clone(),
            connections: self.clients,
            in_flight: self.concurrency,
            compression: setup.inbound,
        }
    }

    /// Sends a share of a round, which does not count, and finds out how deep the sinks have to look.
    async fn warm_up(
        &self,
        setup: &Setup,
        side: &mut Deployment,
        work: &Work,
    ) -> Result<(), TestbedError> {
        let counts = Arc::new(Counts::default());
        self.loader(setup, side).run(work, &counts).await?;
        if let Some(reason) = counts.last_failure() {
            side.usage()?;
            return Err(TestbedError::new(format!("{} takes nothing: {reason}", side.name)));
        }
        let loaded = Instant::now();
        match self.subject {
            Subject::Edge => self.wait_for_arrival(side, &work.expected, loaded).await,
            // A part of the requests holds parts of traces, so nobody knows what is kept of it.
            _ => self.wait_for_silence(side, loaded).await,
        }
        side.usage()?;
        let arrived = side.sinks.take();
        if self.subject == Subject::Edge {
            side.look(arrived.depth_needed(&work.expected));
        }
        Ok(())
    }

    /// Waits until decisions are over, and what they keep has arrived.
    async fn wait_for_silence(&self, side: &Deployment, loaded: Instant) {
        sleep_until(loaded + self.decision_wait + DECISIONS).await;
        let quiet = |last: Option<Instant>| last.is_none_or(|last| last.elapsed() > DECISIONS);
        while !quiet(side.sinks.progress().1) {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until as many spans have arrived as have to, or too long.
    async fn wait_for_arrival(&self, side: &Deployment, expected: &Expected, loaded: Instant) {
        let mut give_up = loaded + self.patience;
        if self.subject != Subject::Edge {
            sleep_until(loaded + self.decision_wait + DECISIONS).await;
            give_up += self.decision_wait;
        }
        while side.sinks.progress().0 < expected.spans && Instant::now() < give_up {
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn round(
        &self,
        setup: &Setup,
        side: &mut Deployment,
        work: &Work,
        pair: usize,
    ) -> Result<Round, TestbedError> {
        let pids = side.pids();
        tree::reset_peak(&pids);
        // What came too late for the round before does not belong to this one.
        side.sinks.take();
        let counts = Arc::new(Counts::default());
        let spans = work.spans();
        let progress = Progress::start(Some(spans), follow(Arc::clone(&counts)));
        let (machine, before) = (Machine::now(), side.usage()?);
        let started = Instant::now();
        let sampler = Sampler::start(pids.clone(), started);
        let elapsed = self.loader(setup, side).run(work, &counts).await?;
        let loaded = started + elapsed;
        let loaded_rss = tree::resident(&pids);
        progress.finish().await;
        self.wait_for_arrival(side, &work.expected, loaded).await;
        let (used, stolen) = (side.usage()?.since(before), Machine::now().stolen_since(machine));
        let peak = tree::peak(&pids);
        sleep(SETTLE).await;
        let memory = sampler.finish().await;
        let arrived = side.sinks.take();
        side.last_work = Instant::now();
        let last = arrived.last.filter(|_| self.subject == Subject::Edge);
        let elapsed = last.map_or(elapsed, |last| elapsed.max(last - started));
        let is_held = self.subject == Subject::Backend && elapsed < self.decision_wait;
        let growth = real(loaded_rss.saturating_sub(side.start_rss)) / real(spans.max(1));
        let round = Round {
            side: side.side,
            pair,
            spans,
            seconds: elapsed.as_secs_f64(),
            usage: round_usage(used, peak, loaded_rss, is_held.then_some(growth)),
            inbound: inbound(work),
            outbound: arrived.leg,
            retries: counts.retries.load(Ordering::Relaxed),
            steal_percent: stolen,
            memory,
            gate: arrived.judge(&work.expected, side.depth, sender_failures(&counts)),
            doubts: Vec::new(),
        };
        let round = Round { doubts: self.doubts(&round, counts.last_retry()), ..round };
        self.say_of(side, &round);
        Ok(round)
    }

    /// What makes a round's figures doubtful.
    fn doubts(&self, round: &Round, retry: Option<String>) -> Vec<String> {
        let mut doubts = Vec::new();
        if round.steal_percent > STEAL_LIMIT {
            doubts.push(format!("the host took {:.1} % of the time", round.steal_percent));
        }
        if let Some(reason) = retry {
            let count = round.retries;
            doubts.push(format!("{count} requests were sent again, the last after: {reason}"));
        }
        let wait = self.decision_wait.as_secs_f64();
        if self.subject != Subject::Edge && round.seconds >= wait {
            doubts.push(format!(
                "the load took {:.1} s, and traces were decided after {wait:.1} s: memory by span \
                 held is not known",
                round.seconds
            ));
        }
        doubts
    }

    fn say_of(&self, side: &Deployment, round: &Round) {
        let (pair, of) = (round.pair + 1, self.rounds);
        let held = round.usage.held_bytes_per_span;
        let held = held.map(|held| format!(", {held:.0} B a span held")).unwrap_or_default();
        let rate = round.spans_per_second() / 1e6;
        let notes: Vec<&str> =
            round.gate.failures.iter().chain(&round.doubts).map(String::as_str).collect();
        let notes =
            if notes.is_empty() { String::new() } else { format!("; {}", notes.join("; ")) };
        let void = if round.gate.holds() { "" } else { " VOID" };
        say(&format!(
            "round {pair} of {of}, {}: {:.3} CPU-s a million spans, {rate:.3} M spans a \
             second{held}{void}{notes}",
            side.name,
            round.cpu()
        ));
    }

    /// Waits until every side has had its rest, and sums up.
    async fn rest(&self, sides: &[Deployment], rounds: &[Round]) -> Vec<Summary> {
        let mut summaries = Vec::new();
        // The one that worked last is looked at last.
        for side in sides {
            sleep_until(side.last_work + self.idle).await;
            let (rss, after) = (tree::resident(&side.pids()), side.last_work.elapsed());
            let of_side: Vec<&Round> = rounds.iter().filter(|r| r.side == side.side).collect();
            summaries.push(summarize(side.side, &of_side, side.start_rss, (rss, after)));
        }
        summaries
    }
}

/// A name for the traces of a pair; of no other pair or seed, and not 0.
pub(super) fn key(seed: u64, pair: usize) -> u128 {
    let half = |salt: u64| xxhash_rust::xxh3::xxh3_64_with_seed(&pair.to_le_bytes(), seed ^ salt);
    u128::from(half(0)) << 64 | u128::from(half(u64::MAX)) | 1
}

fn facts(setup: &Setup, payload: &Payload) -> PayloadFacts {
    let manifest = &payload.manifest;
    PayloadFacts {
        spans_per_request: setup.sent.spans_per_request,
        services: setup.sent.services,
        spans: look_name(setup.sent.look).to_owned(),
        field_order: order_name(setup.sent.field_order).to_owned(),
        inbound_compression: name_of(setup.inbound).to_owned(),
        outbound_compression: name_of(setup.outbound).to_owned(),
        bytes_per_span: real(manifest.bytes) / real(manifest.spans.max(1)),
        file_xxh3: manifest.requests_xxh3.clone(),
    }
}

fn inbound(work: &Work) -> Leg {
    let mut leg = Leg::default();
    for request in work.sent() {
        leg.requests += 1;
        leg.wire_bytes += request.body.len() as u64 - 5;
        leg.bytes += request.bytes;
    }
    leg
}

fn round_usage(used: Used, peak: u64, loaded: u64, held: Option<f64>) -> RoundUsage {
    RoundUsage {
        user_seconds: used.user.as_secs_f64(),
        system_seconds: used.system.as_secs_f64(),
        peak_rss_bytes: peak,
        loaded_rss_bytes: loaded,
        held_bytes_per_span: held,
        voluntary_switches: used.voluntary,
        involuntary_switches: used.involuntary,
    }
}

/// What the loader saw go wrong.
fn sender_failures(counts: &Counts) -> Vec<String> {
    let mut failures = Vec::new();
    if let Some(reason) = counts.last_failure() {
        failures.push(format!("a request was given up: {reason}"));
    }
    let rejected = counts.rejected_spans.load(Ordering::Relaxed);
    if rejected > 0 {
        failures.push(format!("{rejected} spans of acknowledged requests were rejected"));
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::content::Depth;
    use crate::bench::tally::Total;

    #[test]
    fn layouts_share_the_cores_as_they_say() {
        let of = |layout, cores: &[usize]| {
            let (gateway, rest) = split(layout, Cores::only(cores).unwrap()).ok()?;
            Some((gateway.numbers(), rest.numbers()))
        };
        assert_eq!(of(Layout::Shared, &[0, 1]), Some((vec![0], vec![0])));
        assert_eq!(of(Layout::Apart, &[0, 1]), Some((vec![0], vec![1])));
        assert_eq!(of(Layout::Apart, &[2, 3, 5]), Some((vec![2], vec![3, 5])));
        assert_eq!(of(Layout::Both, &[0, 1]), Some((vec![0, 1], vec![0, 1])));
        assert_eq!(of(Layout::Both, &[0, 1, 2]), Some((vec![0, 1], vec![2])));
        assert_eq!(of(Layout::Apart, &[4]), None);
        assert_eq!(of(Layout::Both, &[4]), None);
    }

    #[test]
    fn every_pair_has_traces_of_its_own() {
        let keys: std::collections::HashSet<u128> =
            (0..100).flat_map(|pair| [key(1, pair), key(2, pair)]).collect();
        assert_eq!(keys.len(), 200);
        assert!(!keys.contains(&0) && !keys.contains(&u128::MAX));
    }

    #[test]
    fn what_the_sender_saw_voids_a_round() {
        let counts = Counts::default();
        assert_eq!(sender_failures(&counts), [""; 0]);
        counts.give_up(5, "no".to_owned());
        counts.rejected_spans.fetch_add(3, Ordering::Relaxed);
        let failures = sender_failures(&counts);
        assert_eq!(failures.len(), 2);
        let gate = Total::default().judge(&Expected::default(), Depth::Bytes, failures);
        assert!(!gate.holds());
    }
}
