//! What shards judge by: policies, settings, and where both are counted. A change of the
//! configuration makes a new one, which each shard takes over between two traces.

use std::sync::Arc;
use std::time::Duration;

use shared::telemetry::{cgroup, process};

use super::config::{SamplingStrategy, TailSamplingConfig};
use super::evaluate::Policies;
use super::inscription::Inscription;
use super::metrics::Handles;
use super::outgoing::RequestSize;
use super::policy::{Names, Stock, Terms};
use super::segments::SEGMENT_BYTES;
use super::shard::Settings;
use super::tier::TierSize;

/// How large a request of sampled spans becomes: well below the 4 MiB that gRPC servers take.
const REQUEST: RequestSize = RequestSize { spans: 8192, bytes: 1 << 20, max_bytes: 3 << 20 };
/// A trace that takes one part in so many of its shard's room waits no longer, unless configured.
const LARGE_TRACE_SHARE: usize = 8;

/// See the module's head.
pub(super) struct Regime {
    /// The policies.
    pub(super) policies: Arc<Policies>,
    /// A shard's share of the settings.
    pub(super) settings: Settings,
    /// Metric handles.
    pub(super) handles: Handles,
    /// Whether a stop throws waiting traces away.
    pub(super) drop_pending: bool,
}

impl Regime {
    /// What a configuration says, for each of so many shards. `left` is of the one before.
    pub(super) fn new(
        config: &TailSamplingConfig,
        shards: usize,
        tier: &TierSize,
        names: &mut Names,
        left: Stock,
    ) -> Self {
        let use_tracestate = config.use_tracestate;
        let terms = Terms { use_tracestate, ..Terms::new(config.compat, tier.clone()) };
        let policies = Arc::new(Policies::build_after(left, config, &terms, names));
        let standings =
            policies.standings().map(|(policy, standing)| (names.label(policy), standing));
        let handles = Handles::new(standings, config.dry_run);
        let drop_pending = config.drop_pending_traces_on_shutdown;
        Self { policies, settings: settings(config, shards), handles, drop_pending }
    }
}

/// A shard's share of the settings.
pub(super) fn settings(config: &TailSamplingConfig, shards: usize) -> Settings {
    let wait = |wait: Duration| Some(wait).filter(|wait| !wait.is_zero());
    let max_bytes = config.max_buffer_bytes.unwrap_or_else(default_max_bytes);
    let cache = &config.decision_cache;
    let by_piece = config.sampling_strategy == SamplingStrategy::SpanIngest;
    Settings {
        decision_wait: config.decision_wait,
        wait_after_root: wait(config.decision_wait_after_root_received),
        wait_after_idle: wait(config.decision_wait_after_idle),
        decision_after_spans: config.decision_after_spans,
        decision_after_bytes: match config.decision_after_bytes {
            Some(bytes) => bytes,
            None => (max_bytes / shards / LARGE_TRACE_SHARE) as u64,
        },
        max_trace_bytes: match config.maximum_trace_size_bytes {
            0 => u64::MAX,
            bytes => bytes,
        },
        num_traces: config.num_traces.div_ceil(shards),
        max_bytes: max_bytes.div_ceil(shards),
        sampled_cache: cache.sampled_cache_size.div_ceil(shards),
        not_sampled_cache: cache.non_sampled_cache_size.div_ceil(shards),
        dry_run: config.dry_run,
        block_on_overflow: config.block_on_overflow,
        compression: config.buffer_compression,
        early_release: config.early_release && !by_piece,
        by_piece,
        inscription: Inscription { policy: config.record_policy, threshold: config.use_tracestate },
        segment_bytes: SEGMENT_BYTES,
        request: REQUEST,
    }
}

/// Half of the memory that the process may use.
pub(super) fn default_max_bytes() -> usize {
    let limits = [cgroup::memory_limit(), process::machine_memory()];
    let memory = limits.into_iter().flatten().min().unwrap_or(1 << 30);
    usize::try_from(memory / 2).unwrap_or(usize::MAX)
}
