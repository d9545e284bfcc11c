//! The task that owns a lane: takes parts in, sends requests, and settles the parts of each.
//!
//! Lanes are shared by the exporters of the process that have the same backend, settings and
//! signal, so that the parts of all of them travel together. A [`Way`] is one exporter's use of a
//! lane.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use shared::consumer::{Rejected, RejectedKind};
use shared::membership::Member;
use shared::queue::{Delivered, Sizer};
use shared::telemetry::expiring::Gauge;
use shared::{Batch, clock};
use tokio::sync::mpsc;

use super::core::Core;
use super::lane::{Lane, Limits};
use super::metrics::{LaneMetrics, millis};
use super::peer::Peer;
use super::ticket::{Part, as_gauge};

/// The longest pause that a backend may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Parts taken in at a time before requests are sent.
const INTAKE: usize = 256;

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

enum Message {
    Part(Part),
    /// What waits for this exporter is to be routed anew.
    HandBack(Arc<Core>),
    /// What waits goes at once, without joining and pauses: the process ends.
    Flush,
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
        let bytes = metrics.held_bytes.clone();
        let held = Arc::new(HeldFor { units: AtomicUsize::new(0), bytes });
        let task = Task {
            peer: Arc::clone(&peer),
            lane: Lane::new(settings.limits),
            metrics,
        };
        drop(tokio::spawn(task.run(messages)));
        Self { peer, inbox, settings, held }
    }

    #[cfg(test)]
    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }
}

/// What a part takes of the room for one backend: from when it is taken until it has its outcome,
/// also while it is under way or waits to be tried again.
pub(super) struct Place {
    held: Arc<HeldFor>,
    units: usize,
    bytes: usize,
    /// What was held when it was taken.
    before: usize,
}

/// What is held for one backend.
struct HeldFor {
    /// In the unit of its room.
    units: AtomicUsize,
    bytes: Gauge,
}

