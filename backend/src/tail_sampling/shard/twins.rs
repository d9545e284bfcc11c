//! Random runs of two shards that see and judge the same: one holds everything until it is due, the
//! other releases early and seals its buffer. `SEED=<number> cargo test` runs that one again.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::policy::testing::policies;
use super::super::tally::PolicyTally;
use super::super::testing::{TestSpan, batch, read, trace_id};
use super::*;

const POLICIES: [&str; 8] = [
    "{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}",
    "{name: some, type: probabilistic, probabilistic: {sampling_percentage: 20}}",
    "{name: many, type: span_count, span_count: {min_spans: 5}}",
    "{name: few, type: span_count, span_count: {min_spans: 1, max_spans: 2}}",
    "{name: none, type: drop, drop: {drop_sub_policy: [\
        {type: string_attribute, string_attribute: {key: service.name, values: [s3]}}, \
        {type: status_code, status_code: {status_codes: [ERROR]}}]}}",
    "{name: rate, type: rate_limiting, rate_limiting: {spans_per_second: 50}}",
    "{name: both, type: and, and: {and_sub_policy: [\
        {type: string_attribute, string_attribute: {key: service.name, values: [s1]}}, \
        {type: probabilistic, probabilistic: {sampling_percentage: 50}}]}}",
    "{name: not, type: not, not: {not_sub_policy: {name: one, type: string_attribute, \
        string_attribute: {key: service.name, values: [s1]}}}}",
];

struct Twin {
    shard: Shard,
    forwarded: BTreeMap<TestSpan, usize>,
}

impl Twin {
    fn judge(&mut self, now: Instant, slice: usize) {
        loop {
            let judged = self.shard.judge(now, slice, shared::clock::now);
            assert!(judged > 0 || !self.shard.is_over_limit());
            while let Some(batch) = self.shard.take(Take::Any) {
                for span in read(&batch).0 {
                    *self.forwarded.entry(span).or_default() += 1;
                }
            }
            if judged == 0 {
                break;
            }
        }
    }

    /// What the policies did, but for the time it took.
    fn votes(&self) -> Vec<PolicyTally> {
        let policies = self.shard.tally.policies.iter().cloned();
        policies.map(|tally| PolicyTally { time: Duration::ZERO, ..tally }).collect()
    }
}

struct Run {
    random: StdRng,
    twins: [Twin; 2],
    now: Instant,
    spans: u64,
    traces: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let wait = |random: &mut StdRng| {
            random.random_bool(0.5).then(|| Duration::from_millis(random.random_range(1..3000)))
        };
        let plain = Settings {
            decision_wait: Duration::from_millis(random.random_range(1..5000)),
            wait_after_root: wait(&mut random),
            wait_after_idle: wait(&mut random),
            decision_after_spans: if random.random_bool(0.3) { 12 } else { 0 },
            num_traces: random.random_range(1..300),
            max_trace_bytes: if random.random_bool(0.3) { 1000 } else { u64::MAX },
            segment_bytes: random.random_range(256..8192),
            ..tests::settings()
        };
        let early =
            Settings { early_release: true, compression: Compression::Lz4, ..plain.clone() };
        let now = shared::clock::now();
        let some: Vec<&str> = POLICIES.into_iter().filter(|_| random.random_bool(0.4)).collect();
        let some = if some.is_empty() { POLICIES.to_vec() } else { some };
        let twins = [plain, early].map(|settings| Twin {
            // Limits are spent by each of them.
            shard: Shard::new(settings, Arc::new(policies(&some)), seed, now),
            forwarded: BTreeMap::new(),
        });
        Self { random, twins, now, spans: 0, traces: 0 }
    }

    fn step(&mut self) {
        match self.random.random_range(0..10) {
            0..=5 => {
                self.traces += self.random.random_range(0..20);
                let spans: Vec<TestSpan> =
                    (0..self.random.random_range(0..40)).map(|_| self.span()).collect();
                let batch = batch(&spans);
                self.twins.iter_mut().for_each(|twin| twin.shard.admit(&batch, self.now));
            }
            6..=8 => self.now += Duration::from_millis(self.random.random_range(0..700)),
            _ => self.twins.iter_mut().for_each(|twin| twin.shard.trim()),
        }
        for twin in &mut self.twins {
            twin.shard.upkeep(self.random.random_range(0..10_000));
            twin.judge(self.now, self.random.random_range(1..40));
        }
        self.compare();
    }

    fn span(&mut self) -> TestSpan {
        self.spans += 1;
        // Of recent traces mostly, so that many are complete and few are late.
        let trace = self.traces.saturating_sub(self.random.random_range(0..40)) + 1;
        TestSpan {
            service: self.random.random_range(0..4),
            padding: self.random.random_range(0..200),
            error: self.random.random_bool(0.1),
            root: self.random.random_bool(0.2),
            ..TestSpan::new(trace, self.spans)
        }
    }

    fn compare(&self) {
        let [plain, early] = &self.twins;
        assert_eq!(early.shard.tally.contradictions, 0);
        assert_eq!(plain.votes(), early.votes());
        let told = |tally: &Tally| {
            (tally.decisions, tally.causes, tally.new_traces, tally.forwarded_late_spans)
        };
        assert_eq!(told(&plain.shard.tally), told(&early.shard.tally));
        assert_eq!(plain.shard.held().traces, early.shard.held().traces);
        for trace in self.traces.saturating_sub(50)..=self.traces {
            let found = |twin: &Twin| {
                twin.shard.decided.find(twin.shard.traces.key(trace_id(trace)), self.now)
            };
            assert_eq!(found(plain), found(early), "about trace {trace}");
        }
        for (span, count) in &plain.forwarded {
            assert_eq!((early.forwarded.get(span), *count), (Some(&1), 1), "{span:?}");
        }
    }

    fn stop(&mut self) {
        for twin in &mut self.twins {
            twin.shard.close();
            twin.judge(self.now, 64);
            assert_eq!((twin.shard.held().spans, twin.shard.held().traces), (0, 0));
            assert_eq!(twin.shard.released, 0);
        }
        self.compare();
        let [plain, early] = &self.twins;
        assert_eq!(plain.forwarded, early.forwarded, "each span once, or not at all");
        let gone = |tally: &Tally| {
            (tally.sampled_out_spans, tally.too_large_spans, tally.sampled_out_late_spans)
        };
        // What was let go early had not yet become too large.
        let (plain, early) = (gone(&plain.shard.tally), gone(&early.shard.tally));
        assert_eq!((plain.0 + plain.1, plain.2), (early.0 + early.1, early.2));
    }
}

fn run(seed: u64) -> [u64; 2] {
    let mut run = Run::new(seed);
    for _ in 0..150 {
        run.step();
    }
    run.stop();
    run.twins[1].shard.tally.certain
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a seed to replay is no setting")]
fn neither_early_release_nor_sealing_changes_a_decision_a_vote_or_a_span() {
    if let Ok(seed) = std::env::var("SEED") {
        run(seed.parse().unwrap());
        return;
    }
    let mut certain = [0; 2];
    for seed in 0..150 {
        let Ok(released) = std::panic::catch_unwind(|| run(seed)) else {
            panic!("failed; replay it with SEED={seed}");
        };
        certain = [certain[0] + released[0], certain[1] + released[1]];
    }
    assert!(certain.iter().all(|traces| *traces > 1000), "few were released: {certain:?}");
}
