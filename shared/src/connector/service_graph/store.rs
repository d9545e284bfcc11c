//! Requests that one span has told of, waiting for the other.
//!
//! They are spread over [`STRIPES`] tables by their trace, each behind a lock that is held for one
//! span. Each waits for the same time, so the oldest of a table is the first to expire.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64;

use super::edge::{Edge, Key};

/// Number of tables that requests are spread over; a power of two.
const STRIPES: usize = 64;

/// Requests that wait.
pub(super) struct Store {
    limits: Limits,
    stripes: Vec<Mutex<Stripe>>,
    items: AtomicUsize,
    bytes: AtomicUsize,
}

/// What a store keeps to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) items: usize,
    pub(super) bytes: usize,
    pub(super) ttl_ns: u64,
}

#[derive(Default)]
struct Stripe {
    table: HashTable<Waiting>,
    /// When each expires, the first in front; of some that have been completed, too.
    expiry: VecDeque<(u64, Key)>,
}

impl Stripe {
    /// Keeps the row from growing with requests that are whole, behind one that is not.
    fn forget_completed(&mut self) {
        if self.expiry.len() <= 2 * self.table.len() + 32 {
            return;
        }
        let table = &self.table;
        self.expiry.retain(|(expires_ns, key)| {
            let found = table.find(hash(key), |waiting| waiting.key == *key);
            found.is_some_and(|waiting| waiting.expires_ns == *expires_ns)
        });
    }
}

struct Waiting {
    key: Key,
    expires_ns: u64,
    edge: Edge,
}

/// What adding a span did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// Its request waits for the other half.
    Waiting(Half),
    /// Its request is known whole.
    Complete(Edge, Half),
    /// There was no room for its request.
    Full,
}

/// Whether a span was the first of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    First,
    Second,
}

impl Store {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            items: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Adds what a span tells of a request. What expired meanwhile and had to make room for it
    /// goes to `expired`.
    pub(super) fn add(
        &self,
        key: Key,
        edge: Edge,
        now_ns: u64,
        expired: &mut Vec<(Key, Edge)>,
    ) -> Added {
        let mut stripe = lock(&self.stripes[stripe_of(&key)]);
        if let Ok(mut found) = stripe.table.find_entry(hash(&key), |waiting| waiting.key == key) {
            let waiting = found.get_mut();
            let before = bytes(&waiting.edge);
            waiting.edge.join(edge);
            if waiting.edge.is_complete() {
                self.forget(before);
                return Added::Complete(found.remove().0.edge, Half::Second);
            }
            let after = bytes(&waiting.edge);
            self.bytes.fetch_add(after, Relaxed);
            self.bytes.fetch_sub(before, Relaxed);
            return Added::Waiting(Half::Second);
        }
        if edge.is_complete() {
            return Added::Complete(edge, Half::First);
        }
        if !self.take_room(&edge) {
            self.expire_of(&mut stripe, now_ns, expired);
            if !self.take_room(&edge) {
                return Added::Full;
            }
        }
        let expires_ns = now_ns.saturating_add(self.limits.ttl_ns);
        stripe.expiry.push_back((expires_ns, key));
        let waiting = Waiting { key, expires_ns, edge };
        stripe.table.insert_unique(hash(&key), waiting, |waiting| hash(&waiting.key));
        stripe.forget_completed();
        Added::Waiting(Half::First)
    }

    /// Takes out what has waited long enough.
    pub(super) fn expire(&self, now_ns: u64) -> Vec<(Key, Edge)> {
        let mut expired = Vec::new();
        for stripe in &self.stripes {
            self.expire_of(&mut lock(stripe), now_ns, &mut expired);
        }
        expired
    }

    fn expire_of(&self, stripe: &mut Stripe, now_ns: u64, expired: &mut Vec<(Key, Edge)>) {
        while let Some((expires_ns, key)) = stripe.expiry.front().copied() {
            // A key whose request was completed may wait anew, for longer.
            let found = stripe.table.entry(
                hash(&key),
                |waiting| waiting.key == key,
                |waiting| hash(&waiting.key),
            );
            match found {
                Entry::Occupied(waiting) if waiting.get().expires_ns == expires_ns => {
                    if expires_ns > now_ns {
                        return;
                    }
                    let edge = waiting.remove().0.edge;
                    self.forget(bytes(&edge));
                    expired.push((key, edge));
                }
                Entry::Occupied(_) | Entry::Vacant(_) => {}
            }
            stripe.expiry.pop_front();
        }
    }

