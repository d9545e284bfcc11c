//! What the processor counts.

use shared::metric_set;
use shared::metrics::Counter;
use shared::telemetry::metrics::Descriptor;

use super::deadlines::Cause;
use super::evaluate::Standing;
use super::policy::{ADAPTIVE_DESCRIPTORS, Decision};
use super::shard::Held;
use super::tally::{Amount, PolicyTally, Tally};
use super::tier;

/// All metrics of this processor.
pub(crate) const DESCRIPTORS: &[&[Descriptor]] = &[
    Metrics::DESCRIPTORS,
    GlobalMetrics::DESCRIPTORS,
    VoteMetrics::DESCRIPTORS,
    PolicyMetrics::DESCRIPTORS,
    ExclusiveMetrics::DESCRIPTORS,
    DryRunGlobalMetrics::DESCRIPTORS,
    DryRunVoteMetrics::DESCRIPTORS,
    DryRunChangeMetrics::DESCRIPTORS,
    CacheMetrics::DESCRIPTORS,
    CertainMetrics::DESCRIPTORS,
    RememberedMetrics::DESCRIPTORS,
    SampledOutMetrics::DESCRIPTORS,
    LostMetrics::DESCRIPTORS,
    CauseMetrics::DESCRIPTORS,
    ADAPTIVE_DESCRIPTORS,
    tier::DESCRIPTORS,
];

metric_set! {
    /// Traces, spans and times of all instances of the processor.
    pub(super) struct Metrics [];
    /// Number of traces that began to wait for a decision.
    new_traces: Counter = "otelcol_processor_tail_sampling_new_trace_id_received", "{trace}";
    /// Traces that wait for a decision.
    traces: Gauge = "otelcol_processor_tail_sampling_sampling_traces_on_memory", "{trace}";
    /// Time that one round of decisions took, without what it waited for the next component, in milliseconds.
    timer_latency: Histogram = "otelcol_processor_tail_sampling_sampling_decision_timer_latency", "ms";
    /// Time from the decision about a trace to the arrival of a late piece of it, in seconds.
    late_span_age: Histogram = "otelcol_processor_tail_sampling_sampling_late_span_age", "s";
    /// Time from the arrival of a trace's first span to its decision, in seconds.
    removal_age: Histogram = "otelcol_processor_tail_sampling_sampling_trace_removal_age", "s";
    /// Number of times that a policy failed to look at a span or to decide about a trace.
    evaluation_errors: Counter = "otelcol_processor_tail_sampling_sampling_policy_evaluation_error", "{error}";
    /// Number of traces that were gone when they were due; always 0, since none is evicted without a decision.
    dropped_too_early: Counter = "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early", "{trace}";
    /// Number of spans that came in.
    received_spans: Counter = "otelcol_processor_tail_sampling_spans_received", "{span}";
    /// Number of spans of sampled traces that the next component took.
    forwarded_spans: Counter = "otelcol_processor_tail_sampling_spans_forwarded", "{span}";
    /// Spans that wait for a decision or for the next component.
    held_spans: Gauge = "otelcol_processor_tail_sampling_spans_held", "{span}";
    /// Bytes of the trace buffer.
    held_bytes: Gauge = "otelcol_processor_tail_sampling_held_bytes", "By";
    /// Number of spans that a full inbox refused.
    refused_spans: Counter = "otelcol_processor_tail_sampling_inbox_refused_spans", "{span}";
    /// Number of traces that were not kept because they grew beyond maximum_trace_size_bytes.
    too_large: Counter = "otelcol_processor_tail_sampling_traces_dropped_too_large", "{trace}";
    /// Number of traces whose outcome was certain early and about which the policies then decided otherwise, by a fault of theirs; the early outcome stands.
    contradictions: Counter = "otelcol_processor_tail_sampling_early_outcome_contradictions", "{trace}";
    /// Number of kept spans that left without a new threshold, because their trace state cannot be read.
    unreadable_trace_states: Counter = "otelcol_processor_tail_sampling_count_spans_with_unparseable_tracestate", "{span}";
    /// Number of spans without a trace id, each judged by itself at once.
    spans_without_trace_id: Counter = "otelcol_processor_tail_sampling_spans_without_trace_id", "{span}";
}

metric_set! {
    /// Final decisions.
    pub(super) struct GlobalMetrics ["sampled", "decision"];
    /// Number of traces by their final decision.
    traces: Counter = "otelcol_processor_tail_sampling_global_count_traces_sampled", "{trace}";
}

