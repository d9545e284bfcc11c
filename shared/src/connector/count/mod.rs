//! `count`: a connector that counts spans, events, metrics, data points and log records.
//!
//! Each batch gives one batch of deltas, or none if nothing of it is counted: a monotonic sum for
//! each configured metric and resource. The connector keeps nothing but the time of the last one,
//! which is where the next interval begins, so its deltas follow each other without gaps.
//!
//! Source: contrib connector/countconnector.

mod config;
mod counts;
mod definition;
mod metrics;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use tracing::warn;

use self::config::Counted;
pub use self::config::{AttributeConfig, CountConfig, DefaultValue, MetricConfig};
use self::counts::{Counts, Thing};
use self::definition::Definition;
use self::metrics::CountMetrics;
use crate::config::{Path, Problems};
use crate::ottl::{EventScope, LogScope, MetricScope, PointScope, SpanScope};
use crate::service::{BuildError, ConnectorConfig, Context};
use crate::telemetry::metrics::Descriptor;
use crate::telemetry::thin::Thin;
use crate::wire::{Attributes, LogRecord, Metric, ResourceEntry, ScopeEntry, Span, resources};
use crate::{Batch, Consumer, Next, Rejected, Signal, clock};

/// The metrics of the connector.
pub const DESCRIPTORS: &[&[Descriptor]] = &[CountMetrics::DESCRIPTORS];

impl ConnectorConfig for CountConfig {
    const TYPE: &'static str = "count";
    const SIGNALS: &'static [(Signal, Signal)] = &[
        (Signal::Traces, Signal::Metrics),
        (Signal::Metrics, Signal::Metrics),
        (Signal::Logs, Signal::Metrics),
    ];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.check(at, problems);
    }

    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        Ok(Arc::new(Count::new(self, ctx, next)?))
    }
}

/// The connector.
struct Count {
    counter: Counter,
    /// When the last batch was counted, in nanoseconds since the Unix epoch.
    counted_ns: AtomicU64,
    metrics: CountMetrics,
    logged: Thin,
    connector: String,
    next: Next,
}

/// What it counts of the signal of its pipeline.
struct Counter {
    definitions: Vec<Definition>,
    /// Those of records: spans, metrics or log records.
    records: Range<usize>,
    /// Those of what is in records: events or data points.
    nested: Range<usize>,
}

impl Count {
    fn new(config: &CountConfig, ctx: &Context, next: Next) -> Result<Self, BuildError> {
        let connector = ctx.id.to_string();
        let labels = [("connector", connector.as_str()), ("data_type", ctx.signal.name())];
        Ok(Self {
            counter: Counter::new(config, ctx.signal)?,
            counted_ns: AtomicU64::new(clock::unix_ns()),
            metrics: CountMetrics::new(&labels),
            logged: Thin::new(),
            connector,
            next,
        })
    }

    /// The interval that ends now and begins where the last one ended, at least a nanosecond long
    /// though clocks may step back.
    fn interval(&self) -> (u64, u64) {
        let now_ns = clock::unix_ns();
        let end = |last_ns: u64| now_ns.max(last_ns.saturating_add(1));
        let start_ns = self
            .counted_ns
            .fetch_update(Relaxed, Relaxed, |last_ns| Some(end(last_ns)))
            .unwrap_or_else(|last_ns| last_ns);
        (start_ns, end(start_ns))
    }

    /// The metrics of a batch, if something of it counts.
    fn count(&self, batch: &Batch) -> Option<Batch> {
        let counts = self.counter.count(batch);
        self.metrics.items.increment(batch.items() as u64);
        self.metrics.condition_errors.increment(counts.condition_errors);
        if let Some(error) = &counts.last_error
            && let Some(suppressed) = self.logged.pass(clock::now())
        {
            let connector = &self.connector;
            warn!(connector, %error, suppressed, "a condition cannot be evaluated, so it does not hold");
        }
        let (start_ns, time_ns) = self.interval();
        counts.write(start_ns, time_ns)
    }
}

#[async_trait]
impl Consumer for Count {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let Some(metrics) = self.count(&batch) else { return Ok(()) };
        // What was not taken is not counted, so the sender may come again.
        self.next.consume(metrics).await.map_err(|rejected| Rejected {
            batch,
            dropped_items: 0,
            ..rejected
        })
    }
}

impl Counter {
    fn new(config: &CountConfig, signal: Signal) -> Result<Self, BuildError> {
        let (records, nested) = match signal {
            Signal::Traces => (Counted::Spans, Some(Counted::SpanEvents)),
            Signal::Metrics => (Counted::Metrics, Some(Counted::DataPoints)),
            Signal::Logs => (Counted::Logs, None),
        };
        let all_of = |counted| {
            Definition::all_of(config, counted).map_err(|error| BuildError::new(error.to_string()))
        };
        let mut definitions = all_of(records)?;
        let records = 0..definitions.len();
        if let Some(nested) = nested {
            definitions.extend(all_of(nested)?);
        }
        let nested = records.end..definitions.len();
        Ok(Self { definitions, records, nested })
    }

    fn count<'a>(&'a self, batch: &'a Batch) -> Counts<'a> {
        let mut counts = Counts::new(&self.definitions);
        for resource in resources(batch.bytes()) {
            counts.enter(resource);
            for scope in resource.scopes() {
                for record in scope.records() {
                    match batch.signal() {
                        Signal::Traces => self.count_span(resource, scope, record, &mut counts),
                        Signal::Metrics => self.count_metric(resource, scope, record, &mut counts),
                        Signal::Logs => self.count_log(resource, scope, record, &mut counts),
                    }
                }
            }
        }
        counts
    }

    fn count_span<'a>(
        &self,
        resource: ResourceEntry<'a>,
        scope: ScopeEntry<'a>,
        record: &'a [u8],
        counts: &mut Counts<'a>,
    ) {
        let span = SpanScope { resource, scope, span: Span::read(record) };
        let thing = |attributes| thing(Some(attributes), resource, scope);
        counts.count(self.records.clone(), &thing(span.span.attributes()), &span);
        if self.nested.is_empty() {
            return;
        }
        for event in span.span.events() {
            let attributes = thing(Attributes::new(event, 3));
            counts.count(self.nested.clone(), &attributes, &EventScope { span: &span, event });
        }
    }

    fn count_metric<'a>(
        &self,
        resource: ResourceEntry<'a>,
        scope: ScopeEntry<'a>,
        record: &'a [u8],
        counts: &mut Counts<'a>,
    ) {
        let metric = MetricScope { resource, scope, metric: Metric::read(record) };
        counts.count(self.records.clone(), &thing(None, resource, scope), &metric);
        let Some(kind) = metric.metric.kind.filter(|_| !self.nested.is_empty()) else { return };
        for point in metric.metric.points() {
            let attributes = Attributes::new(point, kind.attributes_field());
            let thing = thing(Some(attributes), resource, scope);
            counts.count(self.nested.clone(), &thing, &PointScope { metric: &metric, point });
        }
    }

    fn count_log<'a>(
        &self,
        resource: ResourceEntry<'a>,
        scope: ScopeEntry<'a>,
        record: &'a [u8],
        counts: &mut Counts<'a>,
    ) {
        let log = LogScope { resource, scope, log: LogRecord::read(record) };
        let thing = thing(Some(log.log.attributes()), resource, scope);
        counts.count(self.records.clone(), &thing, &log);
    }
}

fn thing<'a>(
    attributes: Option<Attributes<'a>>,
    resource: ResourceEntry<'a>,
    scope: ScopeEntry<'a>,
) -> Thing<'a> {
    Thing { attributes, scope, resource: resource.resource() }
}
