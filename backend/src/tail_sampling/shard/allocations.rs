//! How often a shard allocates for what it takes in.
//!
//! Allocations are counted by thread.

use std::ops::Range;

use allocation_counter::measure;

use super::super::policy::testing::policies;
use super::super::testing::{TestSpan, batch};
use super::tests::settings;
use super::*;

const POLICIES: [&str; 5] = [
    "{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}",
    "{name: slow, type: latency, latency: {threshold_ms: 5000}}",
    "{name: big, type: span_count, span_count: {min_spans: 100000}}",
    "{name: text, type: string_attribute, string_attribute: {key: padding, values: ['^y+$'], \
      enabled_regex_matching: true}}",
    "{name: condition, type: ottl_condition, ottl_condition: {span: \
      ['attributes[\"padding\"] == \"y\" and name == \"x\"']}}",
];

struct Bench {
    shard: Shard,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = shared::clock::now();
        let settings = Settings { segment_bytes: 1 << 20, num_traces: 100_000, ..settings() };
        Self { shard: Shard::new(settings, Arc::new(policies(&POLICIES)), 1, now), now }
    }

    /// How often it is allocated for so many spans of these traces by turns.
    fn admit(&mut self, traces: Range<u64>, spans: usize) -> u64 {
        let spans: Vec<_> = traces
            .cycle()
            .take(spans)
            .enumerate()
            .map(|(number, trace)| TestSpan {
                service: trace % 3,
                ..TestSpan::new(trace, number as u64)
            })
            .collect();
        let batch = batch(&spans);
        measure(|| self.shard.admit(&batch, self.now)).count_total
    }

    /// How often it is allocated for the judging of all that waits.
    fn judge(&mut self) -> u64 {
        self.now += self.shard.settings.decision_wait;
        measure(|| while self.shard.judge(self.now, 256, || self.now) > 0 {}).count_total
    }
}

#[test]
fn a_span_of_a_trace_that_waits_costs_no_allocation() {
    let mut bench = Bench::new();
    // Segment, tables and scratch make room when they are first used.
    assert!(bench.admit(1..51, 5000) > 0);
    bench.judge();
    bench.admit(51..101, 50);
    assert_eq!([bench.admit(51..101, 100), bench.admit(51..101, 1000)], [0, 0]);
}

#[test]
fn a_round_of_many_spans_costs_little_more_than_its_segments() {
    let mut bench = Bench::new();
    for round in 0..3 {
        let first = 1 + round * 2000;
        let mut counted = 0;
        for request in 0..40 {
            let first = first + request * 50;
            counted += bench.admit(first..first + 50, 1000);
        }
        let judged = bench.judge();
        // 40,000 spans in 2,000 traces take four segments and some chunks of the row of traces, and
        // each slice that is judged a few lists. Tables grow in the first round.
        assert!(round == 0 || counted + judged < 400, "{counted} and {judged}");
    }
}
