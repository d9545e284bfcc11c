//! One panel in one layout: both sides are started, warmed up, and do the same work in turns.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep_until;

use super::cli::LatencyArguments;
use super::deployment::{Deployment, Plan};
use super::manifest::{look_name, order_name};
use super::panel::Setup;
use super::payload::{Payload, Replay, Work};
use super::results::{Case, Comparison, Layout, Payload as PayloadFacts, Round, Subject, Summary};
use super::spread::real;
use super::summary::summarize;
use super::template::name_of;
use super::tree;
use crate::progress::say;
use crate::testbed::TestbedError;
use crate::testbed::cores::Cores;

/// Spans of an edge's payload: enough that requests do not stay in a cache.
const EDGE_PAYLOAD_SPANS: u64 = 200_000;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
