//! The task that owns a lane: takes parts in, sends requests, and settles the parts of each.
//!
//! A panic costs no backend its lane: one while a request is under way is a failed attempt, and
//! after one in the task itself what waited is tried again by a lane that starts anew.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use shared::clock;
use shared::consumer::{Reached, Rejected, RejectedKind};
use shared::queue::Delivered;
use shared::telemetry::thin::Thin;
use shared::transport::status;
use tokio::sync::mpsc;
use tracing::error;

use super::core::Core;
use super::lane::{Lane, Limits, Waiting};
use super::metrics::LaneMetrics;
use super::peer::Peer;
use super::ticket::{Part, as_gauge};
use super::way::{HeldFor, LaneSettings, Room};

/// The longest pause that a backend may ask for.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a lane sends nothing after its backend went out of rotation: time to find out where
/// its keys lead now, before more is sent that nobody will answer.
const TURN: Duration = Duration::from_millis(100);

/// How often parts are dropped whose senders have gone.
const SWEEP: Duration = Duration::from_secs(1);

/// Parts taken in at a time before requests are sent.
const INTAKE: usize = 256;

/// What a lane is told.
pub(super) enum Message {
    Part(Part),
    /// What waits for this exporter is to be routed anew.
    HandBack(Arc<Core>),
    /// What waits goes at once, without joining and pauses: the process ends.
    Flush,
    #[cfg(test)]
    Panic,
}

/// The owner of a lane.
pub(super) struct Task {
    peer: Arc<Peer>,
    lane: Lane<Part>,
    limits: Limits,
    /// Requests under way.
    sending: FuturesUnordered<BoxFuture<'static, After>>,
    held: Arc<HeldFor>,
    room: Room,
    /// Groups made so far.
    groups: u64,
    /// When parts were dropped last whose senders have gone.
    swept: Instant,
    panicked: Thin,
    metrics: LaneMetrics,
}

/// What is left to do after a request had its outcome.
enum After {
    Nothing,
    /// The backend asked for a pause.
    Pause(Duration),
    /// These were refused for good together; one half may be good.
    Halve(Vec<Part>),
    /// Sending panicked, with this text.
    Panicked(String),
}

impl Task {
    /// Owns a lane to `peer`, for which so much is held.
    pub(super) fn new(
        peer: Arc<Peer>,
        settings: LaneSettings,
        held: Arc<HeldFor>,
        metrics: LaneMetrics,
    ) -> Self {
        Self {
            peer,
            lane: Lane::new(settings.limits, 0),
            limits: settings.limits,
            sending: FuturesUnordered::new(),
            held,
            room: settings.room,
            groups: 0,
            swept: clock::now(),
            panicked: Thin::new(),
            metrics,
        }
    }

