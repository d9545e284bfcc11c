//! `transform`: changes what passes, by statements in the Collector's language.
//!
//! Each group of statements is a pass over the batch. A record that no statement changes stays byte
//! for byte, and so do the fields of a changed one that no statement names.
//!
//! Source: contrib processor/transformprocessor.

mod config;
mod pass;
#[cfg(test)]
mod tests;

use std::time::Instant;

use async_trait::async_trait;

pub use config::TransformConfig;

use crate::batch::Batch;
use crate::consumer::{Consumer, Next, Rejected};
use crate::metric_set;
use crate::ottl::{EvalError, Group};
use crate::processor::items::Items;
use crate::processor::ottl::{ErrorMode, Failures};
use crate::telemetry::metrics::Descriptor;
use crate::wire::rewrite::Empties;
use pass::Pass;

metric_set! {
    /// What goes wrong.
    struct ErrorMetrics ["processor", "data_type"];
    /// Number of conditions and statements that could not be evaluated on a record; ours.
    errors: Counter = "otelcol_processor_transform_statement_errors", "{error}";
}

/// All metrics of the processor.
pub const DESCRIPTORS: &[&[Descriptor]] = &[ErrorMetrics::DESCRIPTORS];

/// The processor of one pipeline.
struct Transform {
    groups: Vec<(Group, ErrorMode)>,
    failures: Failures,
    items: Items,
    next: Next,
}

impl Transform {
    /// What the statements make of a batch.
    fn transform(&self, batch: &Batch) -> Result<Batch, EvalError> {
        let mut done = batch.clone();
        for (group, error_mode) in &self.groups {
            let changed = {
                let failed =
                    |text: &str, error: &EvalError| self.failures.note(*error_mode, text, error);
                let mut pass = Pass::new(group, failed);
                let changed = done.rewrite(Empties::Keep, &mut pass);
                pass.finish()?;
                changed
            };
            done = changed;
        }
        Ok(done)
    }
}

#[async_trait]
impl Consumer for Transform {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        match self.transform(&batch) {
            Ok(changed) => {
                self.items.note(batch.items(), changed.items());
                drop(batch);
                self.next.consume(changed).await
            }
            Err(error) => Err(Rejected::permanent(batch, format!("a statement failed: {error}"))),
        }
    }

    async fn shutdown(&self, _deadline: Instant) {}
}
