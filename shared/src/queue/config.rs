//! The sections `sending_queue` and `retry_on_failure`.

use std::time::Duration;

use super::partitions::Names;
use crate::batch::Batch;
use crate::config::{Path, Problems, Section};
use crate::service::Commons;
use crate::{config_enum, config_struct};

config_enum! {
    /// What a queue's size counts.
    pub enum Sizer {
        /// Requests.
        Requests = "requests",
        /// Spans, data points or log records.
        Items = "items",
        /// Bytes on the wire, uncompressed.
        Bytes = "bytes",
    }
}

impl Sizer {
    /// The batch's size in this unit.
    pub fn measure(self, batch: &Batch) -> usize {
        match self {
            Sizer::Requests => 1,
            Sizer::Items => batch.items(),
            Sizer::Bytes => batch.bytes().len(),
        }
    }
}

config_struct! {
    /// `sending_queue`: what waits for a destination. Source: collector exporterhelper/queuebatch.
    #[derive(PartialEq)]
    pub struct QueueConfig {
        /// How many batches are sent at a time.
        pub num_consumers: usize = 10,
        /// Room, in the sizer's unit; what is being sent still takes room.
        pub queue_size: usize = 1000,
        /// What `queue_size` counts.
        pub sizer: Sizer = Sizer::Requests,
        /// Whether a full queue makes the sender wait instead of refusing.
        pub block_on_overflow: bool = false,
        /// Whether the sender waits for the outcome.
        pub wait_for_result: bool = false,
        /// Joins queued batches.
        pub batch: Section<QueueBatchConfig> = Section::off(),
    }
}

config_struct! {
    /// `sending_queue::batch`: joins queued batches before they are sent.
    #[derive(PartialEq)]
    pub struct QueueBatchConfig {
        /// The longest a batch waits for others.
        pub flush_timeout: Duration = Duration::from_millis(200),
        /// Sent when this size is reached.
        pub min_size: usize = 8192,
        /// Split above this size; 0 is no limit. A record that is larger by itself is sent alone.
        pub max_size: usize = 0,
        /// What the sizes count: items or bytes. Default: the queue's sizer if that is one of
        /// them, else items.
        pub sizer: Option<Sizer> = None,
        /// Which batches are not joined.
        pub partition: PartitionConfig = PartitionConfig::default(),
    }
}

config_struct! {
    /// `sending_queue::batch::partition`.
    #[derive(PartialEq)]
    pub struct PartitionConfig {
        /// Only batches whose senders gave the same values for these headers are joined.
        pub metadata_keys: Vec<String> = Vec::new(),
    }
}

impl PartitionConfig {
    pub(super) fn names(&self) -> Names {
        Names::new(&self.metadata_keys)
    }
}

config_struct! {
    /// `retry_on_failure`: how long and how often. Source: collector config/configretry.
    #[derive(PartialEq)]
    pub struct RetryConfig {
        /// Whether to try again at all.
        pub enabled: bool = true,
        /// Wait before the second attempt.
        pub initial_interval: Duration = Duration::from_secs(5),
        /// Each wait is spread by this factor to both sides.
        pub randomization_factor: f64 = 0.5,
        /// Each wait is this many times the one before.
        pub multiplier: f64 = 1.5,
        /// The longest wait, before it is spread.
        pub max_interval: Duration = Duration::from_secs(30),
        /// Gives up after this time; 0 never does.
        pub max_elapsed_time: Duration = Duration::from_secs(300),
    }
}

impl QueueConfig {
    /// Says which metadata keeps batches apart: to be called when an exporter is built.
    pub fn want_metadata(&self, commons: &Commons) {
        if let Some(batch) = self.batch.as_ref() {
            let names = batch.partition.names();
            commons.want(|wanted| names.iter().for_each(|name| wanted.header(name)));
        }
    }

    /// Reports everything that is wrong with a `sending_queue` that stands at `at`.
    pub fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.num_consumers == 0 {
            problems.report(&at.key("num_consumers"), "`num_consumers` must be positive");
        }
        if self.queue_size == 0 {
            problems.report(&at.key("queue_size"), "`queue_size` must be positive");
        }
        let Some(batch) = self.batch.as_ref() else { return };
        let batch_at = at.key("batch");
        batch.validate(&batch_at, problems);
        if batch.sizer(self.sizer) == self.sizer && batch.min_size > self.queue_size {
            problems.report(
                &batch_at.key("min_size"),
                "`min_size` must be less than or equal to `queue_size`",
            );
        }
    }
}

