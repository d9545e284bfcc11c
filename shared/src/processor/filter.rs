//! `filter`: drops what conditions hold for, in the Collector's language or in the words before it.
//!
//! Each group of conditions is a pass over the batch. What is left of a batch is written anew with
//! everything else byte for byte; a batch that loses nothing goes on as it came. Parents that have
//! nothing left go as well, but for a span without events. A batch that loses everything is
//! answered with success.
//!
//! Source: contrib processor/filterprocessor.

mod before_ottl;
#[cfg(test)]
mod before_ottl_tests;
mod config;
mod legacy;
mod pass;
#[cfg(test)]
mod tests;

use std::time::Instant;

use async_trait::async_trait;
use metrics::Counter;

pub use config::FilterConfig;

use crate::batch::Batch;
use crate::consumer::{Consumer, Next, Rejected};
use crate::metric_set;
use crate::ottl::{EvalError, Group};
use crate::processor::items::Items;
use crate::processor::ottl::{ErrorMode, Failures};
use crate::processor::selection::Selection;
use crate::telemetry::metrics::Descriptor;
use crate::wire::Signal;
use crate::wire::rewrite::Empties;
use before_ottl::Selected;
use pass::Pass;

metric_set! {
    /// Spans that conditions hold for.
    struct SpanMetrics ["filter"];
    /// Number of spans dropped by the filter processor.
    filtered: Counter = "otelcol_processor_filter_spans_filtered", "1";
}

metric_set! {
    /// Data points that conditions hold for.
    struct PointMetrics ["filter"];
    /// Number of metric data points dropped by the filter processor.
    filtered: Counter = "otelcol_processor_filter_datapoints_filtered", "1";
}

metric_set! {
    /// Log records that conditions hold for.
    struct RecordMetrics ["filter"];
    /// Number of logs dropped by the filter processor.
    filtered: Counter = "otelcol_processor_filter_logs_filtered", "1";
}

metric_set! {
    /// What goes wrong.
    struct ErrorMetrics ["filter", "data_type"];
    /// Number of conditions that could not be evaluated on a record; ours.
    errors: Counter = "otelcol_processor_filter_condition_errors", "{error}";
}

/// All metrics of the filter.
pub const DESCRIPTORS: &[&[Descriptor]] = &[
    SpanMetrics::DESCRIPTORS,
    PointMetrics::DESCRIPTORS,
    RecordMetrics::DESCRIPTORS,
    ErrorMetrics::DESCRIPTORS,
];

/// The filter of one pipeline.
struct Filter {
    groups: Vec<(Group, ErrorMode)>,
    /// Of the form before OTTL: what does not mean a record drops it.
    selections: Vec<Selection>,
    failures: Failures,
    filtered: Counter,
    items: Items,
    next: Next,
}

/// The counter of what a signal loses.
fn filtered(filter: &str, signal: Signal) -> Counter {
    let labels = &[("filter", filter)];
    match signal {
        Signal::Traces => SpanMetrics::new(labels).filtered,
        Signal::Metrics => PointMetrics::new(labels).filtered,
        Signal::Logs => RecordMetrics::new(labels).filtered,
    }
}

impl Filter {
    /// What the conditions leave of a batch.
    fn filter(&self, batch: &Batch) -> Result<Batch, EvalError> {
        let mut left = batch.clone();
        for selection in &self.selections {
            let mut selected = Selected::new(selection, batch.signal());
            let filtered = left.rewrite(Empties::Drop, &mut selected);
            left = filtered;
        }
        for (group, error_mode) in &self.groups {
            let filtered = {
                let failed =
                    |text: &str, error: &EvalError| self.failures.note(*error_mode, text, error);
                let mut pass = Pass::new(group, failed);
                let filtered = left.rewrite(Empties::Drop, &mut pass);
                pass.finish()?;
                filtered
            };
            left = filtered;
        }
        Ok(left)
    }
}

#[async_trait]
impl Consumer for Filter {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let left = match self.filter(&batch) {
            Ok(left) => left,
            Err(error) => {
                return Err(Rejected::permanent(batch, format!("a condition failed: {error}")));
            }
        };
        self.filtered.increment(batch.items().saturating_sub(left.items()) as u64);
        self.items.note(batch.items(), left.items());
        if left.items() == 0 && batch.items() > 0 {
            return Ok(());
        }
        drop(batch);
        self.next.consume(left).await
    }

    async fn shutdown(&self, _deadline: Instant) {}
}
