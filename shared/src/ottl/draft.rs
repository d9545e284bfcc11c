//! What statements change: a record with what surrounds it, each part by itself.
//!
//! A part is borrowed from the request until a statement changes it. Of a resource entry and a
//! scope entry only the head is kept: the entry without what is below it, so that reading an
//! absent attribute does not walk over all records, and changing one does not copy them.

use std::borrow::Cow;

use super::Context;
use super::error::EvalError;
use super::scope::{Record, View};
use crate::wire::{Fields, LogRecord, Metric, ResourceEntry, ScopeEntry, Span};

/// A part of a [`Draft`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The head of the resource entry.
    Resource,
    /// The head of the scope entry.
    Scope,
    /// The span, metric or log record.
    Record,
    /// The span's event or the metric's data point.
    Inner,
    /// The scratch map.
    Cache,
}

/// What a statement does to a draft.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// The part gets this content.
    Part(Part, Vec<u8>),
    /// A further metric comes behind those of the scope.
    Metric(Vec<u8>),
}

/// A record of a context with what surrounds it, for statements to change.
#[derive(Debug)]
pub struct Draft<'a> {
    context: Context,
    resource: Piece<'a>,
    scope: Piece<'a>,
    record: Piece<'a>,
    inner: Piece<'a>,
    cache: Vec<u8>,
    index: Option<i64>,
    metrics: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Piece<'a> {
    content: Cow<'a, [u8]>,
    is_changed: bool,
}

impl<'a> Piece<'a> {
    fn new(content: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { content: content.into(), is_changed: false }
    }
}

impl<'a> Draft<'a> {
    /// A draft for statements of `context`, without content yet.
    pub fn new(context: Context) -> Self {
        Self {
            context,
            resource: Piece::default(),
            scope: Piece::default(),
            record: Piece::default(),
            inner: Piece::default(),
            cache: Vec::new(),
            index: None,
            metrics: Vec::new(),
        }
    }

    /// What comes next is of this resource entry.
    pub fn enter_resource(&mut self, entry: ResourceEntry<'_>) {
        self.resource = Piece::new(head(entry.content));
        self.cache.clear();
    }

    /// What comes next is of this scope entry.
    pub fn enter_scope(&mut self, entry: ScopeEntry<'_>) {
        self.scope = Piece::new(head(entry.content));
        self.cache.clear();
    }

    /// The next record.
    pub fn set_record(&mut self, record: impl Into<Cow<'a, [u8]>>) {
        self.record = Piece::new(record);
        self.cache.clear();
    }

    /// The next event of the span or data point of the metric, and which one it is.
    pub fn set_inner(&mut self, inner: impl Into<Cow<'a, [u8]>>, index: usize) {
        self.inner = Piece::new(inner);
        self.index = i64::try_from(index).ok();
        self.cache.clear();
    }

    /// A part's content, if a statement changed it since it was set.
    pub fn changed(&self, part: Part) -> Option<&[u8]> {
        let piece = match part {
            Part::Resource => &self.resource,
            Part::Scope => &self.scope,
            Part::Record => &self.record,
            Part::Inner => &self.inner,
            Part::Cache => return None,
        };
        piece.is_changed.then_some(&*piece.content)
    }

    /// The record's content as it is now.
    pub fn record(&self) -> &[u8] {
        &self.record.content
    }

    /// Takes the metrics that statements made of others.
    pub fn take_metrics(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.metrics)
    }

    pub(super) fn apply(&mut self, change: Change) {
        let (part, content) = match change {
            Change::Part(part, content) => (part, content),
            Change::Metric(metric) => return self.metrics.push(metric),
        };
        let piece = match part {
            Part::Resource => &mut self.resource,
            Part::Scope => &mut self.scope,
            Part::Record => &mut self.record,
            Part::Inner => &mut self.inner,
            Part::Cache => return self.cache = content,
        };
        if *piece.content != *content {
            *piece = Piece { content: Cow::Owned(content), is_changed: true };
        }
    }

    /// Shows what is there now.
    pub(super) fn with_view<T>(&self, show: impl FnOnce(&View<'_>) -> T) -> T {
        let record = &*self.record.content;
        let view = View {
            resource: ResourceEntry { content: &self.resource.content },
            scope: Some(ScopeEntry { content: &self.scope.content }),
            record: Record::None,
            inner: Some(&self.inner.content),
            index: self.index,
            cache: &self.cache,
            finder: None,
        };
        match self.context {
            Context::Resource | Context::Scope => show(&view),
            Context::Span | Context::SpanEvent => {
                show(&View { record: Record::Span(&Span::read(record)), ..view })
            }
            Context::Metric | Context::DataPoint => {
                show(&View { record: Record::Metric(&Metric::read(record)), ..view })
            }
            Context::Log => show(&View { record: Record::Log(&LogRecord::read(record)), ..view }),
        }
    }
}

impl<'a> View<'a> {
    /// A part's content.
    pub(super) fn part(&self, part: Part) -> Result<&'a [u8], EvalError> {
        Ok(match part {
            Part::Resource => self.resource.content,
            Part::Scope => self.scope()?.content,
            Part::Record => match self.record {
                Record::Span(span) => span.raw,
                Record::Metric(metric) => metric.raw,
                Record::Log(log) => log.raw,
                Record::None => return Err(EvalError::fixed("there is no record")),
            },
            Part::Inner => self.inner()?,
            Part::Cache => self.cache,
        })
    }
}

/// An entry without what is below it.
fn head(entry: &[u8]) -> Vec<u8> {
    const NESTED: u32 = 2;
    let mut head = Vec::new();
    for field in Fields::new(entry) {
        if field.number != NESTED {
            head.extend_from_slice(field.raw);
        }
    }
    head
}
