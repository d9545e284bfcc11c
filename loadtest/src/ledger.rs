//! What a sink writes down of what it gets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use shared::{Batch, Consumer, Rejected};
use tokio::sync::watch;

use crate::item::for_each_item;

/// How much is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Only numbers of spans, requests and bytes.
    Counts,
    /// Also every trace with its items.
    Traces,
    /// Also every request, as it came.
    Requests,
}

/// How a sink treats requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Takes them.
    Accept,
    /// Refuses them, to be sent again.
    Refuse,
    /// Rejects them for good.
    Reject,
    /// Does not answer until the mood changes.
    Stall,
}

/// A trace as it arrived: its spans, or the log records or data points that name them.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// The ids of its spans, each once.
    pub spans: Vec<[u8; 8]>,
    /// Items that had arrived before.
    pub duplicates: usize,
    /// Wrapping sum of the fingerprints of the items that were no duplicates.
    pub fingerprint: u64,
}

/// Counts requests, and takes them or not.
pub struct Ledger {
    detail: Detail,
    mood: watch::Sender<Mood>,
    spans: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
    rejected: AtomicU64,
    traces: Mutex<HashMap<[u8; 16], Received>>,
    batches: Mutex<Vec<Batch>>,
}

impl Ledger {
    /// An empty one that accepts.
    pub fn new(detail: Detail) -> Arc<Self> {
        Arc::new(Self {
            detail,
            mood: watch::channel(Mood::Accept).0,
            spans: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            traces: Mutex::default(),
            batches: Mutex::default(),
        })
    }

    /// Treats requests so from now on.
    pub fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Items taken so far, duplicates included.
    pub fn spans(&self) -> u64 {
        self.spans.load(Ordering::Relaxed)
    }

    /// Requests taken so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes taken so far, uncompressed.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Requests not taken so far.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Every trace so far.
    pub fn traces(&self) -> HashMap<[u8; 16], Received> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Number of traces so far.
    pub fn trace_count(&self) -> usize {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Every request so far, as it came; none unless it was to be written down.
    pub fn batches(&self) -> Vec<Batch> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write_down(&self, batch: &Batch) {
        if self.detail != Detail::Counts {
            let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
            for_each_item(batch, |item| {
                let (trace_id, span_id) = item.ids();
                let Ok(id) = trace_id.try_into() else { return };
                let trace = traces.entry(id).or_default();
                let span_id = span_id.try_into().unwrap_or_default();
                if trace.spans.contains(&span_id) {
                    trace.duplicates += 1;
                } else {
                    trace.spans.push(span_id);
                    trace.fingerprint = trace.fingerprint.wrapping_add(item.fingerprint());
                }
            });
        }
        if self.detail == Detail::Requests {
            let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
            batches.push(batch.clone());
        }
        self.spans.fetch_add(batch.items() as u64, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(batch.bytes().len() as u64, Ordering::Relaxed);
    }
}

#[async_trait]
impl Consumer for Ledger {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let mood = *self.mood.borrow();
        let mood = match mood {
            Mood::Stall => {
                let mut moods = self.mood.subscribe();
                let changed = moods.wait_for(|mood| *mood != Mood::Stall).await;
                changed.map_or(Mood::Refuse, |mood| *mood)
            }
            mood => mood,
        };
        match mood {
            Mood::Accept => {
                self.write_down(&batch);
                Ok(())
            }
            Mood::Refuse | Mood::Stall => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                Err(Rejected::refused(batch, "the sink was told to refuse"))
            }
            Mood::Reject => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                Err(Rejected::permanent(batch, "the sink was told to reject"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Generator;
    use crate::plan::{FieldOrder, Plan};
    use shared::Signal;

    async fn check_traces_are_put_together_again(signal: Signal, field_order: FieldOrder) {
        let plan = Plan { signal, field_order, ..Plan::new(2, 50) };
        let mut generator = Generator::new(plan, Arc::default());
        let ledger = Ledger::new(Detail::Requests);
        let mut sent = Vec::new();
        while let Some(request) = generator.next_request() {
            sent.push(request.clone());
            ledger.consume(request).await.unwrap();
        }
        let (truth, traces) = (generator.into_truth(), ledger.traces());
        assert_eq!((ledger.spans(), traces.len()), (truth.spans, 50));
        for trace in &truth.traces {
            let received = &traces[&trace.id];
            assert_eq!(received.spans.len(), trace.spans as usize);
            assert_eq!((received.fingerprint, received.duplicates), (trace.fingerprint, 0));
        }
        assert_eq!(ledger.batches(), sent);
        let again = sent.remove(0);
        let items = again.items();
        ledger.consume(again).await.unwrap();
        let duplicates: usize = ledger.traces().values().map(|trace| trace.duplicates).sum();
        assert_eq!(duplicates, items);
    }

    #[tokio::test]
    async fn traces_are_put_together_again_from_every_signal() {
        for signal in Signal::ALL {
            check_traces_are_put_together_again(signal, FieldOrder::Sdk).await;
            check_traces_are_put_together_again(signal, FieldOrder::Collector).await;
        }
    }

    #[tokio::test]
    async fn a_stalled_sink_answers_when_its_mood_changes() {
        let request = Generator::new(Plan::new(2, 5), Arc::default()).next_request().unwrap();
        let ledger = Ledger::new(Detail::Counts);
        ledger.set(Mood::Stall);
        let waiting = tokio::spawn({
            let (ledger, request) = (Arc::clone(&ledger), request.clone());
            async move { ledger.consume(request).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        ledger.set(Mood::Accept);
        assert!(waiting.await.unwrap());
        ledger.set(Mood::Refuse);
        assert!(ledger.consume(request).await.is_err());
        assert_eq!((ledger.requests(), ledger.rejected()), (1, 1));
    }
}
