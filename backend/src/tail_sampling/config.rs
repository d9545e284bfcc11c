//! `tail_sampling`: keys, defaults, and what can be wrong with them.

use std::sync::Arc;
use std::time::Duration;

use shared::config::{Path, Problems};
use shared::consumer::Next;
use shared::service::{BuildError, Context, Gate, Kind, ProcessorConfig, Turned};
use shared::wire::Signal;
use shared::{config_enum, config_struct};

use super::TailSampling;
use super::inscription::RecordPolicy;
use super::policy::{Asked, Compat, NamedPolicy, Seen, lint};
use super::sealing::Compression;
use super::tier::TierConfig;

config_struct! {
    /// `tail_sampling`. Source: contrib v0.156 tailsamplingprocessor/config.go.
    pub(crate) struct TailSamplingConfig {
        /// How long a trace is kept from its first span until it is judged.
        pub decision_wait: Duration = Duration::from_secs(30),
        /// If not 0, a trace is judged so long after its root, should that come earlier.
        pub decision_wait_after_root_received: Duration = Duration::ZERO,
        /// Ours: if not 0, a trace is judged so long after its last span, should that come earlier.
        pub decision_wait_after_idle: Duration = Duration::ZERO,
        /// Ours: if not 0, a trace of so many spans is judged at once.
        pub decision_after_spans: u64 = 0,
        /// Ours: a trace of so many bytes is judged at once; 0 is never. Default: an eighth of a
        /// shard's share of `max_buffer_bytes`, so that no trace drives out the others.
        pub decision_after_bytes: Option<u64> = None,
        /// If not 0, a trace that grows beyond so many bytes before it is judged is not kept,
        /// whatever the policies say.
        pub maximum_trace_size_bytes: u64 = 0,
        /// Traces that wait at most; the oldest is judged before its time when there are more.
        pub num_traces: usize = 50_000,
        /// Accepted for the Collector's sake; tables grow as they need.
        pub expected_new_traces_per_sec: u64 = 0,
        /// The policies; a trace is kept if any of them wants it.
        pub policies: Vec<NamedPolicy> = Vec::new(),
        /// How many decisions are remembered for late spans.
        pub decision_cache: DecisionCacheConfig = DecisionCacheConfig::default(),
        /// Whether a trace that one policy keeps is not shown to those after it.
        pub sample_on_first_match: bool = false,
        /// Whether a stop throws waiting traces away instead of judging what is there of them.
        pub drop_pending_traces_on_shutdown: bool = false,
        /// Ours: bytes held at most; the oldest traces are judged before their
        /// time when there are more. Default: half of the memory of the container or machine.
        pub max_buffer_bytes: Option<usize> = None,
        /// Ours: whether the decisions are counted and everything is kept.
        pub dry_run: bool = false,
        /// Ours: where the policy that kept a trace is recorded. In the Collector the feature gate
        /// `processor.tailsamplingprocessor.recordpolicy` does that, on scopes.
        pub record_policy: RecordPolicy = RecordPolicy::None,
        /// Ours: whether samplers heed `th` and `rv` of trace states, and kept spans say by `th` how
        /// hard it was to be kept. In the Collector the feature gate
        /// `processor.tailsamplingprocessor.usetracestate` does that.
        pub use_tracestate: bool = false,
        /// Ours: the release of the Collector whose decisions are copied where releases differ.
        pub compat: Compat = Compat::V0156,
        /// Ours: the backends that share budgets with `cluster: true`.
        pub tier: TierConfig = TierConfig::default(),
        /// Ours: `lz4` seals what is buffered, for less than half of its size.
        pub buffer_compression: Compression = Compression::None,
        /// Ours: whether the spans of traces whose outcome is certain leave, or are let go, before
        /// their trace is due. No decision, vote or count depends on it.
        pub early_release: bool = true,
        /// Whether nothing more is taken in at `num_traces` or `max_buffer_bytes`, instead of
        /// judging traces before their time. Senders wait a moment and are then refused.
        pub block_on_overflow: bool = false,
        /// When traces are judged.
        pub sampling_strategy: SamplingStrategy = SamplingStrategy::TraceComplete,
        /// Accepted for the Collector's sake: there is a shard for each worker thread.
        pub num_shards: u32 = 1,
        /// Refused: the buffer is in memory.
        pub tail_storage: Option<String> = None,
    }
}

config_enum! {
    /// `sampling_strategy`.
    pub(crate) enum SamplingStrategy {
        /// When they are due.
        TraceComplete = "trace-complete",
        /// Piece by piece as they come in, by what the piece alone holds: what a policy wants leaves
        /// at once, and what none wanted when it is due is not kept. For policies without a state.
        SpanIngest = "span-ingest",
    }
}

config_struct! {
    /// `decision_cache`: how many decisions are remembered; 0 turns memory off, as in the
    /// Collector, and a late span then begins a trace of its own.
    pub(crate) struct DecisionCacheConfig {
        /// Sampled traces; about 40 bytes each, with the policy that kept them.
        pub sampled_cache_size: usize = 100_000,
        /// Other traces; 8 bytes each, with the policy that dropped them.
        pub non_sampled_cache_size: usize = 1_000_000,
    }
}

/// The Collector records policies behind this gate.
pub(crate) const RECORD_POLICY_GATE: Gate = Gate {
    name: "processor.tailsamplingprocessor.recordpolicy",
    turned: Turned::On,
    kind: Kind::Processor,
    type_names: &[TailSamplingConfig::TYPE],
    key: "record_policy",
    value: "scope",
};

