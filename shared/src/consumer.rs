//! The one seam between components: a consumer takes a batch, or hands back what it did not take.
//!
//! The result is the acknowledgement, end to end: a receiver answers its client with what the
//! last consumer of its pipeline answered.

use std::any::Any;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::batch::Batch;

/// Takes batches: a processor, a connector or an exporter.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// Takes responsibility for `batch`, or hands back what was not taken.
    ///
    /// # Errors
    /// [`Rejected`] with the part of the batch that was not taken.
    async fn consume(&self, batch: Batch) -> Result<(), Rejected>;

    /// Flushes what is held, until `deadline`; what is still held then is counted as lost.
    ///
    /// Called once, upstream first; no batch comes after it.
    async fn shutdown(&self, _deadline: Instant) {}

    /// Takes over the keys of a new section that can change while it runs, those in its `LIVE`.
    /// `section` is of the type that it was built from, was found valid, and differs in no other.
    fn reload(&self, _section: &dyn Any) {}

    /// The addresses it listens on, with the ports that were really bound: none, but for an
    /// exporter that others come to.
    fn addresses(&self) -> Vec<SocketAddr> {
        Vec::new()
    }
}

/// The next consumer of a pipeline.
pub type Next = Arc<dyn Consumer>;

/// How final a rejection is, from worst to mildest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectedKind {
    /// Can never succeed; the batch is to be dropped.
    Permanent,
    /// Was tried and failed for now.
    Retryable,
    /// Was not tried: no room, no backend, stopping.
    Refused,
}

/// How far a failed attempt got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reached {
    /// The destination has nothing of it: it was not tried, or there was no connection.
    Nobody,
    /// The destination may have it: the connection or the time ended before an answer came. To
    /// send it again may make duplicates.
    Unknown,
    /// The destination answered.
    Answered,
}

/// A batch that was not taken, and why.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// What was not taken: less than was sent, if a part got through.
    pub batch: Batch,
    /// Whether trying again can help.
    pub kind: RejectedKind,
    /// For people; names no host and no file, since it goes to the sender.
    pub reason: Cow<'static, str>,
    /// How long to wait before the next try, if it is known.
    pub retry_after: Option<Duration>,
    /// The peer's gRPC code, to pass on.
    pub code: Option<u8>,
    /// Items that are in no batch any more: parts that were permanently rejected while others may
    /// be tried again. Whoever counts outcomes counts them as failed.
    pub dropped_items: usize,
    /// Whether the destination has it, or said that it has not.
    pub reached: Reached,
}

impl Rejected {
    /// A batch that was not tried.
    pub fn refused(batch: Batch, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(batch, RejectedKind::Refused, reason)
    }

    /// A batch that was tried and failed for now.
    pub fn retryable(batch: Batch, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(batch, RejectedKind::Retryable, reason)
    }

    /// A batch that can never succeed.
    pub fn permanent(batch: Batch, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(batch, RejectedKind::Permanent, reason)
    }

    fn new(batch: Batch, kind: RejectedKind, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            batch,
            kind,
            reason: reason.into(),
            retry_after: None,
            code: None,
            dropped_items: 0,
            reached: Reached::Nobody,
        }
    }

    /// The same, after an attempt that got as far as this.
    #[must_use]
    pub fn reached(mut self, reached: Reached) -> Self {
        self.reached = reached;
        self
    }

    /// The same, to be tried again after `delay`.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The same, with the peer's gRPC code.
    #[must_use]
    pub fn code(mut self, code: u8) -> Self {
        self.code = Some(code);
        self
    }

    /// Joins the rejections of a batch's parts.
    ///
    /// What can be retried is handed back; permanent parts are dropped here and their items added
    /// to [`Rejected::dropped_items`], and the whole is permanent only if every part was. The
    /// longest delay counts.
    pub fn merge(parts: Vec<Rejected>) -> Option<Rejected> {
        let worst = parts.iter().map(|part| part.kind).max()?;
        let mut dropped_items = parts.iter().map(|part| part.dropped_items).sum();
        let (mut kept, dropped): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| {
            worst == RejectedKind::Permanent || part.kind != RejectedKind::Permanent
        });
        dropped_items += dropped.iter().map(|part| part.batch.items()).sum::<usize>();
        let mut merged = kept.pop()?;
        merged.dropped_items = dropped_items;
        let mut batches = vec![merged.batch];
        for part in kept {
            merged.kind = merged.kind.min(part.kind);
            merged.retry_after = merged.retry_after.max(part.retry_after);
            merged.reached = merged.reached.max(part.reached);
            batches.push(part.batch);
        }
        merged.batch = Batch::concat_all(batches).expect("at least one part was kept");
        Some(merged)
    }
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Hands every batch to several consumers, one after the other.
///
/// An outright refusal by the first branch ends it: nothing was taken, so nothing is taken twice
/// when the sender comes again. Otherwise every branch is called even after one rejected, and the
/// whole batch is handed back with the mildest reason, as in the Collector.
/// Source: collector internal/fanoutconsumer.
pub struct FanOut {
    branches: Vec<Next>,
}

