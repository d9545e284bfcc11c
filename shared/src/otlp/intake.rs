//! What the servers hand requests to: checks them, counts them, and hands them on.
//!
//! What of a batch was taken counts as accepted and the rest as refused, so that accepted items
//! are those that are somewhere in the pipeline or beyond.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use metrics::Counter;

use super::metrics::{PointMetrics, RecordMetrics, RefusalMetrics, SpanMetrics};
use crate::auth::{ServerAuth, Unauthenticated};
use crate::batch::Batch;
use crate::config::{AuthConfig, Section};
use crate::consumer::{Next, Rejected};
use crate::metadata::{Attributes, Metadata, Wanted};
use crate::service::{BuildError, Commons, ComponentId, Outputs};
use crate::telemetry::memory::{Held, REQUEST_UPKEEP};
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
    /// Its sender did not say, or not truly, who it is.
    Unauthenticated,
    /// Too much was being received at the time.
    OverBudget,
    /// The client went away before the answer.
    Canceled,
    /// The pipeline did not take it.
    Downstream,
}

impl Refusal {
    const ALL: [(Refusal, &'static str); 9] = [
        (Refusal::Malformed, "malformed"),
        (Refusal::TooLarge, "too_large"),
        (Refusal::BadCompression, "bad_compression"),
        (Refusal::Unsupported, "unsupported"),
        (Refusal::Timeout, "timeout"),
        (Refusal::Unauthenticated, "unauthenticated"),
        (Refusal::OverBudget, "over_budget"),
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
            Unread::Gone => Refusal::Canceled,
            Unread::Timeout => Refusal::Timeout,
            Unread::Busy => Refusal::OverBudget,
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

/// Who is let in, and what is kept of what they say.
#[derive(Clone, Default)]
pub struct Door {
    /// Checks senders, if anybody does.
    pub auth: Option<Arc<dyn ServerAuth>>,
    /// What of a request is kept with its batch.
    pub wanted: Wanted,
}

impl Door {
    /// The door of a server with these settings.
    ///
    /// # Errors
    /// When the authenticator is not there.
    pub fn new(
        auth: &Section<AuthConfig>,
        include_metadata: bool,
        commons: &Commons,
    ) -> Result<Self, BuildError> {
        let auth = match auth.authenticator() {
            Some(id) => Some(commons.server_auth(id)?),
            None => None,
        };
        let mut wanted = commons.wanted();
        if !include_metadata {
            wanted.no_headers();
        }
        Ok(Self { auth, wanted })
    }
}

/// The way from one protocol of a receiver into its pipelines.
pub struct Intake {
    outputs: BTreeMap<Signal, Output>,
    refusals: Vec<(Refusal, Counter)>,
    door: Door,
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
            door: Door::default(),
        }
    }

    /// The same behind a door; without one everybody is let in, and nothing is kept.
    #[must_use]
    pub fn behind(self, door: Door) -> Self {
        Self { door, ..self }
    }

    /// Lets a request from `peer` in by its head, before its body is read, and says what is kept of
    /// it.
    ///
    /// # Errors
    /// Why not; counted.
    pub async fn admit<B: Sync>(
        &self,
        request: &Request<B>,
        peer: Option<IpAddr>,
    ) -> Result<Option<Arc<Metadata>>, Unauthenticated> {
        let sender = match &self.door.auth {
            None => Attributes::new(),
            Some(auth) => match auth.check(request.headers()).await {
                Ok(sender) => sender,
                Err(unauthenticated) => {
                    self.refuse(Refusal::Unauthenticated);
                    return Err(unauthenticated);
                }
            },
        };
        Ok(self.door.wanted.of(request.uri(), request.headers(), &sender, peer))
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

    /// Takes an export request of a signal that has a pipeline, with what is kept of its head.
    ///
    /// # Errors
    /// Why it was not taken; counted.
    ///
    /// # Panics
    /// When the signal has no pipeline.
    pub async fn take(
        &self,
        signal: Signal,
        request: Bytes,
        metadata: Option<Arc<Metadata>>,
    ) -> Result<(), Turned> {
        let output = self.outputs.get(&signal).expect("the server asked `takes` first");
        let batch = Batch::parse(signal, request).map_err(|malformed| {
            self.refuse(Refusal::Malformed);
            Turned::Malformed(malformed)
        })?;
        if batch.items() == 0 {
            return Ok(());
        }
        let held = Held::new(batch.bytes().len() + REQUEST_UPKEEP);
        let mut pending = Pending { intake: self, output, items: batch.items() };
        let outcome = output.next.consume(batch.with_metadata(metadata)).await;
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
