//! An exporter's way to a backend: the lane that its parts are put on, and their room there.
//!
//! Lanes are shared by the exporters of the process that have the same backend, settings and
//! signal, so that the parts of all of them travel together. A [`Way`] is one exporter's use of a
//! lane.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use shared::Batch;
use shared::membership::Member;
use shared::queue::Sizer;
use shared::telemetry::expiring::Gauge;
use tokio::sync::{Notify, mpsc};

use super::core::Core;
use super::lane::Limits;
use super::lane_task::{Message, Task};
use super::metrics::LaneMetrics;
use super::peer::Peer;
use super::ticket::{Part, as_gauge, size_of_part};

/// How a lane is set up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LaneSettings {
    pub(super) limits: Limits,
    /// What the limits' sizes count.
    pub(super) sizer: Sizer,
    /// The most that is held for one backend.
    pub(super) room: Room,
}

/// A bound on what is held for one backend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Room {
    pub(super) size: usize,
    pub(super) sizer: Sizer,
}

/// A lane, as those see it who send by it.
pub(super) struct LaneHandle {
    peer: Arc<Peer>,
    inbox: mpsc::UnboundedSender<Message>,
    settings: LaneSettings,
    held: Arc<HeldFor>,
}

impl LaneHandle {
    /// Starts the task of a lane. To be called within a runtime.
    #[allow(
        clippy::disallowed_methods,
        reason = "bounded by the exporters' queues: every part holds room there"
    )]
    pub(super) fn start(peer: Arc<Peer>, settings: LaneSettings, metrics: LaneMetrics) -> Self {
        let (inbox, messages) = mpsc::unbounded_channel();
        let held = Arc::new(HeldFor {
            units: AtomicUsize::new(0),
            bytes: metrics.held_bytes.clone(),
            freed: Notify::new(),
        });
        let task = Task::new(Arc::clone(&peer), settings, Arc::clone(&held), metrics);
        drop(tokio::spawn(task.run(messages)));
        Self { peer, inbox, settings, held }
    }

    /// Has the task panic.
    #[cfg(test)]
    pub(super) fn panic(&self) {
        drop(self.inbox.send(Message::Panic));
    }

    #[cfg(test)]
    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.units()
    }
}

/// What is held for one backend.
pub(super) struct HeldFor {
    units: AtomicUsize,
    bytes: Gauge,
    /// Told when it gets less.
    freed: Notify,
}

impl HeldFor {
    /// How much it is, in the unit of its room.
    #[inline]
    pub(super) fn units(&self) -> usize {
        self.units.load(Ordering::Acquire)
    }
}

/// What a part takes of the room for one backend: from when it is taken until it has its outcome,
/// also while it is under way or waits to be tried again.
pub(super) struct Place {
    way: Arc<Way>,
    units: usize,
    bytes: usize,
    /// What was held when it was taken.
    before: usize,
}

impl Place {
    fn new(way: &Arc<Way>, batch: &Batch) -> Self {
        let held = &way.lane.held;
        let units = size_of_part(way.lane.settings.room.sizer, batch);
        let bytes = size_of_part(Sizer::Bytes, batch);
        let before = held.units.fetch_add(units, Ordering::AcqRel);
        held.bytes.increment(as_gauge(bytes));
        Self { way: Arc::clone(way), units, bytes, before }
    }

    /// The way to the backend.
    pub(super) fn way(&self) -> &Arc<Way> {
        &self.way
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let held = &self.way.lane.held;
        held.units.fetch_sub(self.units, Ordering::AcqRel);
        held.bytes.decrement(as_gauge(self.bytes));
        held.freed.notify_waiters();
    }
}

/// One exporter's way to one backend.
pub(super) struct Way {
    lane: Arc<LaneHandle>,
    core: Weak<Core>,
}

impl Way {
    pub(super) fn new(lane: Arc<LaneHandle>, core: Weak<Core>) -> Self {
        Self { lane, core }
    }

    /// Takes room for what a request has for this backend, if there is enough. What is larger than
    /// all the room is taken when nothing else is there.
    pub(super) fn reserve(self: &Arc<Self>, batch: &Batch) -> Option<Place> {
        let place = Place::new(self, batch);
        let fits = place.before.saturating_add(place.units) <= self.lane.settings.room.size;
        (place.before == 0 || fits).then_some(place)
    }

    /// Takes room for what was admitted before, whatever there is.
    pub(super) fn place(self: &Arc<Self>, batch: &Batch) -> Place {
        Place::new(self, batch)
    }

    /// Waits until there may be more room, for a moment at most.
    pub(super) async fn freed(&self) {
        let freed = self.lane.held.freed.notified();
        drop(tokio::time::timeout(Duration::from_millis(100), freed).await);
    }

    /// Sends a part to its place.
    pub(super) fn push(&self, mut part: Part, place: Arc<Place>) {
        part.enter(self.lane.settings.sizer, place);
        // The task lives as long as this handle, unless the process ends; then the part counts
        // as cut off when it is dropped here.
        drop(self.lane.inbox.send(Message::Part(part)));
    }

    /// Lets what waits go at once: the process ends.
    pub(super) fn flush(&self) {
        drop(self.lane.inbox.send(Message::Flush));
    }

    #[cfg(test)]
    pub(super) fn lane(&self) -> &Arc<LaneHandle> {
        &self.lane
    }
}

impl Member for Way {
    fn in_rotation(&self) -> bool {
        self.lane.peer.is_in_rotation()
    }

    fn passed_over(&self) {
        if let Some(core) = self.core.upgrade() {
            drop(self.lane.inbox.send(Message::HandBack(core)));
        }
    }
}
