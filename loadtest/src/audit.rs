//! Adds everything up: what was generated, what the tiers say they did, what arrived.

use std::collections::{BTreeMap, HashMap};

use crate::ledger::Received;
use crate::oracle::Policies;
use crate::report::{Report, thousands};
use crate::testbed::page::{Page, whole};
use crate::truth::{CallKey, Truth};

/// What an edge, or all of them, did with spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgeFlow {
    /// Accepted from clients.
    pub accepted: u64,
    /// Refused to clients.
    pub refused: u64,
    /// Taken by backends.
    pub sent: u64,
    /// Given up.
    pub failed: u64,
}

impl EdgeFlow {
    /// Reads it from a metrics page.
    pub fn of(page: &Page) -> Self {
        Self {
            accepted: page.sum("otelcol_receiver_accepted_spans"),
            refused: page.sum("otelcol_receiver_refused_spans"),
            sent: page.sum("otelcol_exporter_sent_spans"),
            failed: page.sum("otelcol_exporter_send_failed_spans"),
        }
    }
}

/// What a backend, or all of them, did with spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendFlow {
    /// Accepted from edges.
    pub accepted: u64,
    /// Counted for span metrics.
    pub measured: u64,
    /// Given to tail sampling.
    pub received: u64,
    /// Kept and handed on by tail sampling.
    pub forwarded: u64,
    /// Not kept by tail sampling.
    pub sampled_out: u64,
    /// Kept by tail sampling, but not taken by the exporter.
    pub lost: u64,
    /// Not yet decided, or not yet handed on.
    pub held: u64,
    /// Taken by the destination.
    pub exported: u64,
    /// Given up by the exporter.
    pub failed: u64,
    /// Spans that came after their trace was decided.
    pub late: u64,
    /// Traces that began to wait.
    pub traces: u64,
    /// Traces decided.
    pub decided: u64,
    /// Traces decided to be kept.
    pub sampled: u64,
}

impl BackendFlow {
    /// Reads it from a metrics page.
    pub fn of(page: &Page) -> Self {
        let sampling = |name: &str| page.sum(&format!("otelcol_processor_tail_sampling_{name}"));
        let decisions = "otelcol_processor_tail_sampling_global_count_traces_sampled";
        Self {
            accepted: page.sum("otelcol_receiver_accepted_spans"),
            measured: page.sum("otelcol_connector_spanmetrics_spans"),
            received: sampling("spans_received"),
            forwarded: sampling("spans_forwarded"),
            sampled_out: sampling("spans_sampled_out"),
            lost: sampling("spans_lost"),
            held: sampling("spans_held"),
            exported: page.sum("otelcol_exporter_sent_spans"),
            failed: page.sum("otelcol_exporter_send_failed_spans"),
            late: sampling("early_releases_from_cache_decision"),
            traces: sampling("new_trace_id_received"),
            decided: page.sum(decisions),
            sampled: page.sum_where(decisions, |sample| sample.label("sampled") == "true"),
        }
    }

    /// Whether every span that tail sampling was given is accounted for.
    pub fn is_conserved(&self) -> bool {
        self.received == self.forwarded + self.sampled_out + self.lost + self.held
    }

    /// The sum, spelled out.
    pub fn sum(&self) -> String {
        let Self { received, forwarded, sampled_out, lost, held, .. } = *self;
        let [received, forwarded, sampled_out, lost, held] =
            [received, forwarded, sampled_out, lost, held].map(thousands);
        format!(
            "{received} = {forwarded} forwarded + {sampled_out} sampled out + {lost} lost + {held} held"
        )
    }
}

/// How the traces at the sink compare with those that had to be there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traces {
    /// Traces that had to be there.
    pub expected: u64,
    /// Of these, how many are there with every span, each once and unchanged.
    pub whole: u64,
    /// Of these, how many are there with some of their spans.
    pub broken: u64,
    /// Of these, how many are there with a span that was changed.
    pub changed: u64,
    /// Of these, how many are not there at all.
    pub missing: u64,
    /// Traces that are there and had not to be.
    pub unexpected: u64,
    /// Spans that arrived more than once.
    pub duplicates: u64,
}

