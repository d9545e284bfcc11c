//! How much of the process's memory requests may take while they are being received.
//!
//! The memory limiter sees a request when it is whole. Before that its bytes are counted here,
//! with something for each request's own upkeep, against one number for all receivers of the
//! process. When that is used up, whoever has been receiving longest gives way, and if that was
//! not long, the newcomer is turned away: both are told to come back. So memory stays bounded
//! whatever clients begin and do not end, and slow ones do not keep out the others.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use tokio::sync::Notify;

use super::status::Unread;
use crate::clock;
use crate::telemetry::memory::{self, Held, REQUEST_UPKEEP};

/// The part of the process's memory that requests may take while they are received, and that the
/// connections of one server may take.
const SHARE: u64 = 8;

/// What a connection takes, its buffers and the library's books included; measured.
const CONNECTION: u64 = 40 * 1024;

/// The most connections of a server that was not told how many.
const MAX_CONNECTIONS: u64 = 10_000;

/// Requests that have been received for less than this do not give way.
const MIN_STAY: Duration = Duration::from_secs(1);

/// How long a newcomer waits for those who were told to give way.
const GIVING_WAY: Duration = Duration::from_secs(1);

/// Below this a body in one piece is copied, since the piece may be a small part of a buffer.
const SMALL: usize = 16 * 1024;

/// Room that is made for a body because its client says how long it is.
pub(super) const MOST_RESERVED: usize = 256 * 1024;

/// How many connections a server may have that was told `configured`, where 0 is nothing.
pub(super) fn max_connections(configured: u32) -> usize {
    let fit = || (memory::limit() / SHARE / CONNECTION).clamp(100, MAX_CONNECTIONS);
    let count = if configured == 0 { fit() } else { configured.into() };
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Bytes for all requests that are being received.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    min_stay: Duration,
    used: AtomicUsize,
    /// How many wait for others to give way, and are told when they did.
    hoping: AtomicUsize,
    freed: Notify,
    waiting: Mutex<Waiting>,
}

/// The requests whose bytes are waited for, in the order in which that began.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    requests: BTreeMap<u64, Arc<Request>>,
}

#[derive(Debug)]
struct Request {
    since: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    gives_way: bool,
    waker: Option<Waker>,
}

impl Budget {
    /// For all receivers of this process.
    pub fn of_process() -> Self {
        Self::new(usize::try_from(memory::limit() / SHARE).unwrap_or(usize::MAX), MIN_STAY)
    }

    /// Of `limit` bytes.
    pub fn new(limit: usize, min_stay: Duration) -> Self {
        let (used, hoping) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { limit, min_stay, used, hoping, freed: Notify::new(), waiting: Mutex::default() }
    }

    /// How much of it one of so many connections may have under way before we have read it.
    pub(super) fn window(&self, connections: usize) -> u32 {
        const LEAST: usize = 64 * 1024;
        const MOST: usize = super::bounds::CONNECTION_WINDOW as usize;
        let share = (self.limit / connections.max(1)).clamp(LEAST, MOST);
        u32::try_from(share).unwrap_or(u32::MAX)
    }

    /// Begins to receive a request.
    ///
    /// # Errors
    /// [`Unread::Busy`] when there is no room, and nobody to give way.
    pub async fn begin(self: &Arc<Self>) -> Result<Ticket, Unread> {
        let mut ticket =
            Ticket { budget: Arc::clone(self), held: Held::default(), bytes: 0, waiting: None };
        ticket.grow(REQUEST_UPKEEP).await?;
        Ok(ticket)
    }

    /// Whether there is room for `bytes` more, which then are used. Who uses all there is used
    /// may have more than there is: what one request may take has a limit of its own, and must
    /// not be out of reach for ever.
    fn take(&self, bytes: usize, already: usize) -> bool {
        let fits = |used: usize| {
            let more = used.checked_add(bytes);
            more.filter(|more| *more <= self.limit || used == already)
        };
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        if self.hoping.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }

    /// Tells the request that has been waited for longest to give way; `false` if that is the one
    /// that asks, or if none has been waited for for long.
    fn make_way(&self, asking: Option<u64>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(oldest) = waiting.requests.first_entry() else { return false };
        if Some(*oldest.key()) == asking {
            return false;
        }
        if clock::now().saturating_duration_since(oldest.get().since) < self.min_stay {
            return false;
        }
        let request = oldest.remove();
        drop(waiting);
        let mut state = request.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.gives_way = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        true
    }
}

