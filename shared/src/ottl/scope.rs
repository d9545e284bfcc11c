//! What a condition is evaluated on.

use super::error::EvalError;
use crate::wire::{AnyValue, ResourceEntry, ScopeEntry, Span};

/// A record with what surrounds it. Each context has one.
pub trait Scope {
    /// The parts, as the evaluator wants them.
    fn view(&self) -> View<'_>;
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

impl Scope for SpanScope<'_> {
    #[inline]
    fn view(&self) -> View<'_> {
        View {
            resource: self.resource,
            scope: Some(self.scope),
            span: Some(&self.span),
            event: None,
            finder: None,
        }
    }
}

impl Scope for EventScope<'_> {
    #[inline]
    fn view(&self) -> View<'_> {
        View { event: Some(self.event), ..self.span.view() }
    }
}

/// The parts of a [`Scope`]. Which are there follows from its context.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(super) resource: ResourceEntry<'a>,
    scope: Option<ScopeEntry<'a>>,
    span: Option<&'a Span<'a>>,
    event: Option<&'a [u8]>,
    finder: Option<&'a dyn FindAttribute>,
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
        span: None,
        event: None,
        finder: None,
    };

    /// A span whose attributes `finder` finds.
    pub fn of_span(
        resource: ResourceEntry<'a>,
        scope: ScopeEntry<'a>,
        span: &'a Span<'a>,
        finder: &'a dyn FindAttribute,
    ) -> Self {
        let (scope, span, finder) = (Some(scope), Some(span), Some(finder));
        View { resource, scope, span, event: None, finder }
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
        self.span.ok_or(OTHER_CONTEXT)
    }

    #[inline]
    pub(super) fn event(&self) -> Result<&'a [u8], EvalError> {
        self.event.ok_or(OTHER_CONTEXT)
    }
}
