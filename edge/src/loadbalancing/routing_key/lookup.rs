//! Where the configured attributes stand: on the resource, else on the scope, else on the record.
//!
//! Before a record's attributes come pseudo attributes, which are fields of it: `span.kind` and
//! `span.name`, `log.severity` and `log.body`. Data points have none.

use shared::Signal;
use shared::wire::{AnyValue, Attributes, LogRecord, Metric, ResourceEntry, ScopeEntry, Span};

/// Where an attribute was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Resource,
    Scope,
    Record,
    Nowhere,
}

/// The attributes that are looked for, as far as they were found.
pub(super) struct Lookup<'a, 'n> {
    names: &'n [Box<[u8]>],
    signal: Signal,
    /// The field of the current metric's data points that holds their attributes.
    point_attributes: u32,
    /// One for each name.
    found: Vec<(Level, AnyValue<'a>)>,
}

impl<'a, 'n> Lookup<'a, 'n> {
    pub(super) fn new(signal: Signal, names: &'n [Box<[u8]>]) -> Self {
        let found = vec![(Level::Nowhere, AnyValue::Empty); names.len()];
        Self { names, signal, point_attributes: 0, found }
    }

    pub(super) fn enter_resource(&mut self, entry: ResourceEntry<'a>) {
        self.forget(Level::Resource);
        self.look(Level::Resource, |name| entry.resource().attribute(name));
    }

    pub(super) fn enter_scope(&mut self, scope: ScopeEntry<'a>) {
        self.forget(Level::Scope);
        self.look(Level::Scope, |name| scope.attribute(name));
    }

    pub(super) fn enter_metric(&mut self, metric: &Metric<'a>) {
        self.point_attributes = metric.kind.map_or(0, shared::wire::DataKind::attributes_field);
    }

    /// Looks at a span, log record or data point.
    pub(super) fn enter_record(&mut self, record: &'a [u8]) {
        self.forget(Level::Record);
        match self.signal {
            Signal::Traces => self.look(Level::Record, |name| match name {
                b"span.kind" => text(kind_name(Span::read(record).kind)),
                b"span.name" => text(Span::read(record).name),
                name => Attributes::new(record, 9).get(name),
            }),
            Signal::Logs => self.look(Level::Record, |name| match name {
                b"log.severity" => text(LogRecord::read(record).severity_text),
                b"log.body" => {
                    Some(LogRecord::read(record).body()).filter(|body| *body != AnyValue::Empty)
                }
                name => Attributes::new(record, 6).get(name),
            }),
            Signal::Metrics => {
                let number = self.point_attributes;
                self.look(Level::Record, |name| Attributes::new(record, number).get(name));
            }
        }
    }

    /// Names with where they were found, in the order of the configuration.
    pub(super) fn found(&self) -> impl Iterator<Item = (&'n [u8], Level, AnyValue<'a>)> {
        self.names.iter().zip(&self.found).map(|(name, (level, value))| (&**name, *level, *value))
    }

    /// Whether all records of the current scope entry have the same values.
    pub(super) fn is_above_records(&self) -> bool {
        self.found.iter().all(|(level, _)| *level < Level::Record)
    }

    /// Whether there is none of the attributes.
    pub(super) fn is_empty(&self) -> bool {
        self.found.iter().all(|(level, _)| *level == Level::Nowhere)
    }

    /// Forgets what was found at `level` and below.
    fn forget(&mut self, level: Level) {
        for found in &mut self.found {
            if found.0 >= level {
                *found = (Level::Nowhere, AnyValue::Empty);
            }
        }
    }

    fn look(&mut self, level: Level, get: impl Fn(&[u8]) -> Option<AnyValue<'a>>) {
        for (name, found) in self.names.iter().zip(&mut self.found) {
            if found.0 == Level::Nowhere
                && let Some(value) = get(name)
            {
                *found = (level, value);
            }
        }
    }
}

/// A field of text, which is missing when it is empty.
fn text(bytes: &[u8]) -> Option<AnyValue<'_>> {
    (!bytes.is_empty()).then_some(AnyValue::String(bytes))
}

/// Source: collector `pdata/ptrace/span_kind.go`.
fn kind_name(kind: u64) -> &'static [u8] {
    match kind {
        0 => b"Unspecified",
        1 => b"Internal",
        2 => b"Server",
        3 => b"Client",
        4 => b"Producer",
        5 => b"Consumer",
        _ => b"",
    }
}
