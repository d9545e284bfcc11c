//! `probabilistic_sampler`: keeps a share of spans or log records, each judged by itself.
//!
//! What is kept says with what probability it was: spans by `ot=th:…` in their trace state, log
//! records by the attribute `sampling.threshold`. Source: contrib
//! processor/probabilisticsamplerprocessor, as of v0.156.

mod counts;
mod edit;
mod sampler;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;

use super::items::Items;
use crate::batch::Batch;
use crate::config::{Path, Problems};
use crate::consumer::{Consumer, Next, Rejected};
use crate::service::{BuildError, Context, ProcessorConfig};
use crate::wire::{Empties, Signal};
use crate::{config_enum, config_struct};
use counts::Counts;
pub use counts::DESCRIPTORS;
use edit::Edit;
use sampler::{MAX_PRECISION, MIN_SHARE, Method, Mode, Sampler};

config_enum! {
    /// Where the randomness of a log record comes from.
    pub enum AttributeSource {
        /// From its trace id; from an attribute if it has none.
        TraceId = "traceID",
        /// From an attribute.
        Record = "record",
    }
}

config_struct! {
    /// `probabilistic_sampler`.
    pub struct ProbabilisticSamplerConfig {
        /// The share that is kept, in percent; 100 and more is everything.
        pub sampling_percentage: f64 = 0.0,
        /// What randomness is held against which threshold.
        pub mode: Mode = Mode::HashSeed,
        /// Of `hash_seed`: samplers in a row that are to choose independently have other numbers.
        pub hash_seed: u32 = 0,
        /// Whether what has no randomness, or contradicts itself, is rejected.
        pub fail_closed: bool = true,
        /// Hexadecimal digits of the threshold.
        pub sampling_precision: u32 = 4,
        /// Of log records: where the randomness comes from.
        pub attribute_source: AttributeSource = AttributeSource::TraceId,
        /// Of log records: the attribute whose hash is the randomness.
        pub from_attribute: String = String::new(),
        /// Of log records: the attribute that asks for another percentage.
        pub sampling_priority: String = String::new(),
    }
}

impl ProbabilisticSamplerConfig {
    /// In 32 bits, as the Collector reads it.
    #[allow(clippy::cast_possible_truncation, reason = "that is what is wanted")]
    fn percentage(&self) -> f32 {
        self.sampling_percentage as f32
    }
}

impl ProcessorConfig for ProbabilisticSamplerConfig {
    const TYPE: &'static str = "probabilistic_sampler";
    const SIGNALS: &'static [Signal] = &[Signal::Traces, Signal::Logs];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let share = f64::from(self.percentage()) / 100.0;
        let problem = match share {
            share if !share.is_finite() => "is not a percentage",
            share if share < 0.0 => "must not be negative",
            share if share > 0.0 && share < MIN_SHARE => "is too small to be told from 0",
            _ => "",
        };
        if !problem.is_empty() {
            problems.report(&at.key("sampling_percentage"), problem);
        }
        if !(1..=MAX_PRECISION).contains(&self.sampling_precision) {
            let text = format!("must be between 1 and {MAX_PRECISION}");
            problems.report(&at.key("sampling_precision"), text);
        }
    }

    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        let precision = self.sampling_precision;
        let method = Method::new(self.mode, self.percentage(), self.hash_seed, precision);
        Ok(Arc::new(ProbabilisticSampler {
            sampler: Sampler { method, precision, fail_closed: self.fail_closed },
            hashes_trace_ids: self.attribute_source == AttributeSource::TraceId,
            from_attribute: self.from_attribute.clone().into_bytes(),
            priority: self.sampling_priority.clone().into_bytes(),
            counts: Counts::new(ctx, &self.from_attribute),
            items: Items::new(ctx),
            next,
        }))
    }
}

struct ProbabilisticSampler {
    sampler: Sampler,
    /// Of log records, where randomness is a hash.
    hashes_trace_ids: bool,
    /// Empty if no attribute is hashed.
    from_attribute: Vec<u8>,
    /// The attribute of log records that asks for a percentage; empty if there is none.
    priority: Vec<u8>,
    counts: Counts,
    items: Items,
    next: Next,
}

#[async_trait]
impl Consumer for ProbabilisticSampler {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let kept = {
            let mut edit = Edit::new(self, batch.signal());
            let kept = batch.rewrite(Empties::Drop, &mut edit);
            self.counts.add(&edit.tally);
            kept
        };
        self.items.note(batch.items(), kept.items());
        drop(batch);
        match kept.items() {
            0 => Ok(()),
            _ => self.next.consume(kept).await,
        }
    }
}
