//! Joins batches until they are large or old enough. Told the time; no I/O, no clock.
//!
//! Whoever gives a batch gives a token with it (a ticket of the queue, or nothing) and finds it
//! again at every joined batch that holds a part of it.

use std::time::{Duration, Instant};

use super::Sizer;
use super::split::split;
use crate::batch::Batch;

/// When to let go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The longest a batch waits for others.
    pub(crate) flush_timeout: Duration,
    /// Let go when this size is reached.
    pub(crate) min_size: usize,
    /// No joined batch is larger; 0 is no limit.
    pub(crate) max_size: usize,
    /// What the sizes count.
    pub(crate) sizer: Sizer,
}

/// Why a joined batch was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It was large enough.
    Size,
    /// It was old enough, or there is to be no more.
    Flush,
}

/// Batches joined into one, with the tokens of all that are in it.
#[derive(Debug)]
pub(crate) struct Joined<T> {
    pub(crate) batch: Batch,
    /// The tokens, each with the number of its items that are in here.
    pub(crate) tokens: Vec<(T, usize)>,
    pub(crate) cause: Cause,
}

/// What waits to be joined.
#[derive(Debug)]
pub(crate) struct Batcher<T> {
    limits: Limits,
    batches: Vec<Batch>,
    tokens: Vec<(T, usize)>,
    size: usize,
    /// When the oldest must leave.
    due: Option<Instant>,
}

impl<T: Clone> Batcher<T> {
    /// One that holds nothing.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, batches: Vec::new(), tokens: Vec::new(), size: 0, due: None }
    }

    /// When [`Batcher::flush`] is to be called, if anything waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes a batch; returns what has become large enough.
    pub(crate) fn push(&mut self, batch: Batch, token: T, now: Instant) -> Vec<Joined<T>> {
        let Limits { min_size, max_size, sizer, .. } = self.limits;
        let mut ready = Vec::new();
        if max_size == 0 || self.size + sizer.measure(&batch) <= max_size {
            self.add(batch, token, now);
        } else {
            let room = max_size.saturating_sub(self.size);
            let (head, tail) = split(&batch, room, max_size, sizer);
            if let Some(head) = head {
                self.add(head, token.clone(), now);
            }
            for piece in tail {
                ready.extend(self.take(Cause::Size));
                self.add(piece, token.clone(), now);
            }
        }
        if self.size >= min_size {
            ready.extend(self.take(Cause::Size));
        }
        ready
    }

    /// Lets go of what waits.
    pub(crate) fn flush(&mut self) -> Option<Joined<T>> {
        self.take(Cause::Flush)
    }

    fn add(&mut self, batch: Batch, token: T, now: Instant) {
        self.size += self.limits.sizer.measure(&batch);
        self.due.get_or_insert(now + self.limits.flush_timeout);
        self.tokens.push((token, batch.items()));
        self.batches.push(batch);
    }

    fn take(&mut self, cause: Cause) -> Option<Joined<T>> {
        self.size = 0;
        self.due = None;
        let tokens = std::mem::take(&mut self.tokens);
        let batch = Batch::concat_all(std::mem::take(&mut self.batches))?;
        Some(Joined { batch, tokens, cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::tests::spans;

    const WAIT: Duration = Duration::from_millis(200);

    fn batcher(min_size: usize, max_size: usize) -> Batcher<char> {
        Batcher::new(Limits { flush_timeout: WAIT, min_size, max_size, sizer: Sizer::Items })
    }

    /// `items:tokens` of each.
    fn shape(joined: impl IntoIterator<Item = Joined<char>>) -> Vec<(usize, String)> {
        let shape = |joined: Joined<char>| {
            let items: usize = joined.tokens.iter().map(|(_, items)| items).sum();
            assert_eq!(items, joined.batch.items());
            (items, joined.tokens.iter().map(|(token, _)| token).collect())
        };
        joined.into_iter().map(shape).collect()
    }

    #[test]
    fn batches_wait_until_they_are_large_enough() {
        let (mut batcher, now) = (batcher(5, 0), crate::clock::now());
        assert_eq!(shape(batcher.push(spans(2), 'a', now)), []);
        assert_eq!(shape(batcher.push(spans(4), 'b', now)), [(6, "ab".into())]);
        assert_eq!(batcher.due(), None);
    }

    #[test]
    fn the_oldest_batch_sets_the_time() {
        let (mut batcher, now) = (batcher(5, 0), crate::clock::now());
        batcher.push(spans(1), 'a', now);
        batcher.push(spans(1), 'b', now + WAIT / 2);
        assert_eq!(batcher.due(), Some(now + WAIT));
        assert_eq!(shape(batcher.flush()), [(2, "ab".into())]);
        assert_eq!((batcher.due(), shape(batcher.flush())), (None, vec![]));
    }

    #[test]
    fn no_joined_batch_is_larger_than_the_limit() {
        let (mut batcher, now) = (batcher(4, 4), crate::clock::now());
        batcher.push(spans(3), 'a', now);
        let ready = batcher.push(spans(10), 'b', now);
        assert_eq!(shape(ready), [(4, "ab".into()), (4, "b".into()), (4, "b".into())]);
        assert_eq!(shape(batcher.flush()), [(1, "b".into())]);
    }

    #[test]
    fn a_minimum_of_zero_holds_nothing_back() {
        let mut batcher = batcher(0, 0);
        assert_eq!(shape(batcher.push(spans(1), 'a', crate::clock::now())), [(1, "a".into())]);
    }
}
