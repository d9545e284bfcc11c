//! What conditions are evaluated on.

use super::error::EvalError;
use crate::wire::{AnyValue, LogRecord, Metric, ResourceEntry, ScopeEntry, Span};

/// A record with what surrounds it. Each context has one.
pub trait Scope {
    /// The parts, as the evaluator wants them.
    fn view(&self) -> View<'_>;
}

/// A resource, for conditions of [`Context::Resource`](super::Context::Resource).
#[derive(Debug, Clone, Copy)]
pub struct ResourceScope<'a> {
    /// The entry of the resource.
    pub resource: ResourceEntry<'a>,
}

/// An instrumentation scope, for conditions of [`Context::Scope`](super::Context::Scope).
#[derive(Debug, Clone, Copy)]
pub struct ScopeScope<'a> {
    /// The entry that the scope came in.
    pub resource: ResourceEntry<'a>,
    /// The entry of the scope.
    pub scope: ScopeEntry<'a>,
}

/// A span, for conditions of [`Context::Span`](super::Context::Span).
#[derive(Debug, Clone, Copy)]
pub struct SpanScope<'a> {
    /// The entry that the span came in.
    pub resource: ResourceEntry<'a>,
    /// The scope entry that the span came in.
    pub scope: ScopeEntry<'a>,
    /// The span.
    pub span: Span<'a>,
}

/// An event of a span, for conditions of [`Context::SpanEvent`](super::Context::SpanEvent).
#[derive(Debug, Clone, Copy)]
pub struct EventScope<'a> {
    /// The span and what surrounds it.
    pub span: &'a SpanScope<'a>,
    /// The `Event` message.
    pub event: &'a [u8],
}

/// A metric, for conditions of [`Context::Metric`](super::Context::Metric).
#[derive(Debug, Clone, Copy)]
pub struct MetricScope<'a> {
    /// The entry that the metric came in.
    pub resource: ResourceEntry<'a>,
    /// The scope entry that the metric came in.
    pub scope: ScopeEntry<'a>,
    /// The metric.
    pub metric: Metric<'a>,
}

/// A data point, for conditions of [`Context::DataPoint`](super::Context::DataPoint).
#[derive(Debug, Clone, Copy)]
pub struct PointScope<'a> {
    /// The metric and what surrounds it.
    pub metric: &'a MetricScope<'a>,
    /// The message of the data point, of the metric's kind.
    pub point: &'a [u8],
}

/// A log record, for conditions of [`Context::Log`](super::Context::Log).
#[derive(Debug, Clone, Copy)]
pub struct LogScope<'a> {
    /// The entry that the record came in.
    pub resource: ResourceEntry<'a>,
    /// The scope entry that the record came in.
    pub scope: ScopeEntry<'a>,
    /// The record.
    pub log: LogRecord<'a>,
}

impl Scope for ResourceScope<'_> {
    fn view(&self) -> View<'_> {
        View { resource: self.resource, ..View::EMPTY }
    }
}

impl Scope for ScopeScope<'_> {
    fn view(&self) -> View<'_> {
        View { resource: self.resource, scope: Some(self.scope), ..View::EMPTY }
    }
}

impl Scope for SpanScope<'_> {
    #[inline]
    fn view(&self) -> View<'_> {
        let record = Record::Span(&self.span);
        View { resource: self.resource, scope: Some(self.scope), record, ..View::EMPTY }
    }
}

impl Scope for EventScope<'_> {
    #[inline]
    fn view(&self) -> View<'_> {
        View { inner: Some(self.event), ..self.span.view() }
    }
}

impl Scope for MetricScope<'_> {
    fn view(&self) -> View<'_> {
        let record = Record::Metric(&self.metric);
        View { resource: self.resource, scope: Some(self.scope), record, ..View::EMPTY }
    }
}

impl Scope for PointScope<'_> {
    fn view(&self) -> View<'_> {
        View { inner: Some(self.point), ..self.metric.view() }
    }
}

impl Scope for LogScope<'_> {
    fn view(&self) -> View<'_> {
        let record = Record::Log(&self.log);
        View { resource: self.resource, scope: Some(self.scope), record, ..View::EMPTY }
    }
}

impl Scope for View<'_> {
    fn view(&self) -> View<'_> {
        *self
    }
}

/// The parts of a [`Scope`]. Which are there follows from its context.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(super) resource: ResourceEntry<'a>,
    pub(super) scope: Option<ScopeEntry<'a>>,
    pub(super) record: Record<'a>,
    /// A span's event or a metric's data point.
    pub(super) inner: Option<&'a [u8]>,
    /// Which of its span's events `inner` is, if that is told.
    pub(super) index: Option<i64>,
    /// The scratch map: a message with `KeyValue`s under 1.
    pub(super) cache: &'a [u8],
    /// Who finds the span's attributes, if somebody knows where they are.
    pub(super) finder: Option<&'a dyn FindAttribute>,
}

/// A span, a metric or a log record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Record<'a> {
    None,
    Span(&'a Span<'a>),
    Metric(&'a Metric<'a>),
    Log(&'a LogRecord<'a>),
}

/// Somebody who knows where a span's attributes are, so that they need not be looked for again.
pub trait FindAttribute {
    /// The span's first attribute under `key`.
    fn find(&self, key: &[u8]) -> Option<AnyValue<'_>>;
}

/// A condition may be given the scope of another context by mistake.
const OTHER_CONTEXT: EvalError =
    EvalError::fixed("the condition was parsed for another kind of record");

impl<'a> View<'a> {
    /// No record at all: what constants are computed on.
    pub(super) const EMPTY: View<'static> = View {
        resource: ResourceEntry { content: &[] },
        scope: None,
        record: Record::None,
        inner: None,
        index: None,
        cache: &[],
        finder: None,
    };

    /// A span whose attributes `finder` finds.
    pub fn of_span(
        resource: ResourceEntry<'a>,
        scope: ScopeEntry<'a>,
        span: &'a Span<'a>,
        finder: &'a dyn FindAttribute,
    ) -> Self {
        let record = Record::Span(span);
        View { resource, scope: Some(scope), record, finder: Some(finder), ..View::EMPTY }
    }

    /// The span's first attribute under `key`.
    #[inline]
    pub(super) fn span_attribute(&self, key: &[u8]) -> Result<Option<AnyValue<'a>>, EvalError> {
        Ok(match self.finder {
            Some(finder) => finder.find(key),
            None => self.span()?.attribute(key),
        })
    }

    #[inline]
    pub(super) fn scope(&self) -> Result<ScopeEntry<'a>, EvalError> {
        self.scope.ok_or(OTHER_CONTEXT)
    }

    #[inline]
    pub(super) fn span(&self) -> Result<&'a Span<'a>, EvalError> {
        match self.record {
            Record::Span(span) => Ok(span),
            _ => Err(OTHER_CONTEXT),
        }
    }

    pub(super) fn metric(&self) -> Result<&'a Metric<'a>, EvalError> {
        match self.record {
            Record::Metric(metric) => Ok(metric),
            _ => Err(OTHER_CONTEXT),
        }
    }

    pub(super) fn log(&self) -> Result<&'a LogRecord<'a>, EvalError> {
        match self.record {
            Record::Log(log) => Ok(log),
            _ => Err(OTHER_CONTEXT),
        }
    }

    /// The span's event or the metric's data point.
    #[inline]
    pub(super) fn inner(&self) -> Result<&'a [u8], EvalError> {
        self.inner.ok_or(OTHER_CONTEXT)
    }
}
