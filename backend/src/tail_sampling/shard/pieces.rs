//! Pieces of traces are judged as they come in, with `sampling_strategy: span-ingest`.
//!
//! A piece is what one resource entry has of a trace. Policies see nothing else of it but how many
//! spans and bytes came before. A piece that is to be sampled or dropped decides about the trace;
//! what was undecided until the trace is due is not sampled.
//!
//! Source: contrib main tailsamplingprocessor/processor.go.

use std::time::Instant;

use super::super::deadlines::Cause;
use super::super::policy::Decision;
use super::super::trace::Trace;
use super::Shard;

impl Shard {
    /// Judges the pieces of traces that a resource entry brought, each by itself. Whether they are
    /// sampled or dropped is the verdict; the rest waits for more.
    pub(super) fn judge_pieces(&mut self, now: Instant) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        let pieces: Vec<&Trace> =
            touched.iter().filter_map(|sequence| self.traces.get(*sequence)).collect();
        // Not timed: reading the clock for each piece would cost as much as most policies.
        let verdicts = self.policies.judge(&pieces, now, &mut self.tally.policies, || now);
        for (sequence, verdict) in touched.iter().zip(verdicts) {
            let Some(trace) = self.traces.get_mut(*sequence) else { continue };
            self.note_bytes -= trace.notes.allocated();
            if verdict.decision == Decision::NotSampled {
                trace.forget_piece();
            } else if let Some(trace) = self.traces.remove(*sequence) {
                self.tally.causes[Cause::Piece as usize] += 1;
                self.conclude(&trace, verdict, now);
            }
        }
        touched.clear();
        self.touched = touched;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::config::{SamplingStrategy, TailSamplingConfig};
    use super::super::super::evaluate::Policies;
    use super::super::super::policy::testing::named_policies;
    use super::super::super::policy::{Names, Terms};
    use super::super::super::testing::{TestSpan, batch, read};
    use super::super::tests::settings;
    use super::super::{Settings, Take};
    use super::*;

    const ERRORS: &str = "{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}";
    const LONG: &str = "{name: long, type: and, and: {and_sub_policy: [\
        {name: x, type: string_attribute, string_attribute: {key: padding, values: [xx]}}, \
        {name: y, type: status_code, status_code: {status_codes: [ERROR]}}]}}";
    const MANY: &str = "{name: many, type: span_count, span_count: {min_spans: 3}}";
    const DROP: &str = "{name: out, type: drop, drop: {drop_sub_policy: [\
        {name: x, type: string_attribute, string_attribute: {key: padding, values: [xx]}}]}}";

    struct Bench {
        shard: Shard,
        now: Instant,
    }

    impl Bench {
        fn new(policies: &[&str]) -> Self {
            let config = TailSamplingConfig {
                policies: named_policies(policies),
                sampling_strategy: SamplingStrategy::SpanIngest,
                ..TailSamplingConfig::default()
            };
            let policies = Policies::build(&config, &Terms::default(), &mut Names::default());
            let now = shared::clock::now();
            let settings = Settings { by_piece: true, ..settings() };
            Self { shard: Shard::new(settings, Arc::new(policies), 1, now), now }
        }

        /// Takes spans in; the numbers of those that leave for it.
        #[track_caller]
        fn admit(&mut self, spans: &[TestSpan]) -> Vec<u64> {
            self.shard.admit(&batch(spans), self.now);
            self.leaving()
        }

        #[track_caller]
        fn leaving(&mut self) -> Vec<u64> {
            while self.shard.judge(self.now, 16, shared::clock::now) > 0 {}
            let mut numbers = Vec::new();
            while let Some(batch) = self.shard.take(Take::Any) {
                numbers.extend(read(&batch).0.iter().map(|span| span.number));
            }
            numbers
        }
    }

    fn failed(trace: u64, number: u64) -> TestSpan {
        TestSpan { error: true, ..TestSpan::new(trace, number) }
    }

    #[test]
    fn a_decisive_piece_takes_along_what_came_before_and_what_follows() {
        let mut bench = Bench::new(&[ERRORS]);
        assert!(bench.admit(&[TestSpan::new(1, 1), TestSpan::new(2, 2)]).is_empty());
        assert_eq!(
            bench.admit(&[TestSpan::new(1, 3), failed(1, 4), TestSpan::new(2, 5)]),
            [1, 3, 4]
        );
        assert_eq!(bench.admit(&[TestSpan::new(1, 6)]), [6]);
        let held = bench.shard.held();
        assert_eq!((held.traces, held.spans), (1, 2));
        let tally = bench.shard.take_tally();
        assert_eq!(tally.causes[Cause::Piece as usize], 1);
        assert_eq!((tally.decisions, tally.forwarded_late_spans), ([1, 0, 0], 1));
    }

    #[test]
    fn what_is_undecided_when_due_is_not_sampled_and_not_asked_about_again() {
        let mut bench = Bench::new(&[ERRORS]);
        bench.admit(&[TestSpan::new(1, 1)]);
        let asked = bench.shard.take_tally().policies[0].votes.iter().map(|vote| vote.traces).sum();
        assert_eq!((asked, bench.shard.held().traces), (1_u64, 1));
        bench.now += settings().decision_wait;
        assert!(bench.leaving().is_empty());
        let tally = bench.shard.take_tally();
        assert_eq!((tally.sampled_out_spans, tally.decisions), (1, [0, 1, 0]));
        assert_eq!(tally.policies[0].votes.iter().map(|vote| vote.traces).sum::<u64>(), 0);
    }

    #[test]
    fn policies_see_one_piece_and_count_all() {
        let mut bench = Bench::new(&[LONG, MANY]);
        let long = |number| TestSpan { padding: 2, ..TestSpan::new(1, number) };
        // Both halves of the condition hold, but not in one piece: nor in two entries of one batch.
        let elsewhere = TestSpan { service: 7, ..failed(1, 2) };
        assert!(bench.admit(&[long(1), elsewhere]).is_empty());
        assert_eq!(bench.admit(&[TestSpan::new(1, 3)]), [1, 3, 2], "by the third span");
        let both = [TestSpan { trace: 2, ..long(4) }, failed(2, 5)];
        assert_eq!(bench.admit(&both), [4, 5]);
    }

    #[test]
    fn while_a_later_span_may_drop_a_trace_none_is_sampled() {
        let mut bench = Bench::new(&[DROP, ERRORS]);
        assert!(bench.admit(&[failed(1, 1)]).is_empty());
        assert!(bench.admit(&[TestSpan { padding: 2, ..TestSpan::new(1, 2) }]).is_empty());
        let tally = bench.shard.take_tally();
        assert_eq!((tally.sampled_out_spans, tally.decisions), (2, [0, 0, 1]));
        bench.admit(&[failed(2, 3)]);
        bench.now += settings().decision_wait;
        assert!(bench.leaving().is_empty());
        assert_eq!(bench.shard.take_tally().decisions, [0, 1, 0]);
    }
}
