//! One round: a side does its work, and what it used for that is read.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::case::Bench;
use super::deployment::Deployment;
use super::loader::Loader;
use super::memory::Sampler;
use super::panel::Setup;
use super::payload::{Expected, Work};
use super::results::{Leg, Round, RoundUsage, Subject};
use super::spread::real;
use super::tree::{self, Machine, Used};
use crate::command::follow;
use crate::progress::{Progress, say};
use crate::send::Counts;
use crate::testbed::TestbedError;

/// How long after all has arrived something more might come.
const SETTLE: Duration = Duration::from_millis(200);
/// How long after their wait decisions take that fall in the next round of them.
const DECISIONS: Duration = Duration::from_millis(1_500);
/// A round in which the host took more than this is doubtful, in percent.
const STEAL_LIMIT: f64 = 1.0;

impl Bench {
    /// Sends a share of a round, which does not count, and finds out how deep the sinks have to look.
    pub(super) async fn warm_up(
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

    /// Has a side do the work of a pair, and reads what it used.
    ///
    /// # Errors
    /// When a process has ended.
    pub(super) async fn round(
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

    fn loader(&self, setup: &Setup, side: &Deployment) -> Loader {
        Loader {
            targets: side.entries.clone(),
            connections: self.clients,
            in_flight: self.concurrency,
            compression: setup.inbound,
        }
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