    /// How many requests wait.
    pub(super) fn items(&self) -> usize {
        self.items.load(Relaxed)
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    fn take_room(&self, edge: &Edge) -> bool {
        let take = |count: &AtomicUsize, more: usize, limit: usize| {
            let added = |count: usize| count.checked_add(more).filter(|sum| *sum <= limit);
            count.fetch_update(Relaxed, Relaxed, added).is_ok()
        };
        if !take(&self.items, 1, self.limits.items) {
            return false;
        }
        if !take(&self.bytes, bytes(edge), self.limits.bytes) {
            self.items.fetch_sub(1, Relaxed);
            return false;
        }
        true
    }

    fn forget(&self, bytes: usize) {
        self.items.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

/// What a request takes while it waits, with its places in the table and in the row.
fn bytes(edge: &Edge) -> usize {
    size_of::<Waiting>() + size_of::<(u64, Key)>() + edge.heap_bytes()
}

fn hash(key: &Key) -> u64 {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&key.trace_id);
    bytes[16..].copy_from_slice(&key.span_id);
    xxh3_64(&bytes)
}

/// Trace ids need not be random.
#[allow(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
fn stripe_of(key: &Key) -> usize {
    xxh3_64(&key.trace_id) as usize % STRIPES
}

/// What a panic left behind is still the best there is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::service_graph::edge::Side;

    fn side(service: &str) -> Side {
        let dimensions = Box::default();
        Side { service: service.as_bytes().into(), latency_ns: 1, dimensions }
    }

    fn client() -> Edge {
        Edge { client: Some(side("a")), ..Edge::default() }
    }

    fn server() -> Edge {
        Edge { server: Some(side("b")), ..Edge::default() }
    }

    fn key(number: u8) -> Key {
        Key { trace_id: [number; 16], span_id: [number; 8] }
    }

    fn store(items: usize) -> Store {
        Store::new(Limits { items, bytes: usize::MAX, ttl_ns: 10 })
    }

    #[test]
    fn two_halves_make_a_whole_in_either_order() {
        for (first, second) in [(client(), server()), (server(), client())] {
            let store = store(10);
            let mut expired = Vec::new();
            let added = store.add(key(1), first, 0, &mut expired);
            assert_eq!((added, store.items()), (Added::Waiting(Half::First), 1));
            let whole = Edge { server: Some(side("b")), ..client() };
            let added = store.add(key(1), second, 5, &mut expired);
            assert_eq!(added, Added::Complete(whole, Half::Second));
            assert_eq!((store.items(), store.bytes(), expired.len()), (0, 0, 0));
        }
    }

    #[test]
    fn a_half_that_is_told_twice_waits_on() {
        let store = store(10);
        store.add(key(1), client(), 0, &mut Vec::new());
        let longer = Edge { client: Some(side("longer")), ..Edge::default() };
        let added = store.add(key(1), longer.clone(), 5, &mut Vec::new());
        assert_eq!((added, store.items()), (Added::Waiting(Half::Second), 1));
        assert_eq!(store.expire(10), [(key(1), longer)]);
        assert_eq!((store.items(), store.bytes()), (0, 0));
    }

    #[test]
    fn a_half_expires_unless_it_was_completed() {
        let store = store(10);
        let mut expired = Vec::new();
        store.add(key(1), client(), 0, &mut expired);
        store.add(key(2), client(), 2, &mut expired);
        store.add(key(2), server(), 3, &mut expired);
        store.add(key(2), client(), 4, &mut expired); // the same ids again
        assert_eq!(store.expire(9), []);
        assert_eq!(store.expire(13), [(key(1), client())]);
        assert_eq!(store.expire(14), [(key(2), client())]);
        assert_eq!((store.items(), store.bytes()), (0, 0));
    }

    #[test]
    fn requests_that_are_whole_take_no_memory() {
        let store = store(10);
        let mut expired = Vec::new();
        store.add(key(1), client(), 0, &mut expired);
        for span in 2..=255 {
            let sibling = Key { span_id: [span; 8], ..key(1) };
            store.add(sibling, client(), 1, &mut expired);
            store.add(sibling, server(), 1, &mut expired);
        }
        let rows = store.stripes.iter().map(|stripe| lock(stripe).expiry.len());
        assert!(rows.sum::<usize>() < 50);
        assert_eq!(store.expire(10), [(key(1), client())]);
    }

    #[test]
    fn a_full_store_takes_no_new_request_until_one_expires() {
        let store = store(1);
        let mut expired = Vec::new();
        store.add(key(1), client(), 0, &mut expired);
        assert_eq!(store.add(key(2), client(), 5, &mut expired), Added::Full);
        assert!(matches!(store.add(key(1), server(), 5, &mut expired), Added::Complete(..)));
        store.add(key(1), client(), 5, &mut expired);
        assert!(expired.is_empty());
        // Another of the same trace, so of the same table.
        let sibling = Key { span_id: [9; 8], ..key(1) };
        assert_eq!(store.add(sibling, client(), 14, &mut expired), Added::Full);
        assert_eq!(store.add(sibling, client(), 15, &mut expired), Added::Waiting(Half::First));
        assert_eq!(expired, [(key(1), client())]);
        let limits = Limits { items: 10, bytes: 10, ttl_ns: 10 };
        assert_eq!(Store::new(limits).add(key(1), client(), 0, &mut expired), Added::Full);
    }
}