/// The Collector reads and writes thresholds behind this gate.
pub(crate) const USE_TRACESTATE_GATE: Gate = Gate {
    name: "processor.tailsamplingprocessor.usetracestate",
    turned: Turned::On,
    kind: Kind::Processor,
    type_names: &[TailSamplingConfig::TYPE],
    key: "use_tracestate",
    value: "true",
};

impl ProcessorConfig for TailSamplingConfig {
    const TYPE: &'static str = "tail_sampling";
    /// What is written on spans, what is remembered, and whether all of this is a rehearsal, stays
    /// for as long as spans may come that were promised otherwise.
    const LIVE: &'static [&'static str] = &[
        "policies",
        "sample_on_first_match",
        "compat",
        "decision_wait",
        "decision_wait_after_root_received",
        "decision_wait_after_idle",
        "decision_after_spans",
        "decision_after_bytes",
        "num_traces",
        "max_buffer_bytes",
        "expected_new_traces_per_sec",
        "drop_pending_traces_on_shutdown",
    ];
    const SIGNALS: &'static [Signal] = &[Signal::Traces];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.decision_wait.is_zero() {
            problems.report(&at.key("decision_wait"), "must be above 0");
        }
        if self.num_traces == 0 {
            problems.report(&at.key("num_traces"), "must be above 0");
        }
        if self.max_buffer_bytes == Some(0) {
            problems.report(&at.key("max_buffer_bytes"), "must be above 0");
        }
        if self.use_tracestate && self.sample_on_first_match {
            problems.warn(
                &at.key("use_tracestate"),
                "thresholds may be too high with sample_on_first_match: a later policy may want a \
                 trace at a lower one",
            );
        }
        self.tier.validate(&at.key("tier"), problems);
        self.refuse_other_stores(at, problems);
        self.warn_of_idle_keys(at, problems);
        let at = at.key("policies");
        if self.policies.is_empty() {
            problems.report(&at, "must not be empty, or every trace would be dropped");
        }
        for (index, policy) in self.policies.iter().enumerate() {
            let at = at.index(index);
            if policy.name.is_empty() {
                problems.report(&at, "name must be set");
            } else if self.policies[..index].iter().any(|other| other.name == policy.name) {
                let message = format!("\"{}\" is the name of an earlier policy too", policy.name);
                problems.report(&at.key("name"), message);
            }
            policy.validate(&at, problems);
            if policy.shares_tier() && !self.tier.is_set() {
                let message = "has cluster: true, which needs to know how many backends there are: \
                               set tier";
                problems.report(&at, message);
            }
        }
        if self.sampling_strategy == SamplingStrategy::SpanIngest {
            self.check_pieces(&at, problems);
        }
        let asked = match self.sample_on_first_match {
            true => Asked::UpToFirstMatch,
            false => Asked::All,
        };
        lint(&self.policies, asked, &at, problems);
        let marks: usize = self.policies.iter().map(NamedPolicy::marks).sum();
        if marks > Seen::MAX {
            let message = format!(
                "policies look for {marks} things in spans, sub-policies included; there can be \
                 {} at most",
                Seen::MAX
            );
            problems.report(&at, message);
        }
    }

    fn build(&self, ctx: &Context, next: Next) -> Result<Next, BuildError> {
        Ok(Arc::new(TailSampling::start(self, ctx, &next)))
    }
}

impl TailSamplingConfig {
    /// What cannot be told of a piece of a trace, and what never is.
    fn check_pieces(&self, at: &Path<'_>, problems: &mut Problems) {
        for (index, policy) in self.policies.iter().enumerate() {
            if policy.is_stateful() {
                problems.report(
                    &at.index(index),
                    "cannot be used with sampling_strategy: span-ingest, because what it says of a \
                     piece does not hold for the trace",
                );
            } else if policy.drops() {
                problems.warn(
                    &at.index(index),
                    "keeps every trace from being sampled with sampling_strategy: span-ingest: a \
                     later span may still be one to drop it for, and at decision_wait it is not \
                     sampled, as in the Collector",
                );
            }
        }
    }

    /// What the Collector can do and this does otherwise.
    fn refuse_other_stores(&self, at: &Path<'_>, problems: &mut Problems) {
        if !(1..=256).contains(&self.num_shards) {
            problems.report(&at.key("num_shards"), "must be from 1 to 256");
        }
        if self.tail_storage.is_some() {
            problems.report(
                &at.key("tail_storage"),
                "is not supported: the buffer is in memory, within max_buffer_bytes; \
                 buffer_compression makes it smaller",
            );
        }
    }

    /// Settings that never have an effect beside others.
    fn warn_of_idle_keys(&self, at: &Path<'_>, problems: &mut Problems) {
        let waits = [
            ("decision_wait_after_root_received", self.decision_wait_after_root_received),
            ("decision_wait_after_idle", self.decision_wait_after_idle),
        ];
        for (key, wait) in waits {
            if wait >= self.decision_wait {
                let message = format!(
                    "has no effect: it is not below decision_wait ({:?})",
                    self.decision_wait
                );
                problems.warn(&at.key(key), message);
            }
        }
        if let Some(bytes) = self.decision_after_bytes.filter(|bytes| *bytes > 0)
            && self.maximum_trace_size_bytes >= bytes
        {
            let message = format!(
                "has no effect: traces are judged at decision_after_bytes ({bytes}), before they \
                 grow so large"
            );
            problems.warn(&at.key("maximum_trace_size_bytes"), message);
        }
        if self.maximum_trace_size_bytes > 0 && self.decision_cache.non_sampled_cache_size == 0 {
            let message = "a trace that was too large begins anew with its next span, because \
                           decision_cache::non_sampled_cache_size is 0";
            problems.warn(&at.key("maximum_trace_size_bytes"), message);
        }
    }
}

#[cfg(test)]
mod tests;