    /// Serves until nobody sends here any more, whatever panics.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        while let Err(panic) = AssertUnwindSafe(self.serve(&mut inbox)).catch_unwind().await {
            self.start_anew(&text(&*panic));
            tokio::time::sleep(TURN).await;
        }
    }

    /// Makes an empty lane of what a panic left. What is under way goes on; what waited is tried
    /// again as after a failure, so that it cannot break the lane for ever.
    fn start_anew(&mut self, panic: &str) {
        self.count_panic(panic);
        let waiting = self.lane.take(|_| true);
        self.lane = Lane::new(self.limits, self.sending.len());
        for part in waiting {
            let core = Arc::clone(part.core());
            let rejected = Rejected::retryable(part.batch().clone(), PANICKED);
            core.again(part, rejected.reached(Reached::Nobody));
        }
    }

    fn count_panic(&mut self, panic: &str) {
        self.metrics.panics.increment(1);
        if let Some(suppressed) = self.panicked.pass(clock::now()) {
            let endpoint = self.peer.endpoint();
            error!(endpoint, panic, suppressed, "sending to a backend panicked, goes on");
        }
    }

    /// Serves until nobody sends here any more and everything has its outcome.
    async fn serve(&mut self, inbox: &mut mpsc::UnboundedReceiver<Message>) {
        let mut messages = Vec::new();
        // One for good: a new timer for each wait would wake the runtime's driver each time.
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            let now = clock::now();
            self.sweep(now);
            while let Some(parts) = self.next(now) {
                self.sending.push(send(Arc::clone(&self.peer), parts).boxed());
            }
            self.measure();
            let due = self.lane.oldest().map(|_| now + SWEEP);
            let due = self.lane.due(now).into_iter().chain(due).min();
            if let Some(due) = due {
                timer.as_mut().reset(due.into());
            }
            tokio::select! {
                received = inbox.recv_many(&mut messages, INTAKE) => {
                    if received == 0 {
                        break;
                    }
                    messages.drain(..).for_each(|message| self.take(message));
                    // Whoever is ready to send has its turn first, so that more travels together.
                    tokio::task::yield_now().await;
                    while let Ok(message) = inbox.try_recv() {
                        self.take(message);
                    }
                }
                Some(after) = self.sending.next() => self.ended(after),
                () = &mut timer, if due.is_some() => {}
            }
        }
        // Nobody sends here any more; what waits belongs elsewhere now.
        self.lane.take(|_| true).into_iter().for_each(hand_back);
        while let Some(after) = self.sending.next().await {
            self.lane.ended();
            self.measure();
            match after {
                After::Halve(parts) => parts.into_iter().for_each(hand_back),
                After::Panicked(text) => self.count_panic(&text),
                After::Nothing | After::Pause(_) => {}
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Part(part) => self.lane.push(part),
            Message::HandBack(core) => {
                let taken = self.lane.take(|part| Arc::ptr_eq(part.core(), &core));
                taken.into_iter().for_each(hand_back);
            }
            Message::Flush => self.lane.flush(),
            #[cfg(test)]
            Message::Panic => panic!("as it was told"),
        }
    }

    /// Drops parts whose senders have gone.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) >= SWEEP {
            self.swept = now;
            self.lane.take(Part::given_up).into_iter().for_each(Part::abandoned);
        }
    }

    fn next(&mut self, now: Instant) -> Option<Vec<Part>> {
        let pressed = self.held.units() >= self.room.size / 2;
        loop {
            let parts = self.lane.next(now, pressed)?;
            let (given_up, parts): (Vec<_>, Vec<_>) = parts.into_iter().partition(Part::given_up);
            given_up.into_iter().for_each(Part::abandoned);
            if parts.is_empty() {
                self.lane.ended();
                continue;
            }
            let waited = parts.iter().filter_map(|part| part.waited(now));
            waited.for_each(|waited| self.peer.meter.waited(waited));
            return Some(parts);
        }
    }

    fn ended(&mut self, after: After) {
        self.lane.ended();
        let now = clock::now();
        if !self.peer.is_in_rotation() {
            self.lane.pause(now + TURN);
        }
        match after {
            After::Nothing => {}
            After::Panicked(text) => self.count_panic(&text),
            After::Pause(pause) => self.lane.pause(now + pause.min(LONGEST_PAUSE)),
            After::Halve(mut parts) => {
                let other = parts.split_off(parts.len() / 2);
                for half in [parts, other] {
                    self.groups += 1;
                    for mut part in half {
                        part.regroup(self.groups);
                        self.lane.push(part);
                    }
                }
            }
        }
    }

    fn measure(&self) {
        self.metrics.in_flight.set(as_gauge(self.lane.in_flight()));
        match self.lane.oldest() {
            Some(part) => self.metrics.queue_age.since(part.taken()),
            None => self.metrics.queue_age.clear(),
        }
    }
}

fn hand_back(part: Part) {
    let core = Arc::clone(part.core());
    core.reroute(part);
}

/// What a sender is told when it is our own fault.
const PANICKED: &str = "internal error while sending";

/// What was said with a panic.
fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a text").to_owned()
}

/// Sends parts as one request, and settles them.
async fn send(peer: Arc<Peer>, parts: Vec<Part>) -> After {
    let batches = parts.iter().map(|part| part.batch().clone()).collect();
    let outcome = match AssertUnwindSafe(peer.send(batches)).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => {
            for part in parts {
                let core = Arc::clone(part.core());
                let rejected = Rejected::retryable(part.batch().clone(), PANICKED);
                core.again(part, rejected.reached(Reached::Unknown));
            }
            return After::Panicked(text(&*panic));
        }
    };
    match outcome {
        Ok(delivered) => {
            settle(parts, &delivered);
            After::Nothing
        }
        Err(rejected) if rejected.kind == RejectedKind::Permanent => {
            if parts.len() > 1 && status::blames_the_data(&rejected) {
                return After::Halve(parts);
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

/// Items that the backend took the rest without cannot be told apart; they count with the first
/// parts, so that the sum is right.
fn settle(parts: Vec<Part>, delivered: &Delivered) {
    let mut rejected = delivered.rejected_items;
    if rejected > 0 || !delivered.message.is_empty() {
        parts[0].core().outcomes.log_partial(delivered);
    }
    for part in parts {
        let here = rejected.min(part.batch().items());
        rejected -= here;
        part.delivered(here);
    }
}
