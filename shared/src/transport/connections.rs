//! The open connections of a listener: their limit, and who gives way when it is reached.
//!
//! A connection is quiet from when its last request was read to its end, or from its beginning;
//! while a request is in the pipeline it works, and is not quiet. At the limit the longest quiet
//! hundredth is closed to make room. So a flood of connections that say nothing, or say it
//! slowly, pushes out itself, and a client that sends keeps its place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use metrics::Counter;
use tokio::sync::Notify;

use crate::clock;
use crate::metric_set;

/// Share of the connections that give way at once, so that they are not looked through for each
/// new one.
const GIVING_WAY: usize = 100;

metric_set! {
    /// Connections that a receiver ended.
    pub struct CutMetrics ["receiver", "transport", "reason"];
    /// Number of connections that the receiver ended against the client's will, by reason.
    cut: Counter = "otelcol_receiver_connections_cut", "{connection}";
}

metric_set! {
    /// Connections that an exporter ended that is asked for what it exports.
    pub struct ExporterCutMetrics ["exporter", "reason"];
    /// Number of connections that the exporter ended against the client's will, by reason.
    cut: Counter = "otelcol_exporter_connections_cut", "{connection}";
}

/// Why a connection is ended against its client's will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Did not begin to speak in time, or not finish its TLS handshake.
    SlowStart,
    /// Did not finish a request's headers, or a frame, in time.
    SlowRequest,
    /// Takes no answers.
    Stalled,
    /// Pings more often than it may.
    Pings,
    /// Resets its streams too often.
    Resets,
    /// Sends too many frames that carry nothing.
    IdleFrames,
    /// Broke the protocol, or one of its bounds.
    Protocol,
    /// The longest quiet gives way at the limit of connections.
    Quiet,
    /// At the limit of connections, and nobody could give way.
    Full,
}

impl Cut {
    const ALL: [(Cut, &'static str); 9] = [
        (Cut::SlowStart, "slow_start"),
        (Cut::SlowRequest, "slow_request"),
        (Cut::Stalled, "stalled"),
        (Cut::Pings, "too_many_pings"),
        (Cut::Resets, "too_many_resets"),
        (Cut::IdleFrames, "too_many_idle_frames"),
        (Cut::Protocol, "protocol"),
        (Cut::Quiet, "quiet"),
        (Cut::Full, "full"),
    ];

    /// The word for metrics and logs.
    pub(super) fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(cut, _)| *cut == self).map_or("", |(_, name)| name)
    }

    /// What the client is told, where there is a way to tell it anything.
    pub(super) fn goodbye(self) -> &'static str {
        self.name()
    }
}

/// Counts by reason.
#[derive(Clone)]
pub(super) struct Cuts(Arc<Vec<(Cut, Counter)>>);

impl Cuts {
    pub(super) fn new(receiver: &str, transport: &str) -> Self {
        let counter = |(cut, reason)| {
            let labels = [("receiver", receiver), ("transport", transport), ("reason", reason)];
            (cut, CutMetrics::new(&labels).cut)
        };
        Self(Arc::new(Cut::ALL.into_iter().map(counter).collect()))
    }

    pub(super) fn of_exporter(exporter: &str) -> Self {
        let counter = |(cut, reason)| {
            (cut, ExporterCutMetrics::new(&[("exporter", exporter), ("reason", reason)]).cut)
        };
        Self(Arc::new(Cut::ALL.into_iter().map(counter).collect()))
    }

    pub(super) fn count(&self, cut: Cut) {
        for (other, counter) in self.0.iter() {
            if *other == cut {
                counter.increment(1);
            }
        }
    }
}

/// What is known of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Where it comes from; a Unix socket comes from nowhere.
    peer: Option<IpAddr>,
    opened: Instant,
    /// Milliseconds after it was opened; 0 before its first whole request.
    quiet_since: AtomicU64,
    /// Requests that were begun.
    requests: AtomicUsize,
    /// Of those, the ones that were read to their end.
    working: AtomicUsize,
    /// Told when the last request under way has ended.
    pub(super) quiet: Notify,
    /// Told when it must give way.
    pub(super) give_way: Notify,
    /// Why it is ended.
    cut: OnceLock<Cut>,
}

