//! Makes realistic traces as OTLP bytes, or logs and metrics that go with them, and keeps the
//! truth about them.
//!
//! A trace's spans are spread over the next few requests, as they are when every service exports
//! on its own; so no request, no edge and no connection sees a whole trace.

mod attributes;
pub mod draft;
pub mod encode;
mod look;
mod telemetry;
mod trace;
pub mod vocabulary;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use shared::Batch;

use crate::oracle::Policies;
use crate::plan::Plan;
use crate::truth::Truth;
use draft::{Link, Span};
use look::Dresser;

/// An endless source of requests, until its plan is fulfilled.
pub struct Generator {
    plan: Plan,
    policies: Arc<Policies>,
    rng: StdRng,
    /// Spans of the next requests, the very next first.
    upcoming: VecDeque<Vec<Span>>,
    previous: Option<Link>,
    dresser: Dresser,
    truth: Truth,
}

impl Generator {
    /// A generator for `plan` that notes what `policies` would see.
    ///
    /// # Panics
    /// When the plan has no services or more than there are, or sizes of 0.
    pub fn new(plan: Plan, policies: Arc<Policies>) -> Self {
        assert!((1..=Plan::MAX_SERVICES).contains(&plan.services), "1 to 20 services");
        assert!(plan.spans_per_request > 0 && plan.spread > 0, "sizes of at least 1");
        let upcoming = (0..plan.spread).map(|_| Vec::new()).collect();
        let rng = StdRng::seed_from_u64(plan.seed);
        let dresser = Dresser::new(&plan);
        Self { plan, policies, rng, upcoming, previous: None, dresser, truth: Truth::default() }
    }

    /// Begins no further trace; what was begun is still handed out.
    pub fn finish(&mut self) {
        self.plan.traces = self.truth.traces.len() as u64;
    }

    /// The next request; `None` when everything was handed out.
    pub fn next_request(&mut self) -> Option<Batch> {
        let size = self.plan.spans_per_request;
        while self.upcoming[0].len() < size && (self.truth.traces.len() as u64) < self.plan.traces {
            self.begin_trace();
        }
        let mut spans = self.upcoming.pop_front().unwrap_or_default();
        self.upcoming.push_back(Vec::new());
        if spans.len() > size {
            let rest = spans.split_off(size);
            self.upcoming[0].splice(0..0, rest);
        }
        if spans.is_empty() {
            // Nothing is to come either, unless a trace skipped this request.
            return match self.upcoming.iter().all(Vec::is_empty) {
                true => None,
                false => self.next_request(),
            };
        }
        Some(self.encode(spans))
    }

    /// Requests with at least `spans` spans, in whole traces.
    pub fn at_least(&mut self, spans: u64) -> Vec<Batch> {
        let (mut requests, mut made) = (Vec::new(), 0);
        while let Some(request) = self.next_request() {
            made += request.items() as u64;
            requests.push(request);
            if made >= spans {
                self.finish();
            }
        }
        requests
    }

    /// What was made so far.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// What was made.
    pub fn into_truth(self) -> Truth {
        self.truth
    }

    fn begin_trace(&mut self) {
        let trace = self.truth.traces.len();
        // A thousand traces begin each second, whatever the rate of sending is.
        let start_ns = self.plan.start_ns + trace as u64 * 1_000_000;
        let (giants, previous) = (self.plan.giants, self.previous);
        // A call tree needs two; if there is to be one, it then answers to itself.
        let services = self.plan.services.max(2);
        let mut spans =
            trace::Grower { rng: &mut self.rng, services, giants, trace, start_ns, previous }
                .grow();
        self.dresser.dress(&mut spans);
        self.truth.begin(&spans, &self.policies);
        self.previous = Some(Link { trace_id: spans[0].trace_id, span_id: spans[0].span_id });
        for span in spans {
            let request = self.rng.random_range(0..self.plan.spread);
            self.upcoming[request].push(span);
        }
    }

    fn encode(&mut self, spans: Vec<Span>) -> Batch {
        let (signal, traces) = (self.plan.signal, &mut self.truth.traces);
        let bytes = encode::request(spans, signal, self.plan.field_order, |span, fingerprint| {
            let trace = &mut traces[span.trace];
            trace.fingerprint = trace.fingerprint.wrapping_add(fingerprint);
        });
        let batch =
            Batch::parse(signal, Bytes::from(bytes)).expect("the generator writes valid requests");
        self.truth.spans += batch.items() as u64;
        self.truth.bytes += batch.bytes().len() as u64;
        self.truth.requests += 1;
        batch
    }
}