metric_set! {
    /// Votes of the policies.
    pub(super) struct VoteMetrics ["policy", "sampled", "decision"];
    /// Number of traces by the vote of each policy, which need not be the final decision.
    traces: Counter = "otelcol_processor_tail_sampling_count_traces_sampled", "{trace}";
    /// Number of spans by the vote of each policy about their trace.
    spans: Counter = "otelcol_processor_tail_sampling_count_spans_sampled", "{span}";
    /// Number of bytes of spans by the vote of each policy about their trace, as they came, without resources and scopes.
    bytes: Counter = "otelcol_processor_tail_sampling_count_bytes_sampled", "By";
}

metric_set! {
    /// Work of the policies.
    pub(super) struct PolicyMetrics ["policy"];
    /// Number of times that the policy was asked about a trace.
    executions: Counter = "otelcol_processor_tail_sampling_sampling_policy_execution_count", "{execution}";
    /// Time that the policy took for that, in microseconds.
    time: Counter = "otelcol_processor_tail_sampling_sampling_policy_execution_time_sum", "us";
    /// Number of traces that the policy failed on; they were judged without it.
    errors: Counter = "otelcol_processor_tail_sampling_policy_errors", "{error}";
}

metric_set! {
    /// What would be lost without a policy.
    pub(super) struct ExclusiveMetrics ["policy"];
    /// Number of kept traces that no other policy voted for; not known, and not here, with sample_on_first_match.
    traces: Counter = "otelcol_processor_tail_sampling_exclusive_traces", "{trace}";
    /// Number of spans of kept traces that no other policy voted for; see exclusive_traces.
    spans: Counter = "otelcol_processor_tail_sampling_exclusive_spans", "{span}";
    /// Number of bytes of spans of kept traces that no other policy voted for, as they came, without resources and scopes.
    bytes: Counter = "otelcol_processor_tail_sampling_exclusive_bytes", "By";
}

metric_set! {
    /// Decisions of a processor in dry run.
    pub(super) struct DryRunGlobalMetrics ["sampled", "decision"];
    /// Number of traces by what would be decided about them if the processor were not in dry run.
    traces: Counter = "otelcol_processor_tail_sampling_dry_run_global_traces", "{trace}";
}

metric_set! {
    /// Votes of policies in dry run.
    pub(super) struct DryRunVoteMetrics ["policy", "sampled", "decision"];
    /// Number of traces by the vote of each policy in dry run.
    traces: Counter = "otelcol_processor_tail_sampling_dry_run_traces", "{trace}";
    /// Number of spans by the vote of each policy in dry run about their trace.
    spans: Counter = "otelcol_processor_tail_sampling_dry_run_spans", "{span}";
    /// Number of bytes of spans by the vote of each policy in dry run about their trace, as they came, without resources and scopes.
    bytes: Counter = "otelcol_processor_tail_sampling_dry_run_bytes", "By";
}

metric_set! {
    /// What would be otherwise with a policy that is in dry run.
    pub(super) struct DryRunChangeMetrics ["policy"];
    /// Number of traces that would be decided otherwise if the policy were not in dry run.
    traces: Counter = "otelcol_processor_tail_sampling_dry_run_changed_traces", "{trace}";
    /// Number of spans of traces that would be decided otherwise if the policy were not in dry run.
    spans: Counter = "otelcol_processor_tail_sampling_dry_run_changed_spans", "{span}";
    /// Number of bytes of spans of traces that would be decided otherwise if the policy were not in dry run, as they came, without resources and scopes.
    bytes: Counter = "otelcol_processor_tail_sampling_dry_run_changed_bytes", "By";
}

metric_set! {
    /// Traces whose outcome was certain early.
    pub(super) struct CertainMetrics ["sampled"];
    /// Number of traces whose outcome was certain before they were due, so that their spans were forwarded or let go at once.
    traces: Counter = "otelcol_processor_tail_sampling_early_outcomes", "{trace}";
}

metric_set! {
    /// Late spans.
    pub(super) struct CacheMetrics ["sampled"];
    /// Number of late spans that followed a remembered decision.
    spans: Counter = "otelcol_processor_tail_sampling_early_releases_from_cache_decision", "{span}";
}

