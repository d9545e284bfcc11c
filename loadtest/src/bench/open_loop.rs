//! Latency of a case: both sides in turns, rate by rate, after the rounds that show what they carry.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::case::{Bench, Supply, key};
use super::deployment::Deployment;
use super::latency::{Latency, OpenLoop, Target, rates};
use super::loader::{Answer, Line};
use super::panel::Setup;
use super::payload::Request;
use super::results::{Round, Side, SideLatency, Spread, Subject};
use crate::progress::say;
use crate::report::thousands;
use crate::testbed::TestbedError;

/// More than this share of what a side carries in a closed loop it is not asked by default.
const MOST_ASKED: f64 = 0.95;
/// The number that the traces of the first rate have: no pair of rounds has it.
const FIRST: usize = 1 << 20;

#[async_trait]
impl Target for Line {
    async fn offer(&self, body: Bytes) -> Result<(), String> {
        match self.send(body).await {
            Answer::Taken { rejected: 0 } => Ok(()),
            Answer::Taken { rejected } => Err(format!("{rejected} spans were not taken")),
            Answer::Later(reason) | Answer::Never(reason) => Err(reason),
        }
    }
}

impl Bench {
    /// Latency of every side at every rate.
    ///
    /// # Errors
    /// When a rate makes no schedule.
    pub(super) async fn latencies(
        &self,
        setup: &Setup,
        supply: &Supply,
        sides: &mut [Deployment],
        rounds: &[Round],
    ) -> Result<Vec<SideLatency>, TestbedError> {
        let mut latencies = Vec::new();
        for (number, (rate, asked)) in self.rates(rounds).into_iter().enumerate() {
            let requests = self.requests_for(supply, setup, rate, number).await?;
            for side in sides.iter_mut().filter(|side| asked.contains(&side.side)) {
                let run = self.at_rate(setup, side, rate, Arc::clone(&requests)).await?;
                say_of(&side.name, &run);
                latencies.push(SideLatency { side: side.side, run });
            }
        }
        Ok(latencies)
    }

    /// The rates in ascending order, and whom to ask.
    fn rates(&self, rounds: &[Round]) -> Vec<(u64, Vec<Side>)> {
        let sides: Vec<Side> = self.plans.iter().map(|plan| plan.side).collect();
        if self.latency.no_latency {
            return Vec::new();
        }
        if !self.latency.rate.is_empty() {
            let mut rates = self.latency.rate.clone();
            rates.sort_unstable();
            rates.dedup();
            return rates.into_iter().map(|rate| (rate, sides.clone())).collect();
        }
        match self.subject {
            Subject::Edge => shares(&sides, rounds),
            // Every trace would have to be new, and would be decided in the meantime.
            Subject::Backend | Subject::Tiers => Vec::new(),
        }
    }

    /// Requests for a run at this rate: what keeps traces gets each only once.
    async fn requests_for(
        &self,
        supply: &Supply,
        setup: &Setup,
        rate: u64,
        number: usize,
    ) -> Result<Arc<[Request]>, TestbedError> {
        let payload = match supply {
            Supply::Replayed(replay) => return Ok(replay.work(1).requests),
            Supply::Renamed(payload) => payload,
        };
        let window = self.latency.window + self.warm_up_of_latency();
        let spans = u128::from(rate) * window.as_millis() * 5 / 4 / 1000;
        let mut requests = Vec::new();
        let mut made = 0;
        while made < spans {
            tokio::task::yield_now().await;
            let name = key(self.seed, FIRST + (number << 32) + requests.len());
            let work = payload.renamed(name, setup.policies)?;
            made += u128::from(work.spans().max(1));
            requests.extend(work.requests.iter().cloned());
        }
        Ok(requests.into())
    }

    fn warm_up_of_latency(&self) -> Duration {
        self.latency.window / 4
    }

