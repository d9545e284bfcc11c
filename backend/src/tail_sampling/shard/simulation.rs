//! Random runs of a shard beside a model that is too simple to be wrong: a list of traces, each
//! with its spans as structs. `SEED=<number> cargo test` runs that one again.

use std::collections::{BTreeMap, HashMap};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::policy::testing::policies;
use super::super::testing::{TestSpan, batch, read, trace_id};
use super::*;

const POLICIES: [&str; 2] = [
    "{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}",
    "{name: some, type: probabilistic, probabilistic: {sampling_percentage: 20}}",
];

/// The same decisions by other policies at other places, which are changed to and fro.
const OTHERS: [&str; 3] = [
    "{name: none, type: and, and: {and_sub_policy: [\
        {type: status_code, status_code: {status_codes: [OK]}}, \
        {type: string_attribute, string_attribute: {key: service.name, values: [s1]}}]}}",
    POLICIES[1],
    POLICIES[0],
];

/// What should happen.
#[derive(Default)]
struct Model {
    /// Traces that wait, in order of arrival.
    waiting: Vec<(u64, Instant, Vec<TestSpan>)>,
    verdicts: HashMap<u64, bool>,
    /// How often each span should have been forwarded: once.
    forwarded: BTreeMap<TestSpan, usize>,
    received: usize,
    sampled_out: usize,
    discarded: usize,
}

impl Model {
    fn admit(&mut self, span: TestSpan, now: Instant) {
        self.received += 1;
        if span.trace == 0 {
            self.judge(0, &[span]);
            return;
        }
        match self.verdicts.get(&span.trace) {
            Some(true) => *self.forwarded.entry(span).or_default() += 1,
            Some(false) => self.sampled_out += 1,
            None => match self.waiting.iter_mut().find(|(trace, ..)| *trace == span.trace) {
                Some((.., spans)) => spans.push(span),
                None => self.waiting.push((span.trace, now, vec![span])),
            },
        }
    }

    fn expire(&mut self, settings: &Settings, closing: bool, now: Instant) {
        while let Some((_, arrived, _)) = self.waiting.first()
            && (now.duration_since(*arrived) >= settings.decision_wait
                || self.waiting.len() > settings.num_traces
                || closing)
        {
            let (trace, _, spans) = self.waiting.remove(0);
            let sampled = self.judge(trace, &spans);
            self.verdicts.insert(trace, sampled);
        }
    }

    fn judge(&mut self, trace: u64, spans: &[TestSpan]) -> bool {
        let sampled = spans.iter().any(|span| span.error) || kept_by_chance(trace);
        match sampled {
            true => spans.iter().for_each(|span| *self.forwarded.entry(*span).or_default() += 1),
            false => self.sampled_out += spans.len(),
        }
        sampled
    }

    fn held(&self) -> usize {
        self.waiting.iter().map(|(.., spans)| spans.len()).sum()
    }
}

/// FNV-1a over salt and id against a fifth of the range, spelled out again.
fn kept_by_chance(trace: u64) -> bool {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in b"default-hash-seed".iter().chain(&trace_id(trace)) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash <= 3_689_348_814_741_910_527
}

fn compression(random: &mut StdRng) -> Compression {
    match random.random_bool(0.5) {
        true => Compression::Lz4,
        false => Compression::None,
    }
}