impl Traces {
    /// Compares.
    pub fn compare(
        truth: &Truth,
        policies: &Policies,
        received: &HashMap<[u8; 16], Received>,
    ) -> Self {
        let mut traces = Self::default();
        let mut known = 0;
        for trace in truth.traces.iter().filter(|trace| policies.keeps(trace)) {
            traces.expected += 1;
            let Some(found) = received.get(&trace.id) else {
                traces.missing += 1;
                continue;
            };
            known += 1;
            if found.spans.len() != trace.spans as usize {
                traces.broken += 1;
            } else if found.fingerprint != trace.fingerprint {
                traces.changed += 1;
            } else {
                traces.whole += 1;
            }
        }
        traces.unexpected = received.len() as u64 - known;
        traces.duplicates = received.values().map(|trace| trace.duplicates as u64).sum();
        traces
    }

    /// Whether exactly the expected traces are there, whole.
    pub fn is_exact(&self) -> bool {
        self.whole == self.expected && self.unexpected == 0
    }
}

impl Audit<'_> {
    /// Names some traces that are not as they should be.
    fn name_examples(&self, report: &mut Report) {
        let wrong = self.truth.traces.iter().filter_map(|trace| {
            let what = match (self.policies.keeps(trace), self.received.get(&trace.id)) {
                (true, None) => "missing".to_owned(),
                (false, Some(_)) => "unexpected".to_owned(),
                (true, Some(found)) if found.spans.len() != trace.spans as usize => {
                    format!("has {} spans", found.spans.len())
                }
                _ => return None,
            };
            let length_ms = (trace.end_ns - trace.start_ns) / 1_000_000;
            let by = self.policies.keeping(trace).map_or("none".to_owned(), |by| format!("{by:?}"));
            let (id, spans) = (u128::from_be_bytes(trace.id), trace.spans);
            Some(format!("{id:032x}: {what}; {spans} spans, {length_ms} ms, kept by {by}"))
        });
        for example in wrong.take(5) {
            report.note(example);
        }
    }
}

/// The `calls` metric by what span metrics count separately.
pub fn calls(page: &Page) -> BTreeMap<CallKey, u64> {
    let mut calls: BTreeMap<CallKey, u64> = BTreeMap::new();
    for sample in page.series("traces_span_metrics_calls") {
        let label = |name: &str| sample.label(name).to_owned().into();
        let key = CallKey {
            service: label("service_name"),
            span: label("span_name"),
            kind: label("span_kind"),
            status: label("status_code"),
        };
        *calls.entry(key).or_default() += whole(sample.value);
    }
    calls
}

/// Everything there is to add up at the end of a run in which nothing failed.
pub struct Audit<'a> {
    /// What was generated.
    pub truth: &'a Truth,
    /// The policies of the backends.
    pub policies: &'a Policies,
    /// Spans that the edges acknowledged.
    pub acknowledged: u64,
    /// What the sink got.
    pub received: &'a HashMap<[u8; 16], Received>,
    /// All edges' metrics.
    pub edges: &'a Page,
    /// All backends' metrics.
    pub backends: &'a Page,
    /// All backends' span metrics.
    pub span_metrics: &'a Page,
}

