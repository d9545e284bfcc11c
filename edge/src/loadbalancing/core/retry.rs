//! What becomes of a part that was not delivered, or has no backend: it waits, and goes by the
//! routes of then, until it is delivered or given up.

use std::sync::Arc;
use std::time::Duration;

use shared::clock;
use shared::consumer::{Reached, Rejected};
use shared::membership::Routes;
use shared::queue::Verdict;
use tracing::info;

use super::Core;
use crate::loadbalancing::lane::Waiting;
use crate::loadbalancing::lane_task::LONGEST_PAUSE;
use crate::loadbalancing::ticket::Part;
use crate::loadbalancing::way::Way;

/// How often a part that waits is looked at, whether its sender has gone.
const SWEEP: Duration = Duration::from_secs(1);

impl Core {
    /// Decides what becomes of a part that was not delivered for now.
    pub(in crate::loadbalancing) fn again(self: &Arc<Self>, mut part: Part, rejected: Rejected) {
        if rejected.reached == Reached::Unknown {
            self.metrics.possible_duplicates.increment(part.batch().items() as u64);
        }
        let now = clock::now();
        let asked = rejected.retry_after.map(|delay| delay.min(LONGEST_PAUSE));
        let verdict = part.schedule(&self.retry, now).failed(now, asked, &mut rand::rng());
        if self.stopping.is_cancelled() {
            part.failed(rejected, "interrupted due to shutdown");
            return;
        }
        let Verdict::Wait(interval) = verdict else {
            part.failed(rejected, "no more retries left");
            return;
        };
        if let Some(suppressed) = self.retried.pass(now) {
            info!(exporter = self.exporter, error = %rejected, ?interval, suppressed,
                "exporting failed, will retry the part after interval");
        }
        let core = Arc::clone(self);
        drop(tokio::spawn(async move {
            let left = |routes: &Routes<Way>| part.way().is_some_and(|way| !routes.leads_to(way));
            core.wait(&part, Some(interval), left).await;
            core.go_on(part);
        }));
    }

    /// Routes what waited for a backend that is passed over now.
    pub(in crate::loadbalancing) fn reroute(self: &Arc<Self>, part: Part) {
        self.metrics.rerouted.increment(part.batch().items() as u64);
        self.route(part);
    }

    /// Keeps a part until a backend is known. That costs it no attempt.
    pub(super) fn park(self: &Arc<Self>, part: Part) {
        self.metrics.unroutable.increment(part.batch().items() as u64);
        let core = Arc::clone(self);
        drop(tokio::spawn(async move {
            core.wait(&part, None, |routes| !routes.is_empty()).await;
            if core.stopping.is_cancelled() && core.table.current().is_empty() {
                let none = Rejected::refused(part.batch().clone(), "no backend is known");
                part.failed(none, "interrupted due to shutdown");
            } else {
                core.go_on(part);
            }
        }));
    }

    /// Waits so long, or until the routes are as they should be, the sender of the part has gone,
    /// or the process ends.
    async fn wait(
        &self,
        part: &Part,
        time: Option<Duration>,
        enough: impl Fn(&Routes<Way>) -> bool,
    ) {
        let mut changed = self.table.changed();
        let end = time.map(|time| tokio::time::Instant::now() + time);
        while !enough(&self.table.current()) && !part.given_up() {
            let now = tokio::time::Instant::now();
            let left = end.map_or(SWEEP, |end| end.saturating_duration_since(now).min(SWEEP));
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                Ok(()) = changed.changed() => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    /// Routes a part after a wait, unless nobody wants it any more.
    fn go_on(self: &Arc<Self>, part: Part) {
        match part.given_up() {
            true => part.abandoned(),
            false => self.route(part),
        }
    }

    /// Routes a part by the routes of this moment: its backend is passed over, or it is tried
    /// again.
    fn route(self: &Arc<Self>, part: Part) {
        let routes = self.table.current();
        if routes.is_empty() {
            self.park(part);
            return;
        }
        let cut = self.key.split(part.batch(), &**routes);
        self.push(&routes, part, cut, None);
    }
}
