//! One group of conditions, over all records of a batch.

use std::ops::ControlFlow;

use crate::ottl::{
    Context, EvalError, EventScope, Group, LogScope, MetricScope, PointScope, ResourceScope, Scope,
    ScopeScope, SpanScope,
};
use crate::wire::rewrite::{self, Change, Editor, Empties, Visit};
use crate::wire::{Fields, LogRecord, Metric, ResourceEntry, ScopeEntry, Span, Writer};

/// Drops what a group's conditions hold for.
pub(super) struct Pass<'g, F> {
    group: &'g Group,
    failed: F,
    /// The entries around, without what is below them: reading an absent attribute must not walk
    /// over all records.
    resource: Vec<u8>,
    scope: Vec<u8>,
    error: Option<EvalError>,
}

impl<'g, F: FnMut(&str, &EvalError) -> ControlFlow<()>> Pass<'g, F> {
    /// `failed` is told what cannot be evaluated, and says whether to go on.
    pub(super) fn new(group: &'g Group, failed: F) -> Self {
        Self { group, failed, resource: Vec::new(), scope: Vec::new(), error: None }
    }

    /// # Errors
    /// The one after which `failed` did not go on. What was written is worth nothing then.
    pub(super) fn finish(self) -> Result<(), EvalError> {
        self.error.map_or(Ok(()), Err)
    }
}

/// Whether a condition holds; not after one failed for good.
fn holds<F: FnMut(&str, &EvalError) -> ControlFlow<()>>(
    group: &Group,
    failed: &mut F,
    error: &mut Option<EvalError>,
    scope: &impl Scope,
) -> bool {
    if error.is_some() {
        return false;
    }
    match group.any_holds(scope, failed) {
        Ok(holds) => holds,
        Err(failure) => {
            *error = Some(failure);
            false
        }
    }
}

/// Copies an entry without what is below it.
fn copy_head(entry: &[u8], head: &mut Vec<u8>) {
    const NESTED: u32 = 2;
    head.clear();
    for field in Fields::new(entry) {
        if field.number != NESTED {
            head.extend_from_slice(field.raw);
        }
    }
}

impl<'a, F: FnMut(&str, &EvalError) -> ControlFlow<()>> Editor<'a> for Pass<'_, F> {
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) -> Visit {
        copy_head(entry.content, &mut self.resource);
        if self.group.context() != Context::Resource {
            return Visit::Into;
        }
        let scope = ResourceScope { resource: ResourceEntry { content: &self.resource } };
        match holds(self.group, &mut self.failed, &mut self.error, &scope) {
            true => Visit::Drop,
            false => Visit::Over,
        }
    }

    fn enter_scope(&mut self, entry: ScopeEntry<'a>) -> Visit {
        copy_head(entry.content, &mut self.scope);
        if self.group.context() != Context::Scope {
            return Visit::Into;
        }
        let scope = ScopeScope {
            resource: ResourceEntry { content: &self.resource },
            scope: ScopeEntry { content: &self.scope },
        };
        match holds(self.group, &mut self.failed, &mut self.error, &scope) {
            true => Visit::Drop,
            false => Visit::Over,
        }
    }

    fn record(&mut self, record: &'a [u8], new: &mut Writer) -> Change {
        let Self { group, failed, resource, scope, error } = self;
        let resource = ResourceEntry { content: resource };
        let scope = ScopeEntry { content: scope };
        let dropped = |is_dropped| if is_dropped { Change::Drop } else { Change::Keep };
        match group.context() {
            Context::Resource | Context::Scope => Change::Keep,
            Context::Span => {
                let scope = SpanScope { resource, scope, span: Span::read(record) };
                dropped(holds(group, failed, error, &scope))
            }
            Context::Log => {
                let scope = LogScope { resource, scope, log: LogRecord::read(record) };
                dropped(holds(group, failed, error, &scope))
            }
            Context::Metric => {
                let scope = MetricScope { resource, scope, metric: Metric::read(record) };
                dropped(holds(group, failed, error, &scope))
            }
            Context::SpanEvent => {
                const EVENT: u32 = 11;
                let span = SpanScope { resource, scope, span: Span::read(record) };
                rewrite::children(record, EVENT, new, |event, _| {
                    dropped(holds(group, failed, error, &EventScope { span: &span, event }))
                })
            }
            Context::DataPoint => {
                let metric = MetricScope { resource, scope, metric: Metric::read(record) };
                if metric.metric.kind.is_none() {
                    return Change::Keep;
                }
                rewrite::points(record, Empties::Drop, new, |point, _| {
                    dropped(holds(group, failed, error, &PointScope { metric: &metric, point }))
                })
            }
        }
    }
}