impl Audit<'_> {
    /// Writes every claim and whether it holds.
    pub fn report(&self, report: &mut Report) {
        let (truth, edge) = (self.truth, EdgeFlow::of(self.edges));
        let backend = BackendFlow::of(self.backends);
        let generated = truth.spans;
        report.section("Every span is accounted for");
        report.check_equal(
            "generated spans acknowledged by the edges",
            self.acknowledged,
            generated,
        );
        report.check_equal("accepted by the edges", edge.accepted, generated);
        report.check_equal("sent on by the edges", edge.sent, generated);
        report.check_equal("given up by the edges", edge.failed, 0);
        report.check_equal("accepted by the backends", backend.accepted, generated);
        report.check(backend.is_conserved(), "received by tail sampling", backend.sum());
        report.check_equal("kept spans exported", backend.exported, backend.forwarded);

        let count = truth.traces.len() as u64;
        let traces = Traces::compare(truth, self.policies, self.received);
        report.section("Every trace was judged whole");
        report.check_equal("traces seen by exactly one backend", backend.traces, count);
        report.check_equal("traces judged exactly once", backend.decided, count);
        report.check_equal("spans that came after the verdict", backend.late, 0);
        report.check_equal("traces sampled, by the backends", backend.sampled, traces.expected);
        report.check_equal(
            "traces sampled, by the oracle's list of ids",
            traces.whole,
            traces.expected,
        );
        let [missing, unexpected, broken, changed] =
            [traces.missing, traces.unexpected, traces.broken, traces.changed].map(thousands);
        report.check(
            traces.is_exact() && traces.duplicates == 0,
            "each arrived with every span, once, byte for byte",
            format!(
                "{missing} missing, {unexpected} unexpected, {broken} broken, {changed} changed, \
                 {} spans twice",
                thousands(traces.duplicates)
            ),
        );

        self.name_examples(report);

        let found = calls(self.span_metrics);
        let same = truth.calls.iter().filter(|(key, count)| found.get(key) == Some(count)).count();
        report.section("Span metrics saw every span, sampled or not");
        report.check_equal(
            "spans counted by traces_span_metrics_calls_total",
            found.values().sum(),
            generated,
        );
        report.check(
            same == truth.calls.len() && same == found.len(),
            "per service, span name, kind and status",
            format!(
                "{} of {} equal",
                thousands(same as u64),
                thousands(truth.calls.len().max(found.len()) as u64)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Generator;
    use crate::ledger::{Detail, Ledger};
    use crate::oracle::Policy;
    use crate::plan::Plan;
    use shared::Consumer as _;
    use std::sync::Arc;

    #[tokio::test]
    async fn lost_and_broken_traces_are_told_apart() {
        let policies = Policies::new(vec![Policy::AlwaysSample]);
        let mut generator = Generator::new(Plan::new(4, 100), Arc::new(policies.clone()));
        let ledger = Ledger::new(Detail::Traces);
        while let Some(request) = generator.next_request() {
            ledger.consume(request).await.unwrap();
        }
        let (truth, mut received) = (generator.into_truth(), ledger.traces());
        assert!(Traces::compare(&truth, &policies, &received).is_exact());
        received.remove(&truth.traces[0].id);
        received.get_mut(&truth.traces[1].id).unwrap().spans.pop();
        received.get_mut(&truth.traces[2].id).unwrap().fingerprint ^= 1;
        received.insert([0xee; 16], Received::default());
        let traces = Traces::compare(&truth, &policies, &received);
        let expected = Traces {
            expected: 100,
            whole: 97,
            broken: 1,
            changed: 1,
            missing: 1,
            unexpected: 1,
            duplicates: 0,
        };
        assert_eq!(traces, expected);
    }

    #[test]
    fn calls_are_added_up_over_other_labels() {
        let page = Page::parse(
            r#"traces_span_metrics_calls_total{service_name="a",span_name="x",span_kind="k",status_code="s",http="1"} 2
traces_span_metrics_calls_total{service_name="a",span_name="x",span_kind="k",status_code="s",http="2"} 3
traces_span_metrics_calls_total{service_name="b",span_name="x",span_kind="k",status_code="s"} 4"#,
        )
        .unwrap();
        assert_eq!(calls(&page).into_values().collect::<Vec<_>>(), [5, 4]);
    }
}