    /// One run, which is void also when what was acknowledged did not come out of an edge.
    async fn at_rate(
        &self,
        setup: &Setup,
        side: &mut Deployment,
        rate: u64,
        requests: Arc<[Request]>,
    ) -> Result<Latency, TestbedError> {
        let mut targets: Vec<Arc<dyn Target>> = Vec::new();
        for index in 0..self.clients {
            let target = side.entries[index % side.entries.len()];
            targets.push(Arc::new(Line::new(target, setup.inbound)?));
        }
        side.sinks.take();
        let open_loop = OpenLoop {
            targets,
            rate,
            arrivals: self.latency.arrivals,
            seed: self.seed,
            warm_up: self.warm_up_of_latency(),
            window: self.latency.window,
            max_in_flight: self.latency.max_in_flight,
        };
        let mut run = open_loop.run(requests).await?;
        side.usage()?;
        if self.subject == Subject::Edge {
            let arrived = self.arrived(side, run.spans).await;
            if arrived != run.spans && run.failed == 0 {
                run.void.push(format!(
                    "{} spans arrived of {} acknowledged",
                    thousands(arrived),
                    thousands(run.spans)
                ));
            }
        }
        side.last_work = Instant::now();
        Ok(run)
    }

    /// Spans that arrived, when they are as many as they should be or nobody waits any longer.
    async fn arrived(&self, side: &Deployment, expected: u64) -> u64 {
        let give_up = Instant::now() + self.patience;
        while side.sinks.progress().0 < expected && Instant::now() < give_up {
            sleep(Duration::from_millis(5)).await;
        }
        side.sinks.progress().0
    }
}

/// Shares of what each side carried in its rounds, asked of every side that carries so much.
fn shares(sides: &[Side], rounds: &[Round]) -> Vec<(u64, Vec<Side>)> {
    let carried = |side: Side| {
        let counted = rounds.iter().filter(|round| round.side == side && round.gate.holds());
        Spread::of(counted.map(Round::spans_per_second)).median
    };
    let mut all: Vec<u64> = sides
        .iter()
        .map(|side| carried(*side))
        .filter(|carried| *carried > 0.0)
        .flat_map(rates)
        .collect();
    all.sort_unstable();
    all.dedup();
    let asked = |rate: u64| {
        let takes_it = |side: &Side| super::spread::real(rate) <= carried(*side) * MOST_ASKED;
        (rate, sides.iter().copied().filter(takes_it).collect())
    };
    all.into_iter().map(asked).collect()
}

fn say_of(name: &str, run: &Latency) {
    let millis = |micros: u64| format!("{:.2}", super::spread::real(micros) / 1000.0);
    let void = match run.void.as_slice() {
        [] => String::new(),
        reasons => format!(" VOID: {}", reasons.join("; ")),
    };
    say(&format!(
        "{name} at {} spans a second: p50 {}, p99 {}, p99.9 {}, max {} ms; loader late {:.2} %{void}",
        thousands(run.rate),
        millis(run.p50_us),
        millis(run.p99_us),
        millis(run.p999_us),
        millis(run.max_us),
        run.late_share * 100.0
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::spread::tests::round;

    #[test]
    fn a_slow_side_is_not_asked_what_only_the_fast_one_carries() {
        // A round of 1,000,000 spans takes 2 s, and of the peer 20 s.
        let mut slow = round(Side::Peer, 0, 5.0);
        slow.seconds = 20.0;
        let rounds = [round(Side::Sut, 0, 0.5), slow];
        let both = [Side::Sut, Side::Peer];
        let expected = [
            (13_000, &both[..]),
            (25_000, &both[..]),
            (38_000, &both[..]),
            (45_000, &both[..]),
            (125_000, &both[..1]),
            (250_000, &both[..1]),
            (375_000, &both[..1]),
            (450_000, &both[..1]),
        ];
        let expected = expected.map(|(rate, sides)| (rate, sides.to_vec()));
        assert_eq!(shares(&both, &rounds), expected);
    }

    #[test]
    fn who_carried_nothing_is_asked_nothing() {
        let mut void = round(Side::Sut, 0, 0.5);
        void.gate.failures.push("spans are missing".to_owned());
        assert!(shares(&[Side::Sut], &[void]).is_empty());
    }
}