impl QueueBatchConfig {
    /// What the sizes count in a queue of this sizer.
    pub fn sizer(&self, queue: Sizer) -> Sizer {
        self.sizer.unwrap_or(match queue {
            Sizer::Requests | Sizer::Items => Sizer::Items,
            Sizer::Bytes => Sizer::Bytes,
        })
    }

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.sizer == Some(Sizer::Requests) {
            problems.report(
                &at.key("sizer"),
                "`batch` supports only `items` or `bytes` sizer, found \"requests\"",
            );
        }
        let (partition, names) = (at.key("partition"), &self.partition.metadata_keys);
        Names::validate(names, &partition.key("metadata_keys"), problems);
        if self.flush_timeout.is_zero() {
            problems.report(&at.key("flush_timeout"), "`flush_timeout` must be positive, found 0");
        }
        if self.max_size > 0 && self.max_size < self.min_size {
            problems.report(
                &at.key("max_size"),
                format!(
                    "`max_size` ({}) must be greater or equal to `min_size` ({})",
                    self.max_size, self.min_size
                ),
            );
        }
    }
}

impl RetryConfig {
    /// Reports everything that is wrong with a `retry_on_failure` that stands at `at`, also when
    /// it is not enabled.
    pub fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if !(0.0..=1.0).contains(&self.randomization_factor) {
            problems.report(
                &at.key("randomization_factor"),
                "randomization_factor value must be between 0 and 1",
            );
        }
        if !(self.multiplier >= 0.0 && self.multiplier.is_finite()) {
            problems.report(
                &at.key("multiplier"),
                "multiplier value must be greater than or equal to 0",
            );
        }
        if self.max_elapsed_time.is_zero() {
            return;
        }
        let at = at.key("max_elapsed_time");
        let intervals =
            [("initial_interval", self.initial_interval), ("max_interval", self.max_interval)];
        for (name, interval) in intervals {
            if self.max_elapsed_time < interval {
                problems.report(&at, format!("max_elapsed_time must not be less than {name}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::testing::section;

    #[track_caller]
    fn queue(json: &Value, expected: &[&str]) {
        assert_eq!(section(json, QueueConfig::validate).1, expected);
    }

    #[track_caller]
    fn retry(json: &Value, expected: &[&str]) {
        assert_eq!(section(json, RetryConfig::validate).1, expected);
    }

    #[test]
    fn defaults_are_valid() {
        queue(&json!({}), &[]);
        queue(&json!({"queue_size": 8192, "sizer": "items", "batch": null}), &[]);
        retry(&json!({}), &[]);
        retry(&json!({"max_elapsed_time": 0}), &[]);
    }

    #[test]
    fn every_problem_of_a_queue_is_named() {
        queue(
            &json!({"num_consumers": 0, "queue_size": 0, "batch": {
                "flush_timeout": "0s", "min_size": 10, "max_size": 5, "sizer": "requests",
                "partition": {"metadata_keys": ["x-tenant", "X-Tenant"]},
            }}),
            &[
                "a::num_consumers: `num_consumers` must be positive",
                "a::queue_size: `queue_size` must be positive",
                "a::batch::sizer: `batch` supports only `items` or `bytes` sizer, found \"requests\"",
                "a::batch::partition::metadata_keys::1: duplicate entry in metadata_keys: \"x-tenant\" (case-insensitive)",
                "a::batch::flush_timeout: `flush_timeout` must be positive, found 0",
                "a::batch::max_size: `max_size` (5) must be greater or equal to `min_size` (10)",
                "a::batch::min_size: `min_size` must be less than or equal to `queue_size`",
            ],
        );
    }

    #[test]
    fn sizes_are_compared_only_in_the_same_unit() {
        let small =
            |sizer: &str| json!({"queue_size": 5, "sizer": sizer, "batch": {"min_size": 9}});
        let problem = "a::batch::min_size: `min_size` must be less than or equal to `queue_size`";
        queue(&small("items"), &[problem]);
        queue(&small("bytes"), &[problem]);
        queue(&small("requests"), &[]);
    }

    #[test]
    fn every_problem_of_a_retry_is_named_even_when_it_is_off() {
        retry(
            &json!({"enabled": false, "randomization_factor": 1.5, "multiplier": -1,
                "max_elapsed_time": "1s"}),
            &[
                "a::randomization_factor: randomization_factor value must be between 0 and 1",
                "a::multiplier: multiplier value must be greater than or equal to 0",
                "a::max_elapsed_time: max_elapsed_time must not be less than initial_interval",
                "a::max_elapsed_time: max_elapsed_time must not be less than max_interval",
            ],
        );
    }
}
