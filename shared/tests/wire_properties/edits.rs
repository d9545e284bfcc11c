//! Arbitrary changes to a request, made on its bytes and on what was decoded from them.

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use shared::Signal;
use shared::wire::rewrite::points;
use shared::wire::{Change, Editor, Empties, Head, ResourceEntry, ScopeEntry, Visit, Writer};

use crate::oracle::Request;

/// Tells one choice after the other, around and around.
struct Choices<'c> {
    choices: &'c [u8],
    next: usize,
}

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        self.next += 1;
        self.choices[(self.next - 1) % self.choices.len()]
    }

    fn visit(&mut self) -> Visit {
        match self.next() % 8 {
            0 => Visit::Drop,
            1 => Visit::Over,
            _ => Visit::Into,
        }
    }

    fn record(&mut self) -> Change {
        match self.next() % 4 {
            0 => Change::Drop,
            1 => Change::Replace,
            _ => Change::Keep,
        }
    }

    fn is_head_changed(&mut self) -> bool {
        self.next().is_multiple_of(3)
    }
}

/// What a changed resource and scope says of dropped attributes.
const DROPPED: u32 = 77;

/// The changes on bytes.
pub(crate) struct Edits<'a, 'c> {
    signal: Signal,
    choices: Choices<'c>,
    resource: Option<ResourceEntry<'a>>,
    scope: Option<ScopeEntry<'a>>,
}

impl<'c> Edits<'_, 'c> {
    pub(crate) fn new(signal: Signal, choices: &'c [u8]) -> Self {
        Self { signal, choices: Choices { choices, next: 0 }, resource: None, scope: None }
    }
}

impl<'a> Editor<'a> for Edits<'a, '_> {
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) -> Visit {
        self.resource = Some(entry);
        self.choices.visit()
    }

    fn enter_scope(&mut self, scope: ScopeEntry<'a>) -> Visit {
        self.scope = Some(scope);
        self.choices.visit()
    }

    fn record(&mut self, record: &'a [u8], new: &mut Writer) -> Change {
        let text = match self.signal {
            Signal::Traces => 5,
            Signal::Logs => 3,
            Signal::Metrics => {
                let choices = &mut self.choices;
                return points(record, Empties::Drop, new, |point, new| {
                    let change = choices.record();
                    if change == Change::Replace {
                        // The time, in all kinds of points.
                        new.raw(point);
                        new.fixed64(3, 77);
                    }
                    change
                });
            }
        };
        let change = self.choices.record();
        if change == Change::Replace {
            new.raw(record);
            new.bytes(text, b"new");
        }
        change
    }

    fn leave_scope(&mut self, head: &mut Head) {
        if self.choices.is_head_changed() {
            let scope = self.scope.expect("it was entered");
            let new = head.replace();
            scope.scope_messages().for_each(|message| new.raw(message));
            new.varint(4, DROPPED.into());
        }
    }

    fn leave_resource(&mut self, head: &mut Head) {
        if self.choices.is_head_changed() {
            let entry = self.resource.expect("it was entered");
            let new = head.replace();
            entry.resource().messages().for_each(|message| new.raw(message));
            new.varint(2, DROPPED.into());
            head.set_schema_url(b"new");
        }
    }
}

/// The same changes on a decoded request.
pub(crate) fn apply(request: &mut Request, choices: &[u8], empties: Empties) {
    let mut choices = Choices { choices, next: 0 };
    let drops = empties == Empties::Drop;
    macro_rules! apply {
        ($entries:expr, $scopes:ident, $records:ident, $record:expr) => {
            $entries.retain_mut(|entry| {
                let visit = choices.visit();
                if visit == Visit::Drop {
                    return false;
                }
                if visit == Visit::Into {
                    entry.$scopes.retain_mut(|scope| {
                        let visit = choices.visit();
                        if visit == Visit::Drop {
                            return false;
                        }
                        if visit == Visit::Into {
                            scope.$records.retain_mut(|record| $record(record, &mut choices));
                            if drops && scope.$records.is_empty() {
                                return false;
                            }
                        }
                        if choices.is_head_changed() {
                            scope.scope.get_or_insert_default().dropped_attributes_count = DROPPED;
                        }
                        true
                    });
                    if drops && entry.$scopes.is_empty() {
                        return false;
                    }
                }
                if choices.is_head_changed() {
                    entry.resource.get_or_insert_default().dropped_attributes_count = DROPPED;
                    "new".clone_into(&mut entry.schema_url);
                }
                true
            })
        };
    }
    match request {
        Request::Traces(request) => {
            apply!(request.resource_spans, scope_spans, spans, |span: &mut Span, choices| {
                text(choices, &mut span.name)
            });
        }
        Request::Logs(request) => {
            apply!(
                request.resource_logs,
                scope_logs,
                log_records,
                |log: &mut LogRecord, choices| { text(choices, &mut log.severity_text) }
            );
        }
        Request::Metrics(request) => {
            apply!(request.resource_metrics, scope_metrics, metrics, metric_points);
        }
    }
}

/// Whether the record that has this text stays.
fn text(choices: &mut Choices<'_>, text: &mut String) -> bool {
    let change = choices.record();
    if change == Change::Replace {
        "new".clone_into(text);
    }
    change != Change::Drop
}

/// Whether a metric stays.
fn metric_points(metric: &mut Metric, choices: &mut Choices<'_>) -> bool {
    macro_rules! points {
        ($data:expr) => {{
            $data.data_points.retain_mut(|point| {
                let change = choices.record();
                if change == Change::Replace {
                    point.time_unix_nano = 77;
                }
                change != Change::Drop
            });
            !$data.data_points.is_empty()
        }};
    }
    match &mut metric.data {
        None => false,
        Some(metric::Data::Gauge(gauge)) => points!(gauge),
        Some(metric::Data::Sum(sum)) => points!(sum),
        Some(metric::Data::Histogram(histogram)) => points!(histogram),
        Some(metric::Data::ExponentialHistogram(histogram)) => points!(histogram),
        Some(metric::Data::Summary(summary)) => points!(summary),
    }
}
