//! The yardsticks of a case: the same bytes over the same connections on the same cores.

use std::sync::Arc;

use bytes::Bytes;

use super::case::{Bench, Supply};
use super::panel::Setup;
use super::results::Subject;
use super::yardstick::{Limit, Route, Work, Yardstick};
use crate::progress::say;
use crate::testbed::TestbedError;
use crate::testbed::cores::Cores;

/// Spans of a round of a yardstick, unless a round of the gateway has fewer.
const SPANS: u64 = 1_000_000;

impl Bench {
    /// What moving the bytes of this case costs without a gateway.
    ///
    /// # Errors
    /// When a connection breaks or a core cannot be had.
    pub(super) async fn limits(
        &self,
        setup: &Setup,
        supply: &Supply,
        gateway: Cores,
        others: Cores,
    ) -> Result<Vec<Limit>, TestbedError> {
        if self.yardsticks == 0 {
            return Ok(Vec::new());
        }
        let (messages, spans) = bytes_of(supply);
        let work = |route| Work {
            messages: Arc::clone(&messages),
            spans,
            connections: self.clients,
            in_flight: self.concurrency.max(self.clients),
            route,
            station: gateway,
            others,
        };
        let works: Vec<Work> = self.routes().into_iter().map(work).collect();
        let spans = self.spans_of(setup).min(SPANS);
        let rounds = self.yardsticks;
        let measured = tokio::task::spawn_blocking(move || medians(&works, spans, rounds));
        let limits = measured.await.expect("a yardstick does not panic")?;
        for limit in &limits {
            say(&format!(
                "{}: {:.3} CPU-s a million spans, {:.2} GB/s",
                limit.yardstick.name(),
                limit.cpu_seconds_per_million_spans,
                limit.gigabytes_per_second
            ));
        }
        Ok(limits)
    }

    /// The ways that the bytes have to go through what is measured.
    fn routes(&self) -> Vec<Route> {
        let plan = &self.plans[0];
        let backends = plan.backends.as_ref().map(|(_, count)| *count);
        match self.subject {
            Subject::Edge => vec![Route::Relay { parts: plan.sinks }],
            Subject::Backend => vec![Route::Intake],
            Subject::Tiers => {
                vec![Route::Relay { parts: backends.unwrap_or(1) }, Route::Intake]
            }
        }
    }
}

/// The messages as they are on the wire, without gRPC's frame, and the spans in them.
fn bytes_of(supply: &Supply) -> (Arc<[Bytes]>, u64) {
    match supply {
        Supply::Replayed(replay) => {
            let requests = replay.work(1).requests;
            let messages = requests.iter().map(|request| request.body.slice(5..)).collect();
            (messages, requests.iter().map(|request| request.spans).sum())
        }
        Supply::Renamed(payload) => (payload.messages().into(), payload.manifest.spans),
    }
}

/// Of each yardstick the median of some rounds, which are made in turns.
fn medians(works: &[Work], spans: u64, rounds: u32) -> Result<Vec<Limit>, TestbedError> {
    let mut limits = Yardstick::ALL.map(|_| Vec::new());
    for _ in 0..rounds {
        for (yardstick, limits) in Yardstick::ALL.into_iter().zip(&mut limits) {
            let mut all: Option<Limit> = None;
            for work in works {
                let limit = work.measure(yardstick, spans)?;
                all = Some(all.map_or(limit, |all| all.and(limit)));
            }
            limits.extend(all);
        }
    }
    Ok(limits.into_iter().filter_map(Limit::median).collect())
}