/// A shard beside its model.
struct Run {
    random: StdRng,
    settings: Settings,
    shard: Shard,
    model: Model,
    forwarded: BTreeMap<TestSpan, usize>,
    now: Instant,
    spans: u64,
    /// Whether the model knows at any time which traces were judged; under a byte limit it does
    /// not, and only what was kept and lost is compared.
    exact: bool,
    /// Received and sampled out before the last change of policies.
    told: [u64; 2],
    closing: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let exact = random.random_bool(0.7);
        let settings = Settings {
            decision_wait: Duration::from_millis(random.random_range(1..5000)),
            wait_after_root: None,
            wait_after_idle: None,
            decision_after_spans: 0,
            decision_after_bytes: 0,
            max_trace_bytes: u64::MAX,
            num_traces: if exact { random.random_range(1..200) } else { 100_000 },
            max_bytes: if exact { usize::MAX } else { random.random_range(40_000..400_000) },
            sampled_cache: 100_000,
            not_sampled_cache: 100_000,
            dry_run: false,
            early_release: !exact,
            by_piece: false,
            compression: compression(&mut random),
            block_on_overflow: false,
            segment_bytes: random.random_range(256..8192),
            inscription: Inscription::NOTHING,
            request: RequestSize {
                spans: random.random_range(1..50),
                bytes: random.random_range(100..10_000),
                max_bytes: random.random_range(100..20_000),
            },
        };
        let now = shared::clock::now();
        let policies = match exact {
            true => policies(&POLICIES),
            // The verdict must not depend on when it falls.
            false => policies(&POLICIES[1..]),
        };
        let shard = Shard::new(settings.clone(), Arc::new(policies), seed, now);
        let (model, forwarded) = (Model::default(), BTreeMap::new());
        Self {
            random,
            settings,
            shard,
            model,
            forwarded,
            now,
            spans: 0,
            exact,
            told: [0; 2],
            closing: false,
        }
    }

    fn step(&mut self) {
        match self.random.random_range(0..40) {
            0..=23 => self.admit(),
            24 => self.change_policies(),
            25..=35 => self.now += Duration::from_millis(self.random.random_range(0..700)),
            _ => self.shard.trim(),
        }
        self.shard.upkeep(self.random.random_range(0..10_000));
        self.settle();
    }

    fn change_policies(&mut self) {
        let set = match (self.random.random_bool(0.5), self.exact) {
            (true, _) => policies(&OTHERS),
            (false, true) => policies(&POLICIES),
            (false, false) => policies(&POLICIES[1..]),
        };
        let tally = self.shard.set_policies(Arc::new(set));
        assert_eq!(tally.contradictions, 0);
        let sampled_out =
            tally.sampled_out_spans + tally.sampled_out_late_spans + tally.discarded_spans;
        self.told = [self.told[0] + tally.received_spans, self.told[1] + sampled_out];
    }

    fn admit(&mut self) {
        let traces = self.random.random_range(1..400);
        let spans: Vec<TestSpan> = (0..self.random.random_range(0..40))
            .map(|_| {
                self.spans += 1;
                let padding = match self.random.random_range(0..50) {
                    0 => 5000,
                    _ => self.random.random_range(0..200),
                };
                TestSpan {
                    // Often the same as before, sometimes none, and all come again late.
                    trace: self.random.random_range(0..traces) / 3,
                    service: self.random.random_range(0..4),
                    padding,
                    error: self.exact && self.random.random_bool(0.02),
                    root: self.random.random_bool(0.1),
                    number: self.spans,
                }
            })
            .collect();
        self.shard.admit(&batch(&spans), self.now);
        for span in spans {
            self.model.admit(span, self.now);
        }
    }

    /// Lets both judge, and compares them.
    fn settle(&mut self) {
        let slice = self.random.random_range(1..40);
        loop {
            let judged = self.shard.judge(self.now, slice, shared::clock::now);
            assert!(judged > 0 || !self.shard.is_over_limit());
            let wanted = if self.random.random_bool(0.5) { Take::Full } else { Take::Any };
            self.take(wanted);
            if judged == 0 {
                break;
            }
        }
        let held = self.shard.held();
        assert!(held.traces <= self.settings.num_traces);
        assert!(held.bytes <= self.settings.max_bytes || held.traces == 0, "{held:?}");
        let tally = self.told[0] + self.shard.tally.received_spans;
        let sampled_out = self.told[1]
            + self.shard.tally.sampled_out_spans
            + self.shard.tally.sampled_out_late_spans
            + self.shard.tally.discarded_spans;
        let forwarded: usize = self.forwarded.values().sum();
        assert_eq!(tally, forwarded as u64 + sampled_out + held.spans as u64, "conservation");
        assert_eq!(tally, self.model.received as u64);

        self.take(Take::Any);
        self.model.expire(&self.settings, self.closing, self.now);
        if self.exact {
            assert_eq!(self.forwarded, self.model.forwarded);
            assert_eq!(self.shard.held().spans, self.model.held());
            let expected = self.model.sampled_out + self.model.discarded;
            assert_eq!(sampled_out, expected as u64);
        }
    }

    fn take(&mut self, wanted: Take) {
        while let Some(batch) = self.shard.take(wanted) {
            let (spans, _) = read(&batch);
            assert!(spans.len() <= self.settings.request.spans + 100, "one run more at most");
            for span in spans {
                *self.forwarded.entry(span).or_default() += 1;
            }
        }
    }

    fn stop(&mut self) {
        if self.exact && self.random.random_bool(0.3) {
            self.shard.discard();
            self.model.discarded = self.model.held();
            self.model.waiting.clear();
        }
        self.shard.close();
        self.closing = true;
        self.settle();
        assert_eq!(self.shard.held().spans, 0);
        assert_eq!(self.forwarded, self.model.forwarded, "each span once, or not at all");
    }
}

fn run(seed: u64) {
    let mut run = Run::new(seed);
    for _ in 0..150 {
        run.step();
    }
    run.stop();
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a seed to replay is no setting")]
fn random_runs_agree_with_the_model() {
    match std::env::var("SEED") {
        Ok(seed) => run(seed.parse().unwrap()),
        Err(_) => {
            for seed in 0..200 {
                let outcome = std::panic::catch_unwind(|| run(seed));
                assert!(outcome.is_ok(), "failed; replay it with SEED={seed}");
            }
        }
    }
}
