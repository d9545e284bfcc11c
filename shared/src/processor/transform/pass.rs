//! One group of statements, over all records of a batch.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::ottl::{Context, Draft, EvalError, Group, Part};
use crate::wire::rewrite::{self, Change, Editor, Empties, Head, Visit};
use crate::wire::{Fields, Metric, ResourceEntry, ScopeEntry, Span, Writer};

/// Field of a resource in the head of its entry, and of a scope in its own.
const MESSAGE: u32 = 1;
/// Field of a schema URL in both.
const SCHEMA_URL: u32 = 3;
/// Field of a span's events.
const EVENT: u32 = 11;
/// Metrics that may be made of those of a scope, for each that came in. Statements are run on what
/// they made, too, so `copy_metric()` without a condition would go on for ever.
const MADE_PER_METRIC: usize = 64;

const TOO_MANY: EvalError = EvalError::fixed(
    "too many metrics were made of those of a scope: what a statement makes must not fulfil its \
     own condition",
);

/// Runs a group's statements.
pub(super) struct Pass<'g, 'a, F> {
    group: &'g Group,
    failed: F,
    draft: Draft<'a>,
    /// The schema URLs of the entries around, as they came.
    resource_url: &'a [u8],
    scope_url: &'a [u8],
    /// Metrics that statements made of others of the scope, and that they are still to be run on.
    made: VecDeque<Vec<u8>>,
    /// How many more may be made in this scope.
    may_make: usize,
    error: Option<EvalError>,
}

impl<'g, F: FnMut(&str, &EvalError) -> ControlFlow<()>> Pass<'g, '_, F> {
    /// `failed` is told what cannot be evaluated, and says whether to go on.
    pub(super) fn new(group: &'g Group, failed: F) -> Self {
        Self {
            group,
            failed,
            draft: Draft::new(group.context()),
            resource_url: &[],
            scope_url: &[],
            made: VecDeque::new(),
            may_make: 0,
            error: None,
        }
    }

    /// # Errors
    /// The one after which `failed` did not go on. What was written is worth nothing then.
    pub(super) fn finish(self) -> Result<(), EvalError> {
        self.error.map_or(Ok(()), Err)
    }

    /// Runs the statements on what the draft holds; not after one failed for good.
    fn run(&mut self) {
        if self.error.is_none()
            && let Err(error) = self.group.run(&mut self.draft, &mut self.failed)
        {
            self.error = Some(error);
        }
    }

    /// Puts the metrics that statements made in the row.
    fn take_made(&mut self) {
        for metric in self.draft.take_metrics() {
            if self.may_make == 0 {
                if (self.failed)("copy_metric", &TOO_MANY).is_break() {
                    self.error.get_or_insert(TOO_MANY);
                }
                return;
            }
            self.may_make -= 1;
            self.made.push_back(metric);
        }
    }

    /// What became of the record.
    fn write_record(&self, new: &mut Writer) -> Change {
        match self.draft.changed(Part::Record) {
            Some(content) => {
                new.raw(content);
                Change::Replace
            }
            None => Change::Keep,
        }
    }
}

impl<'a, F: FnMut(&str, &EvalError) -> ControlFlow<()>> Pass<'_, 'a, F> {
    /// Runs the statements on each of the messages within a record, which they may change too.
    fn inner_messages<T: Into<Cow<'a, [u8]>>>(
        &mut self,
        record: T,
        messages: impl Iterator<Item = T>,
        new: &mut Writer,
    ) -> Change {
        self.draft.set_record(record);
        let mut changed: Vec<Option<Vec<u8>>> = Vec::new();
        for (index, message) in messages.enumerate() {
            self.draft.set_inner(message, index);
            self.run();
            self.take_made();
            let content = self.draft.changed(Part::Inner).map(<[u8]>::to_vec);
            // Nothing is kept for the many that stay as they are.
            if content.is_some() {
                changed.resize(index, None);
                changed.push(content);
            }
        }
        if changed.is_empty() {
            return self.write_record(new);
        }
        let mut index = 0;
        let edit = |_: &[u8], new: &mut Writer| {
            let content = changed.get(index).and_then(Option::as_deref);
            index += 1;
            match content {
                Some(content) => {
                    new.raw(content);
                    Change::Replace
                }
                None => Change::Keep,
            }
        };
        let record = self.draft.record();
        match self.group.context() {
            Context::DataPoint => rewrite::points(record, Empties::Keep, new, edit),
            _ => rewrite::children(record, EVENT, new, edit),
        }
    }

    /// Runs the statements on a metric that they made, as the Collector does; what became of it.
    fn finish_made(&mut self, metric: Vec<u8>) -> Vec<u8> {
        if self.group.context() == Context::DataPoint {
            let points: Vec<Vec<u8>> = Metric::read(&metric).points().map(<[u8]>::to_vec).collect();
            let mut new = Writer::new();
            return match self.inner_messages(metric.clone(), points.into_iter(), &mut new) {
                Change::Replace => new.into_vec(),
                Change::Keep | Change::Drop => metric,
            };
        }
        self.draft.set_record(metric);
        self.run();
        self.take_made();
        self.draft.record().to_vec()
    }
}

impl<'a, F: FnMut(&str, &EvalError) -> ControlFlow<()>> Editor<'a> for Pass<'_, 'a, F> {
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) -> Visit {
        self.draft.enter_resource(entry);
        self.resource_url = entry.schema_url();
        match self.group.context() {
            Context::Resource => Visit::Over,
            _ => Visit::Into,
        }
    }

    fn enter_scope(&mut self, entry: ScopeEntry<'a>) -> Visit {
        self.draft.enter_scope(entry);
        self.scope_url = entry.schema_url();
        self.may_make = 0;
        match self.group.context() {
            Context::Scope => Visit::Over,
            _ => Visit::Into,
        }
    }

    fn record(&mut self, record: &'a [u8], new: &mut Writer) -> Change {
        match self.group.context() {
            Context::Resource | Context::Scope => Change::Keep,
            Context::Span | Context::Metric | Context::Log => {
                self.may_make += MADE_PER_METRIC;
                self.draft.set_record(record);
                self.run();
                self.take_made();
                self.write_record(new)
            }
            Context::SpanEvent => self.inner_messages(record, Span::read(record).events(), new),
            Context::DataPoint => {
                // Each point may give one.
                self.may_make += MADE_PER_METRIC + Metric::read(record).points().count();
                self.inner_messages(record, Metric::read(record).points(), new)
            }
        }
    }

    fn leave_scope(&mut self, head: &mut Head) {
        if self.group.context() == Context::Scope {
            self.run();
        }
        while let Some(metric) = self.made.pop_front() {
            let metric = self.finish_made(metric);
            head.add_record(metric);
        }
        write_head(self.draft.changed(Part::Scope), self.scope_url, head);
    }

    fn leave_resource(&mut self, head: &mut Head) {
        if self.group.context() == Context::Resource {
            self.run();
        }
        write_head(self.draft.changed(Part::Resource), self.resource_url, head);
    }
}

/// Hands over what became of a resource or scope.
fn write_head(changed: Option<&[u8]>, schema_url: &[u8], head: &mut Head) {
    let Some(content) = changed else { return };
    let message = head.replace();
    let mut url = &[][..];
    for field in Fields::new(content) {
        match (field.number, field.value.bytes()) {
            (MESSAGE, Some(content)) => message.raw(content),
            (SCHEMA_URL, Some(content)) => url = content,
            _ => {}
        }
    }
    if url != schema_url {
        head.set_schema_url(url);
    }
}
