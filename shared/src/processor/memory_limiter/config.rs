//! The section `memory_limiter`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::metrics::Counts;
use super::{Door, Limiter, Limits, used_bytes};
use crate::config::{Decode, Node, Path, Problems};
use crate::config_struct;
use crate::consumer::Next;
use crate::service::{BuildError, Context, ProcessorConfig};
use crate::telemetry::memory;
use crate::wire::Signal;

const MIB: u64 = 1024 * 1024;

config_struct! {
    /// The keys of `memory_limiter`.
    pub struct MemoryLimiterKeys {
        /// How often memory is looked at.
        pub check_interval: Duration = Duration::ZERO,
        /// What the process must not reach, in MiB; wins over the percentage.
        pub limit_mib: u32 = 0,
        /// Room for what comes between two checks, in MiB. Default: a fifth of the limit.
        pub spike_limit_mib: u32 = 0,
        /// What the process must not reach, in percent of the control group's limit or else of
        /// the machine's memory.
        pub limit_percentage: u32 = 0,
        /// Room for what comes between two checks, in percent of the same. Default: a fifth of
        /// the limit.
        pub spike_limit_percentage: u32 = 0,
        /// Accepted; there is no garbage collection.
        pub min_gc_interval_when_soft_limited: Duration = Duration::from_secs(10),
        /// Accepted; there is no garbage collection.
        pub min_gc_interval_when_hard_limited: Duration = Duration::ZERO,
        /// Accepted; there is no garbage collection.
        pub max_gc_interval_when_soft_limited: Duration = Duration::from_secs(30),
        /// Accepted; there is no garbage collection.
        pub max_gc_interval_when_hard_limited: Duration = Duration::from_secs(30),
    }
}

/// `memory_limiter`, with the one limiter that all pipelines with its id share.
#[derive(Debug, Default)]
pub struct MemoryLimiterConfig {
    keys: MemoryLimiterKeys,
    limiter: OnceLock<Arc<Limiter>>,
}

impl Decode for MemoryLimiterConfig {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let keys = MemoryLimiterKeys::decode(node, at, problems)?;
        Some(Self { keys, limiter: OnceLock::new() })
    }
}

impl ProcessorConfig for MemoryLimiterConfig {
    const TYPE: &'static str = "memory_limiter";
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        self.keys.validate(at, problems);
    }

    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        let limiter = match self.limiter.get() {
            Some(limiter) => Arc::clone(limiter),
            None => {
                let limits = self.keys.limits(memory::total)?;
                tracing::info!(
                    processor = %ctx.id,
                    limit_mib = limits.hard / MIB,
                    spike_limit_mib = (limits.hard - limits.soft) / MIB,
                    check_interval = ?self.keys.check_interval,
                    "memory limiter configured"
                );
                let start =
                    || Arc::new(Limiter::start(limits, self.keys.check_interval, used_bytes));
                Arc::clone(self.limiter.get_or_init(start))
            }
        };
        Ok(Arc::new(Door { limiter, counts: Counts::new(&ctx.id.to_string(), ctx.signal), next }))
    }
}

impl MemoryLimiterKeys {
    /// The limits in bytes; `total` is asked only when they are given in percent.
    pub(super) fn limits(&self, total: impl FnOnce() -> Option<u64>) -> Result<Limits, BuildError> {
        let (hard, spike) = match u64::from(self.limit_mib) {
            0 => {
                let total = total().ok_or_else(|| {
                    BuildError::new("cannot tell how much memory there is; set `limit_mib`")
                })?;
                let percent = |share: u32| total / 100 * u64::from(share);
                (percent(self.limit_percentage), percent(self.spike_limit_percentage))
            }
            limit => (limit * MIB, u64::from(self.spike_limit_mib) * MIB),
        };
        let spike = if spike == 0 { hard / 5 } else { spike };
        Ok(Limits { soft: hard.saturating_sub(spike), hard })
    }

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let mut report = |key: &str, wrong: bool, message: &str| {
            if wrong {
                problems.report(&at.key(key), message);
            }
        };
        report(
            "check_interval",
            self.check_interval.is_zero(),
            "'check_interval' must be greater than zero",
        );
        report(
            "limit_mib",
            self.limit_mib == 0 && self.limit_percentage == 0,
            "'limit_mib' or 'limit_percentage' must be greater than zero",
        );
        report(
            "limit_percentage",
            self.limit_percentage > 100,
            "'limit_percentage' must not be greater than 100",
        );
        report(
            "spike_limit_percentage",
            self.spike_limit_percentage > 100,
            "'spike_limit_percentage' must not be greater than 100",
        );
        let spike_mib = self.limit_mib > 0 && self.spike_limit_mib >= self.limit_mib;
        report("spike_limit_mib", spike_mib, "'spike_limit_mib' must be smaller than 'limit_mib'");
        let spike_percentage = self.limit_mib == 0
            && self.limit_percentage > 0
            && self.spike_limit_percentage >= self.limit_percentage;
        report(
            "spike_limit_percentage",
            spike_percentage,
            "'spike_limit_percentage' must be smaller than 'limit_percentage'",
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::Sink;
    use super::*;
    use crate::config::testing::section;
    use crate::queue::tests::context;

    #[tokio::test]
    async fn pipelines_share_the_limiter_of_an_id() {
        let json = json!({"check_interval": "1s", "limit_mib": 1_000_000});
        let (config, problems, _) = section(&json, MemoryLimiterConfig::validate);
        assert_eq!(problems, [""; 0]);
        let first = config.build(&context(), Arc::new(Sink)).unwrap();
        let second = config.build(&context(), Arc::new(Sink)).unwrap();
        let limiter = config.limiter.get().unwrap();
        assert_eq!(Arc::strong_count(limiter), 3, "one for the section and one for each pipeline");
        drop((first, second));
        assert_eq!(Arc::strong_count(limiter), 1);
    }
}
