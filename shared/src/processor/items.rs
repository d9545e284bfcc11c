//! What comes to a processor and what it hands on, for those that answer at once.
//!
//! Source: collector processor/processorhelper/obsreport.go.

use crate::metric_set;
use crate::service::Context;
use crate::telemetry::metrics::Descriptor;

metric_set! {
    /// Items of a processor.
    struct ItemMetrics ["processor", "otel_signal"];
    /// Number of items passed to the processor.
    incoming: Counter = "otelcol_processor_incoming_items", "{item}";
    /// Number of items emitted from the processor.
    outgoing: Counter = "otelcol_processor_outgoing_items", "{item}";
}

/// The metrics that processors share.
pub const DESCRIPTORS: &[&[Descriptor]] = &[ItemMetrics::DESCRIPTORS];

/// Counts the items of one processor.
pub struct Items(ItemMetrics);

impl Items {
    /// Those of the processor that is being built.
    pub fn new(ctx: &Context) -> Self {
        let labels = [("processor", &*ctx.id.to_string()), ("otel_signal", ctx.signal.name())];
        Self(ItemMetrics::new(&labels))
    }

    /// Counts a batch: the items that came and those that are handed on.
    pub fn note(&self, incoming: usize, outgoing: usize) {
        self.0.incoming.increment(incoming as u64);
        self.0.outgoing.increment(outgoing as u64);
    }
}