impl Connection {
    fn new(peer: Option<IpAddr>, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            peer,
            opened: now,
            quiet_since: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            working: AtomicUsize::new(0),
            quiet: Notify::new(),
            give_way: Notify::new(),
            cut: OnceLock::new(),
        })
    }

    fn touch(&self) {
        let age = clock::now().saturating_duration_since(self.opened);
        // Not 0, which is the beginning.
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX).max(1);
        self.quiet_since.store(age, Ordering::Relaxed);
    }

    /// Since when nothing whole came in; none while a request is in the pipeline.
    fn quiet_since(&self) -> Option<Instant> {
        match self.working.load(Ordering::Relaxed) {
            0 => {
                let age = Duration::from_millis(self.quiet_since.load(Ordering::Relaxed));
                Some(self.opened + age)
            }
            _ => None,
        }
    }

    /// Whether it has not sent a whole request yet.
    pub(super) fn is_new(&self) -> bool {
        self.quiet_since.load(Ordering::Relaxed) == 0
    }

    pub(super) fn has_requests(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// Remembers why it ends; the first reason stands.
    pub(super) fn cut(&self, cut: Cut) {
        self.cut.get_or_init(|| cut);
    }

    /// Why it was ended, if it was.
    pub(super) fn reason(&self) -> Option<Cut> {
        self.cut.get().copied()
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct RequestGuard {
    connection: Arc<Connection>,
    works: bool,
}

impl RequestGuard {
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        connection.requests.fetch_add(1, Ordering::Relaxed);
        Self { connection: Arc::clone(connection), works: false }
    }

    /// The address that its connection comes from.
    pub fn peer(&self) -> Option<IpAddr> {
        self.connection.peer
    }

    /// The request was read to its end: its connection does what it is there for.
    pub fn received(&mut self) {
        if !std::mem::replace(&mut self.works, true) {
            self.connection.working.fetch_add(1, Ordering::Relaxed);
            self.connection.touch();
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if self.works {
            self.connection.touch();
            self.connection.working.fetch_sub(1, Ordering::Relaxed);
        }
        if self.connection.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.connection.quiet.notify_waiters();
        }
    }
}

/// All connections of a listener.
pub(super) struct Connections {
    limit: usize,
    /// Younger ones do not give way: they have not had the time to send anything.
    min_stay: Duration,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
}

/// What came of a wish for a place.
pub(super) enum Admission {
    /// There is one; so many others had to give way.
    Admitted(Place, usize),
    /// There is none.
    Refused,
}

impl Connections {
    pub(super) fn new(limit: usize, min_stay: Duration) -> Arc<Self> {
        Arc::new(Self { limit, min_stay, open: Mutex::default() })
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).connections.len()
    }

    /// A place for one more, which comes from `peer`.
    pub(super) fn admit(self: &Arc<Self>, peer: Option<IpAddr>) -> Admission {
        let now = clock::now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gave_way = 0;
        if open.connections.len() >= self.limit {
            gave_way = self.make_way(&mut open, now);
            if gave_way == 0 {
                return Admission::Refused;
            }
        }
        let (id, connection) = (open.next, Connection::new(peer, now));
        open.next += 1;
        open.connections.insert(id, Arc::clone(&connection));
        Admission::Admitted(Place { id, connection, among: Arc::clone(self) }, gave_way)
    }

    /// Lets the longest quiet go, as at the limit; says how many there were.
    pub(super) fn relieve(&self) -> usize {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.make_way(&mut open, clock::now())
    }

    fn make_way(&self, open: &mut Open, now: Instant) -> usize {
        let quiet = open.connections.iter().filter_map(|(id, connection)| {
            let since = connection.quiet_since()?;
            (now.saturating_duration_since(since) >= self.min_stay).then_some((since, *id))
        });
        let mut quiet: Vec<(Instant, u64)> = quiet.collect();
        let count = (self.limit / GIVING_WAY).max(1).min(quiet.len());
        if count < quiet.len() {
            quiet.select_nth_unstable(count);
        }
        for (_, id) in quiet.iter().take(count) {
            if let Some(connection) = open.connections.remove(id) {
                connection.cut(Cut::Quiet);
                connection.give_way.notify_one();
            }
        }
        count
    }
}

/// A connection's place among all; free again when it is dropped.
pub(super) struct Place {
    id: u64,
    pub(super) connection: Arc<Connection>,
    among: Arc<Connections>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.among.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn admitted(connections: &Arc<Connections>) -> (Place, usize) {
        match connections.admit(None) {
            Admission::Admitted(place, gave_way) => (place, gave_way),
            Admission::Refused => panic!("refused"),
        }
    }

    #[test]
    fn the_longest_quiet_gives_way() {
        let connections = Connections::new(3, Duration::ZERO);
        let places: Vec<_> = (0..3).map(|_| admitted(&connections).0).collect();
        // The first has just sent something, and the third is at work.
        places[0].connection.quiet_since.store(60_000, Ordering::Relaxed);
        let mut request = RequestGuard::new(&places[2].connection);
        request.received();
        let (_fourth, gave_way) = admitted(&connections);
        assert_eq!(gave_way, 1);
        let reasons: Vec<_> = places.iter().map(|place| place.connection.reason()).collect();
        assert_eq!(reasons, [None, Some(Cut::Quiet), None]);
        assert_eq!(connections.len(), 3);
        drop(places);
        assert_eq!(connections.len(), 1);
    }

    #[test]
    fn a_request_that_never_ends_does_not_keep_its_place() {
        let connections = Connections::new(1, Duration::ZERO);
        let (slow, _) = admitted(&connections);
        let _request = RequestGuard::new(&slow.connection);
        admitted(&connections);
        assert_eq!(slow.connection.reason(), Some(Cut::Quiet));
    }

    #[test]
    fn nobody_gives_way_who_has_just_come_or_works() {
        let young = Connections::new(1, Duration::from_secs(60));
        let _first = admitted(&young);
        assert!(matches!(young.admit(None), Admission::Refused));

        let at_work = Connections::new(1, Duration::ZERO);
        let (first, _) = admitted(&at_work);
        let mut request = RequestGuard::new(&first.connection);
        request.received();
        assert!(matches!(at_work.admit(None), Admission::Refused));
        drop(request);
        admitted(&at_work);
    }

    #[test]
    fn a_hundredth_gives_way_at_once() {
        let connections = Connections::new(1000, Duration::ZERO);
        let mut places: Vec<_> = (0..1000).map(|_| admitted(&connections).0).collect();
        let gave_way: Vec<_> = (0..11)
            .map(|_| {
                let (place, gave_way) = admitted(&connections);
                places.push(place);
                gave_way
            })
            .collect();
        assert_eq!(gave_way, [10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10]);
        assert_eq!(connections.len(), 991);
    }
}