/// What one request takes of the budget, given back when this is dropped.
#[derive(Debug)]
pub struct Ticket {
    budget: Arc<Budget>,
    held: Held,
    bytes: usize,
    /// Its place among those that are waited for, once it was.
    waiting: Option<(u64, Arc<Request>)>,
}

impl Ticket {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// [`Unread::Busy`] when there is no room, and nobody to give way.
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), Unread> {
        if !self.budget.take(bytes, self.bytes) {
            let _hope = Hope::new(&self.budget.hoping);
            loop {
                let freed = self.budget.freed.notified();
                if self.budget.take(bytes, self.bytes) {
                    break;
                }
                let asking = self.waiting.as_ref().map(|(id, _)| *id);
                let gives_way = self.budget.make_way(asking);
                if !gives_way || tokio::time::timeout(GIVING_WAY, freed).await.is_err() {
                    return Err(Unread::Busy);
                }
            }
        }
        self.bytes += bytes;
        self.held.resize(self.bytes);
        Ok(())
    }

    /// Ready when this request must give way.
    fn poll_gives_way(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let budget = &self.budget;
        let (_, request) = self.waiting.get_or_insert_with(|| {
            let request = Arc::new(Request { since: clock::now(), state: Mutex::default() });
            let mut waiting = budget.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let id = waiting.next;
            waiting.next += 1;
            waiting.requests.insert(id, Arc::clone(&request));
            (id, request)
        });
        let mut state = request.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.gives_way {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none @ None => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The next bytes of `body`, counted; none at its end.
    ///
    /// # Errors
    /// [`Unread::Busy`], and [`Unread::Gone`] when the body does not end.
    pub(super) async fn next<B>(&mut self, mut body: Pin<&mut B>) -> Result<Option<Bytes>, Unread>
    where
        B: Body<Data = Bytes>,
    {
        loop {
            let frame = poll_fn(|cx| match body.as_mut().poll_frame(cx) {
                Poll::Ready(frame) => Poll::Ready(Ok(frame)),
                Poll::Pending => self.poll_gives_way(cx).map(|()| Err(Unread::Busy)),
            });
            let Some(frame) = frame.await? else { return Ok(None) };
            let frame = frame.map_err(|_| Unread::Gone)?;
            // Trailers of a request mean nothing.
            if let Ok(data) = frame.into_data() {
                self.grow(data.len()).await?;
                return Ok(Some(data));
            }
        }
    }

    /// All of `body`, up to `limit` bytes.
    ///
    /// # Errors
    /// As [`Ticket::next`], and [`Unread::TooLarge`] as soon as that is known.
    pub(super) async fn read<B>(&mut self, body: B, limit: usize) -> Result<Bytes, Unread>
    where
        B: Body<Data = Bytes>,
    {
        let expected = body.size_hint().lower();
        // Known to be too large: not a byte of it is read.
        if expected > limit as u64 {
            return Err(Unread::TooLarge(limit));
        }
        let mut body = std::pin::pin!(body);
        let mut joined = BytesMut::new();
        while let Some(data) = self.next(body.as_mut()).await? {
            if joined.len() + data.len() > limit {
                return Err(Unread::TooLarge(limit));
            }
            if joined.is_empty() {
                if data.len() >= SMALL && data.len() as u64 == expected {
                    return Ok(data);
                }
                let room = usize::try_from(expected).unwrap_or(0).min(MOST_RESERVED);
                joined.reserve(room.max(data.len()));
            }
            joined.extend_from_slice(&data);
        }
        Ok(joined.freeze())
    }
}

/// Counts as hoping until it is dropped.
struct Hope<'b>(&'b AtomicUsize);

impl<'b> Hope<'b> {
    fn new(hoping: &'b AtomicUsize) -> Self {
        hoping.fetch_add(1, Ordering::SeqCst);
        Self(hoping)
    }
}

