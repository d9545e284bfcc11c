//! What the servers hand requests to: checks them, counts them, and hands them on.
//!
//! What of a batch was taken counts as accepted and the rest as refused, so that accepted items
//! are those that are somewhere in the pipeline or beyond.

use std::collections::BTreeMap;

use bytes::Bytes;
use metrics::Counter;

use super::metrics::{PointMetrics, RecordMetrics, RefusalMetrics, SpanMetrics};
use crate::batch::Batch;
use crate::consumer::{Next, Rejected};
use crate::service::{ComponentId, Outputs};
use crate::telemetry::memory::Held;
use crate::transport::status::Unread;
use crate::wire::{Malformed, Signal};

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not an export request, or not framed as its protocol wants it.
    Malformed,
    /// Above the limit, as sent or decompressed.
    TooLarge,
    /// Corrupt, or by a method that is not spoken.
    BadCompression,
    /// Not an export: unknown path, method or content type, or a signal without a pipeline.
    Unsupported,
    /// Did not arrive in time.
    Timeout,
    /// The client went away before the answer.
    Canceled,
    /// The pipeline did not take it.
    Downstream,
}

impl Refusal {
    const ALL: [(Refusal, &'static str); 7] = [
        (Refusal::Malformed, "malformed"),
        (Refusal::TooLarge, "too_large"),
        (Refusal::BadCompression, "bad_compression"),
        (Refusal::Unsupported, "unsupported"),
        (Refusal::Timeout, "timeout"),
        (Refusal::Canceled, "canceled"),
        (Refusal::Downstream, "downstream"),
    ];
}

impl From<&Unread> for Refusal {
    fn from(unread: &Unread) -> Self {
        match unread {
            Unread::TooLarge(_) => Refusal::TooLarge,
            Unread::BadCompression(_) | Unread::UnknownCompression(_) => Refusal::BadCompression,
            Unread::Broken(_) => Refusal::Malformed,
            Unread::Timeout => Refusal::Timeout,
        }
    }
}

/// Why bytes were not taken.
#[derive(Debug)]
pub enum Turned {
    /// They are no export request.
    Malformed(Malformed),
    /// The pipeline did not take them, or not all.
    Rejected(Rejected),
}

/// The way from one protocol of a receiver into its pipelines.
pub struct Intake {
    outputs: BTreeMap<Signal, Output>,
    refusals: Vec<(Refusal, Counter)>,
}

struct Output {
    next: Next,
    accepted: Counter,
    refused: Counter,
}

impl Intake {
    /// For the receiver `id` and one of its protocols: `grpc` or `http`.
    pub fn new(id: &ComponentId, transport: &'static str, outputs: &Outputs) -> Self {
        let receiver = id.to_string();
        let labels = [("receiver", receiver.as_str()), ("transport", transport)];
        let output = |signal: Signal, next: &Next| {
            // The failed counters stay at zero: whatever fails is refused, as in the Collector.
            let (accepted, refused) = match signal {
                Signal::Traces => {
                    let metrics = SpanMetrics::new(&labels);
                    (metrics.accepted, metrics.refused)
                }
                Signal::Metrics => {
                    let metrics = PointMetrics::new(&labels);
                    (metrics.accepted, metrics.refused)
                }
                Signal::Logs => {
                    let metrics = RecordMetrics::new(&labels);
                    (metrics.accepted, metrics.refused)
                }
            };
            (signal, Output { next: Next::clone(next), accepted, refused })
        };
        let refusal = |(refusal, reason): (Refusal, &str)| {
            let labels = [labels[0], labels[1], ("reason", reason)];
            (refusal, RefusalMetrics::new(&labels).refused)
        };
        Self {
            outputs: outputs.iter().map(|(signal, next)| output(*signal, next)).collect(),
            refusals: Refusal::ALL.into_iter().map(refusal).collect(),
        }
    }

    /// Whether the signal has a pipeline.
    pub fn takes(&self, signal: Signal) -> bool {
        self.outputs.contains_key(&signal)
    }

    /// Counts a request that is turned away.
    pub fn refuse(&self, refusal: Refusal) {
        for (other, count) in &self.refusals {
            if *other == refusal {
                count.increment(1);
            }
        }
    }

    /// Takes an export request of a signal that has a pipeline.
    ///
    /// # Errors
    /// Why it was not taken; counted.
    ///
    /// # Panics
    /// When the signal has no pipeline.
    pub async fn take(&self, signal: Signal, request: Bytes) -> Result<(), Turned> {
        let output = self.outputs.get(&signal).expect("the server asked `takes` first");
        let batch = Batch::parse(signal, request).map_err(|malformed| {
            self.refuse(Refusal::Malformed);
            Turned::Malformed(malformed)
        })?;
        if batch.items() == 0 {
            return Ok(());
        }
        let held = Held::new(batch.bytes().len());
        let mut pending = Pending { intake: self, output, items: batch.items() };
        let outcome = output.next.consume(batch).await;
        drop(held);
        let items = std::mem::take(&mut pending.items);
        match outcome {
            Ok(()) => {
                output.accepted.increment(items as u64);
                Ok(())
            }
            Err(rejected) => {
                self.refuse(Refusal::Downstream);
                let refused = rejected.batch.items().min(items);
                output.refused.increment(refused as u64);
                output.accepted.increment((items - refused) as u64);
                Err(Turned::Rejected(rejected))
            }
        }
    }
}

/// Items that the pipeline has not answered for; refused if the client goes away before.
struct Pending<'i> {
    intake: &'i Intake,
    output: &'i Output,
    items: usize,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.items > 0 {
            self.intake.refuse(Refusal::Canceled);
            self.output.refused.increment(self.items as u64);
        }
    }
}