impl FanOut {
    /// One consumer for several; a single branch is returned as it is.
    pub fn of(mut branches: Vec<Next>) -> Next {
        match branches.len() {
            1 => branches.remove(0),
            _ => Arc::new(Self { branches }),
        }
    }
}

#[async_trait]
impl Consumer for FanOut {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let mut first: Option<Rejected> = None;
        for (index, branch) in self.branches.iter().enumerate() {
            if let Err(rejected) = branch.consume(batch.clone()).await {
                let untouched = rejected.kind == RejectedKind::Refused
                    && rejected.batch.items() == batch.items();
                if index == 0 && untouched {
                    return Err(rejected);
                }
                first = Some(match first {
                    Some(first) if first.kind >= rejected.kind => first,
                    _ => rejected,
                });
            }
        }
        match first {
            None => Ok(()),
            Some(rejected) => Err(Rejected { batch, ..rejected }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Signal, Writer};

    fn batch(spans: usize) -> Batch {
        let mut writer = Writer::new();
        writer.message(1, |entry| {
            entry.message(2, |scope| {
                for _ in 0..spans {
                    scope.message(2, |span| span.bytes(5, b"name"));
                }
            });
        });
        Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
    }

    #[test]
    fn a_permanent_part_does_not_poison_the_others() {
        let merged = Rejected::merge(vec![
            Rejected::permanent(batch(1), "bad"),
            Rejected::retryable(batch(2), "later").retry_after(Duration::from_secs(3)),
            Rejected::refused(batch(4), "full").retry_after(Duration::from_secs(1)),
        ])
        .unwrap();
        assert_eq!((merged.batch.items(), merged.dropped_items), (6, 1));
        assert_eq!(merged.kind, RejectedKind::Retryable);
        assert_eq!(merged.retry_after, Some(Duration::from_secs(3)));
    }

    struct Branch(Option<RejectedKind>, std::sync::atomic::AtomicUsize);

    #[async_trait]
    impl Consumer for Branch {
        async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            match self.0 {
                None => Ok(()),
                Some(kind) => Err(Rejected { kind, ..Rejected::refused(batch, "no") }),
            }
        }
    }

    /// Kind that a fan-out over these branches answers, and how often each was called.
    async fn fan_out(kinds: &[Option<RejectedKind>]) -> (Option<RejectedKind>, Vec<usize>) {
        let branches: Vec<_> = kinds.iter().map(|kind| Arc::new(Branch(*kind, 0.into()))).collect();
        let next = FanOut::of(branches.iter().map(|branch| Arc::clone(branch) as Next).collect());
        let outcome = next.consume(batch(1)).await;
        let calls =
            branches.iter().map(|branch| branch.1.load(std::sync::atomic::Ordering::Relaxed));
        (outcome.err().map(|rejected| rejected.kind), calls.collect())
    }

    #[tokio::test]
    async fn a_refusal_by_the_first_branch_spares_the_others() {
        use RejectedKind::{Permanent, Refused, Retryable};
        assert_eq!(fan_out(&[Some(Refused), None]).await, (Some(Refused), vec![1, 0]));
        assert_eq!(fan_out(&[None, Some(Refused)]).await, (Some(Refused), vec![1, 1]));
        assert_eq!(fan_out(&[Some(Permanent), None]).await, (Some(Permanent), vec![1, 1]));
        let both = fan_out(&[Some(Permanent), Some(Retryable)]).await;
        assert_eq!(both, (Some(Retryable), vec![1, 1]));
    }

    #[test]
    fn all_permanent_is_permanent() {
        let parts = vec![Rejected::permanent(batch(1), "a"), Rejected::permanent(batch(1), "b")];
        let merged = Rejected::merge(parts).unwrap();
        assert_eq!((merged.kind, merged.batch.items()), (RejectedKind::Permanent, 2));
        assert!(Rejected::merge(Vec::new()).is_none());
    }
}