impl Drop for Hope<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some((id, _)) = &self.waiting {
            let mut waiting = self.budget.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.requests.remove(id);
        }
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::Full;

    use super::*;

    const ROOM: usize = 1000;

    /// A budget for requests of so many bytes in all, besides their upkeep.
    fn budget(requests: usize, min_stay: Duration) -> Arc<Budget> {
        Arc::new(Budget::new(requests * REQUEST_UPKEEP + ROOM, min_stay))
    }

    /// Some pieces, then nothing more for ever, or the end.
    struct Pieces(VecDeque<Bytes>, bool);

    impl Pieces {
        fn new(count: usize, size: usize, ends: bool) -> Self {
            Self((0..count).map(|_| vec![7; size].into()).collect(), ends)
        }
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None if self.1 => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    async fn read(budget: &Arc<Budget>, body: Pieces) -> Result<usize, Unread> {
        let mut ticket = budget.begin().await?;
        ticket.read(body, usize::MAX).await.map(|body| body.len())
    }

    #[tokio::test]
    async fn what_was_received_is_given_back() {
        let budget = budget(1, MIN_STAY);
        for _ in 0..10 {
            assert_eq!(read(&budget, Pieces::new(4, 250, true)).await, Ok(1000));
        }
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_is_turned_away_while_the_others_are_young() {
        let budget = budget(2, MIN_STAY);
        let slow = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { read(&budget, Pieces::new(1, ROOM, false)).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(read(&budget, Pieces::new(1, 1, true)).await, Err(Unread::Busy));
        assert!(!slow.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_been_received_longest_gives_way() {
        let budget = budget(3, MIN_STAY);
        let slow = || {
            let budget = Arc::clone(&budget);
            tokio::spawn(async move { read(&budget, Pieces::new(1, ROOM / 2, false)).await })
        };
        let first = slow();
        tokio::time::sleep(MIN_STAY).await;
        let second = slow();
        tokio::time::sleep(MIN_STAY / 2).await;
        assert_eq!(read(&budget, Pieces::new(2, ROOM / 4, true)).await, Ok(ROOM / 2));
        assert_eq!(first.await.unwrap(), Err(Unread::Busy));
        assert!(!second.is_finished());
    }

    #[tokio::test]
    async fn the_one_that_asks_does_not_wait_for_itself() {
        let budget = budget(2, Duration::ZERO);
        let _other = budget.begin().await.unwrap();
        let mut ticket = budget.begin().await.unwrap();
        let waits = poll_fn(|cx| Poll::Ready(ticket.poll_gives_way(cx).is_pending()));
        assert!(waits.await);
        assert_eq!(ticket.grow(ROOM + 1).await, Err(Unread::Busy));
        assert_eq!(ticket.grow(ROOM).await, Ok(()));
    }

    #[tokio::test]
    async fn a_request_alone_may_be_larger_than_the_budget() {
        let budget = budget(1, MIN_STAY);
        assert_eq!(read(&budget, Pieces::new(5, ROOM, true)).await, Ok(5 * ROOM));
        let _other = budget.begin().await.unwrap();
        assert_eq!(read(&budget, Pieces::new(5, ROOM, true)).await, Err(Unread::Busy));
    }

    #[tokio::test]
    async fn requests_without_a_byte_count_as_well() {
        let budget = Arc::new(Budget::new(3 * REQUEST_UPKEEP, MIN_STAY));
        let mut tickets = Vec::new();
        for _ in 0..3 {
            tickets.push(budget.begin().await.unwrap());
        }
        assert!(matches!(budget.begin().await, Err(Unread::Busy)));
        tickets.pop();
        assert!(budget.begin().await.is_ok());
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_copied_only_in_pieces() {
        let budget = Arc::new(Budget::new(usize::MAX, MIN_STAY));
        let mut ticket = budget.begin().await.unwrap();
        let large = Bytes::from(vec![1; 2 * SMALL]);
        let read = ticket.read(Full::new(large.clone()), large.len()).await.unwrap();
        assert_eq!(read.as_ptr(), large.as_ptr());
        let over = ticket.read(Full::new(large.clone()), large.len() - 1).await;
        assert_eq!(over, Err(Unread::TooLarge(large.len() - 1)));
        let pieces = ticket.read(Pieces::new(3, 10, true), 30).await.unwrap();
        assert_eq!(pieces, vec![7; 30]);
        let over = ticket.read(Pieces::new(3, 10, true), 29).await;
        assert_eq!(over, Err(Unread::TooLarge(29)));
    }

    #[test]
    fn many_connections_have_smaller_windows() {
        const MIB: usize = 1024 * 1024;
        let budget = Budget::new(64 * MIB, MIN_STAY);
        let windows = [1, 16, 64, 1024, 10_000].map(|connections| budget.window(connections));
        assert_eq!(windows, [4 * 1024, 4 * 1024, 1024, 64, 64].map(|kib| kib * 1024));
    }
}