metric_set! {
    /// Decisions that are remembered.
    pub(super) struct RememberedMetrics ["sampled"];
    /// Decisions that are remembered for late spans.
    entries: Gauge = "otelcol_processor_tail_sampling_decision_cache_entries", "{trace}";
    /// Decisions that can be remembered; when there are more, those that were not asked for longest are forgotten.
    capacity: Gauge = "otelcol_processor_tail_sampling_decision_cache_capacity", "{trace}";
    /// Bytes of the remembered decisions.
    bytes: Gauge = "otelcol_processor_tail_sampling_decision_cache_bytes", "By";
}

metric_set! {
    /// Spans that were not kept.
    pub(super) struct SampledOutMetrics ["reason"];
    /// Number of spans that were not kept: their trace was not sampled (decision), had not been when they came late (late_span), was thrown away at a stop, as configured (shutdown), or had grown beyond maximum_trace_size_bytes (too_large).
    spans: Counter = "otelcol_processor_tail_sampling_spans_sampled_out", "{span}";
}

metric_set! {
    /// Spans that should have been kept.
    pub(super) struct LostMetrics ["reason"];
    /// Number of spans of sampled traces that were lost: the next component rejected them for good (rejected), or had not taken them when the process had to stop (shutdown).
    spans: Counter = "otelcol_processor_tail_sampling_spans_lost", "{span}";
}

metric_set! {
    /// Why traces were judged when they were.
    pub(super) struct CauseMetrics ["reason"];
    /// Number of traces by why they were judged when they were: their wait was over (decision_wait), their root was in (root), no more spans came (idle), they had grown large (size) or too large to be kept (too_large), or, before their time, too many were waiting (num_traces), too many bytes were held (bytes), the process stops (shutdown), or a piece of them was decisive (span_ingest).
    traces: Counter = "otelcol_processor_tail_sampling_decision_reasons", "{trace}";
}

/// All handles of a processor.
pub(super) struct Handles {
    /// See [`Metrics`].
    pub(super) metrics: Metrics,
    decisions: [GlobalMetrics; 3],
    late: Pair<CacheMetrics>,
    certain: [CertainMetrics; 2],
    remembered: [RememberedMetrics; 2],
    sampled_out: [SampledOutMetrics; 4],
    causes: [CauseMetrics; Cause::COUNT],
    /// Only of a processor in dry run.
    rehearsed: Option<[DryRunGlobalMetrics; 3]>,
    policies: Vec<PolicyHandles>,
}

/// Where one policy is counted.
struct PolicyHandles {
    votes: [AmountHandles; 3],
    /// What is [alone](PolicyTally::alone), where that is known.
    alone: Option<AmountHandles>,
    work: PolicyMetrics,
}

/// Where an [`Amount`] is counted.
struct AmountHandles {
    traces: Counter,
    spans: Counter,
    bytes: Counter,
}

/// Handles of a set that counts amounts.
macro_rules! amount_handles {
    ($set:ident, $labels:expr) => {{
        let $set { traces, spans, bytes } = $set::new($labels);
        AmountHandles { traces, spans, bytes }
    }};
}

impl AmountHandles {
    fn add(&self, amount: Amount) {
        self.traces.increment(amount.traces);
        self.spans.increment(amount.spans);
        self.bytes.increment(amount.bytes);
    }
}

impl PolicyHandles {
    /// `policy` is the value of the label.
    fn new(policy: &str, standing: Standing) -> Self {
        let label = ("policy", policy);
        let votes = Decision::ALL.map(|decision| {
            let [sampled, decision] = decision_labels(decision);
            let labels = [label, sampled, decision];
            match standing {
                Standing::DryRun => amount_handles!(DryRunVoteMetrics, &labels),
                Standing::Applied | Standing::FirstMatch => amount_handles!(VoteMetrics, &labels),
            }
        });
        let alone = match standing {
            Standing::Applied => Some(amount_handles!(ExclusiveMetrics, &[label])),
            Standing::DryRun => Some(amount_handles!(DryRunChangeMetrics, &[label])),
            Standing::FirstMatch => None,
        };
        Self { votes, alone, work: PolicyMetrics::new(&[label]) }
    }

    fn add(&self, tally: &PolicyTally) {
        for (handles, amount) in self.votes.iter().zip(tally.votes) {
            handles.add(amount);
        }
        if let Some(alone) = &self.alone {
            alone.add(tally.alone);
        }
        let votes: u64 = tally.votes.iter().map(|amount| amount.traces).sum();
        self.work.executions.increment(votes + tally.errors);
        self.work.errors.increment(tally.errors);
        self.work.time.increment(u64::try_from(tally.time.as_micros()).unwrap_or(u64::MAX));
    }
}