impl Place {
    fn new(held: &Arc<HeldFor>, sizer: Sizer, batch: &Batch) -> Self {
        let (units, bytes) = (sizer.measure(batch), batch.bytes().len());
        let before = held.units.fetch_add(units, Ordering::AcqRel);
        held.bytes.increment(as_gauge(bytes));
        Self { held: Arc::clone(held), units, bytes, before }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.held.units.fetch_sub(self.units, Ordering::AcqRel);
        self.held.bytes.decrement(as_gauge(self.bytes));
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

    /// Takes room for a new part, if there is enough. A part that is larger than all the room
    /// is taken when nothing else is there.
    pub(super) fn reserve(&self, batch: &Batch) -> Option<Place> {
        let Room { size, sizer } = self.lane.settings.room;
        let place = Place::new(&self.lane.held, sizer, batch);
        (place.before == 0 || place.before.saturating_add(place.units) <= size).then_some(place)
    }

    /// Sends a part to its place.
    pub(super) fn push(&self, mut part: Part, place: Place) {
        part.enter(self.lane.settings.sizer, place);
        // The task lives as long as this handle, unless the process ends; then the part counts
        // as cut off when it is dropped here.
        drop(self.lane.inbox.send(Message::Part(part)));
    }

    /// Sends a part that was admitted before, whatever the room.
    pub(super) fn push_again(&self, part: Part) {
        let place = Place::new(&self.lane.held, self.lane.settings.room.sizer, part.batch());
        self.push(part, place);
    }

    /// Lets what waits go at once: the process ends.
    pub(super) fn flush(&self) {
        drop(self.lane.inbox.send(Message::Flush));
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

/// The owner of a lane.
struct Task {
    peer: Arc<Peer>,
    lane: Lane<Part>,
    metrics: LaneMetrics,
}

/// What is left to do after a request had its outcome.
enum After {
    Nothing,
    /// The backend asked for a pause.
    Pause(Duration),
    /// These were refused for good together; each is to be tried by itself.
    Separate(Vec<Part>),
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        let mut sending = FuturesUnordered::new();
        let mut messages = Vec::new();
        loop {
            let now = clock::now();
            while let Some(parts) = self.next(now) {
                sending.push(send(Arc::clone(&self.peer), parts));
            }
            self.measure();
            let due = self.lane.due(now);
            tokio::select! {
                received = inbox.recv_many(&mut messages, INTAKE) => {
                    if received == 0 {
                        break;
                    }
                    messages.drain(..).for_each(|message| self.take(message));
                }
                Some(after) = sending.next() => self.ended(after),
                () = until(due) => {}
            }
        }
        // Nobody sends here any more; what waits belongs elsewhere now.
        self.lane.take(|_| true).into_iter().for_each(hand_back);
        while let Some(after) = sending.next().await {
            if let After::Separate(parts) = after {
                parts.into_iter().for_each(hand_back);
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Part(part) => self.lane.push(part, clock::now()),
            Message::HandBack(core) => {
                let taken = self.lane.take(|part| Arc::ptr_eq(part.core(), &core));
                taken.into_iter().for_each(hand_back);
            }
            Message::Flush => self.lane.flush(),
        }
    }

    fn next(&mut self, now: Instant) -> Option<Vec<Part>> {
        let mut given_up = Vec::new();
        let parts = self.lane.next(now, &mut given_up);
        for part in given_up {
            let rejected = Rejected::refused(part.batch().clone(), "nobody waits for the answer");
            part.failed(rejected, "the sender has gone");
        }
        let parts = parts?;
        for part in &parts {
            let waited = now.saturating_duration_since(part.waits_since());
            self.peer.meter.queue_time(millis(waited));
        }
        Some(parts)
    }

    fn ended(&mut self, after: After) {
        self.lane.ended();
        match after {
            After::Nothing => {}
            After::Pause(pause) => self.lane.pause(clock::now() + pause.min(LONGEST_PAUSE)),
            After::Separate(parts) => {
                for mut part in parts {
                    part.separate();
                    self.lane.push(part, clock::now());
                }
            }
        }
    }

    fn measure(&self) {
        self.metrics.in_flight.set(as_gauge(self.lane.in_flight()));
        match self.lane.oldest() {
            Some(part) => self.metrics.queue_age.since(part.waits_since()),
            None => self.metrics.queue_age.clear(),
        }
    }
}

/// Waits until then; for ever if there is no then.
async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

fn hand_back(part: Part) {
    let core = Arc::clone(part.core());
    core.reroute(part);
}

/// Sends parts as one request, and settles them.
async fn send(peer: Arc<Peer>, mut parts: Vec<Part>) -> After {
    let batch = join(&mut parts);
    match peer.send(batch).await {
        Ok(delivered) => {
            settle(parts, &delivered);
            After::Nothing
        }
        Err(rejected) if rejected.kind == RejectedKind::Permanent => {
            if parts.len() > 1 {
                return After::Separate(parts);
            }
            for part in parts {
                part.failed(rejected.clone(), "not retryable error");
            }
            After::Nothing
        }
        Err(rejected) => {
            let pause = rejected.retry_after;
            for part in parts {
                let core = Arc::clone(part.core());
                core.again(part, rejected.clone());
            }
            pause.map_or(After::Nothing, After::Pause)
        }
    }
}

/// One request of all parts, which share its bytes from now on.
fn join(parts: &mut [Part]) -> Batch {
    let batches = parts.iter().map(|part| part.batch().clone()).collect();
    let joined = Batch::concat_all(batches).expect("a request has a part");
    if parts.len() > 1 {
        let mut start = 0;
        for part in parts {
            let end = start + part.batch().bytes().len();
            let bytes = joined.bytes().slice(start..end);
            part.rebase(part.batch().part(bytes, part.batch().items()));
            start = end;
        }
    }
    joined
}

/// Items that the backend took the rest without cannot be told apart; they count with the first
/// parts, so that the sum is right.
fn settle(parts: Vec<Part>, delivered: &Delivered) {
    let mut rejected = delivered.rejected_items;
    if rejected > 0 || !delivered.message.is_empty() {
        parts[0].core().log_partial(delivered);
    }
    for part in parts {
        let here = rejected.min(part.batch().items());
        rejected -= here;
        part.delivered(here);
    }
}
