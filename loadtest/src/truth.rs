//! What a generator knows of what it made.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::generate::draft::{Kind, Span, Status};
use crate::generate::vocabulary::SERVICES;
use crate::oracle::{Policies, Sightings};

/// A trace as it was generated.
#[derive(Debug, Clone)]
pub struct TraceTruth {
    /// Its id.
    pub id: [u8; 16],
    /// Number of its spans.
    pub spans: u32,
    /// Earliest start, in nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// Latest end, in nanoseconds since the Unix epoch.
    pub end_ns: u64,
    /// Wrapping sum of its spans' fingerprints.
    pub fingerprint: u64,
    /// What the policies saw on its spans.
    pub sightings: Sightings,
}

/// What span metrics count separately by default.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallKey {
    /// `service.name`.
    pub service: Cow<'static, str>,
    /// `span.name`.
    pub span: Cow<'static, str>,
    /// `span.kind`, as in `SPAN_KIND_SERVER`.
    pub kind: Cow<'static, str>,
    /// `status.code`, as in `STATUS_CODE_ERROR`.
    pub status: Cow<'static, str>,
}

impl CallKey {
    fn of(span: &Span) -> Self {
        let kind = match span.kind {
            Kind::Internal => "SPAN_KIND_INTERNAL",
            Kind::Server => "SPAN_KIND_SERVER",
            Kind::Client => "SPAN_KIND_CLIENT",
            Kind::Producer => "SPAN_KIND_PRODUCER",
            Kind::Consumer => "SPAN_KIND_CONSUMER",
        };
        let status = match span.status {
            Status::Unset => "STATUS_CODE_UNSET",
            Status::Ok => "STATUS_CODE_OK",
            Status::Error => "STATUS_CODE_ERROR",
        };
        Self {
            service: SERVICES[span.origin.service].name.into(),
            span: span.name.clone(),
            kind: kind.into(),
            status: status.into(),
        }
    }
}

/// What was generated so far.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// Every trace, in the order it was begun.
    pub traces: Vec<TraceTruth>,
    /// Spans by what span metrics count separately.
    pub calls: BTreeMap<CallKey, u64>,
    /// Spans in all requests that were handed out.
    pub spans: u64,
    /// Bytes of all requests that were handed out.
    pub bytes: u64,
    /// Requests that were handed out.
    pub requests: u64,
}

impl Truth {
    /// Notes a new trace.
    pub(crate) fn begin(&mut self, spans: &[Span], policies: &Policies) {
        let mut sightings = Sightings::default();
        for span in spans {
            policies.observe(span, &mut sightings);
            *self.calls.entry(CallKey::of(span)).or_default() += 1;
        }
        self.traces.push(TraceTruth {
            id: spans[0].trace_id,
            spans: u32::try_from(spans.len()).expect("traces are small"),
            start_ns: spans.iter().map(|span| span.start_ns).min().unwrap_or_default(),
            end_ns: spans.iter().map(|span| span.end_ns).max().unwrap_or_default(),
            fingerprint: 0,
            sightings,
        });
    }
}