/// The labels `sampled` and `decision`.
fn decision_labels(decision: Decision) -> [(&'static str, &'static str); 2] {
    let sampled = if decision == Decision::Sampled { "true" } else { "false" };
    [("sampled", sampled), ("decision", decision.label())]
}

/// Handles for sampled and for not sampled.
struct Pair<M> {
    sampled: M,
    not_sampled: M,
}

impl Handles {
    /// Resolves the handles. `policies` are the values of the `policy` label, in the order of the
    /// tallies; `dry_run` is of the processor as a whole.
    pub(super) fn new(policies: impl Iterator<Item = (String, Standing)>, dry_run: bool) -> Self {
        Self {
            metrics: Metrics::new(&[]),
            decisions: Decision::ALL.map(|decision| GlobalMetrics::new(&decision_labels(decision))),
            late: Pair {
                sampled: CacheMetrics::new(&[("sampled", "true")]),
                not_sampled: CacheMetrics::new(&[("sampled", "false")]),
            },
            certain: ["true", "false"].map(|sampled| CertainMetrics::new(&[("sampled", sampled)])),
            remembered: ["true", "false"]
                .map(|sampled| RememberedMetrics::new(&[("sampled", sampled)])),
            sampled_out: ["decision", "late_span", "shutdown", "too_large"]
                .map(|reason| SampledOutMetrics::new(&[("reason", reason)])),
            causes: Cause::ALL.map(|cause| CauseMetrics::new(&[("reason", cause.label())])),
            rehearsed: dry_run.then(|| {
                Decision::ALL.map(|decision| DryRunGlobalMetrics::new(&decision_labels(decision)))
            }),
            policies: policies
                .map(|(policy, standing)| PolicyHandles::new(&policy, standing))
                .collect(),
        }
    }

    /// Adds what a shard did. `published` is what its gauges showed before.
    #[allow(clippy::cast_precision_loss, reason = "gauges and seconds are far below 2^53")]
    pub(super) fn publish(&self, tally: &Tally, held: Held, published: &mut Held) {
        let metrics = &self.metrics;
        metrics.received_spans.increment(tally.received_spans);
        metrics.spans_without_trace_id.increment(tally.spans_without_trace_id);
        metrics.unreadable_trace_states.increment(tally.unreadable_trace_states);
        metrics.new_traces.increment(tally.new_traces);
        for (handle, traces) in self.decisions.iter().zip(tally.decisions) {
            handle.traces.increment(traces);
        }
        self.late.sampled.spans.increment(tally.forwarded_late_spans);
        self.late.not_sampled.spans.increment(tally.sampled_out_late_spans);
        let sampled_out = [
            tally.sampled_out_spans,
            tally.sampled_out_late_spans,
            tally.discarded_spans,
            tally.too_large_spans,
        ];
        for (handle, spans) in self.sampled_out.iter().zip(sampled_out) {
            handle.spans.increment(spans);
        }
        for (handle, traces) in self.certain.iter().zip(tally.certain) {
            handle.traces.increment(traces);
        }
        metrics.contradictions.increment(tally.contradictions);
        for (handle, traces) in self.causes.iter().zip(tally.causes) {
            handle.traces.increment(traces);
        }
        metrics.too_large.increment(tally.causes[Cause::TooLarge as usize]);
        for (seconds, count) in tally.late_ages.iter() {
            metrics.late_span_age.record_many(seconds as f64, count);
        }
        for (seconds, count) in tally.removal_ages.iter() {
            metrics.removal_age.record_many(seconds as f64, count);
        }
        for (handles, tally) in self.policies.iter().zip(&tally.policies) {
            handles.add(tally);
            metrics.evaluation_errors.increment(tally.errors);
        }
        for (handle, traces) in self.rehearsed.iter().flatten().zip(tally.rehearsed) {
            handle.traces.increment(traces);
        }
        // Shards share the gauges, so each moves them by what changed.
        metrics.traces.increment(held.traces as f64 - published.traces as f64);
        metrics.held_spans.increment(held.spans as f64 - published.spans as f64);
        metrics.held_bytes.increment(held.bytes as f64 - published.bytes as f64);
        let remembered =
            self.remembered.iter().zip(held.remembered.iter().zip(&published.remembered));
        for (handles, (now, before)) in remembered {
            handles.entries.increment(now.entries as f64 - before.entries as f64);
            handles.capacity.increment(now.capacity as f64 - before.capacity as f64);
            handles.bytes.increment(now.bytes as f64 - before.bytes as f64);
        }
        *published = held;
    }
}
