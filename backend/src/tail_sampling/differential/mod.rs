//! Random configurations on random traces, beside a sampler that decodes everything, keeps it as
//! structs, and evaluates policy by policy when a trace is due, as the Collector does. Some runs
//! change to another configuration while traces wait, others release traces early, and half of them are
//! sealed.
//!
//! `SEED=<number> cargo test -p backend differential` runs that configuration again.

mod naive;
mod rules;
mod traces;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shared::Batch;
use shared::config::{Decode, Path, Problems, yaml};
use shared::service::ProcessorConfig;
use shared::wire::Signal;

use super::config::TailSamplingConfig;
use super::evaluate::Policies;
use super::outgoing::RequestSize;
use super::policy::{Names, Terms};
use super::sealing::Compression;
use super::shard::tests::settings;
use super::shard::{Settings, Shard, Take};
use super::tally::Tally;
use naive::Sampler;
use rules::NamedRule;
use traces::{Piece, Traces};

const WAIT: Duration = Duration::from_secs(3);

/// A configuration of its own language, and what it means.
struct Case {
    rules: Vec<NamedRule>,
    first_match: bool,
}

impl Case {
    fn random(random: &mut StdRng) -> Self {
        let rules = rules::random(random);
        Self { rules, first_match: random.random_bool(0.3) }
    }

    fn text(&self) -> String {
        let policies: Vec<String> = self.rules.iter().map(NamedRule::entry).collect();
        format!(
            "compat: v0.156\nsample_on_first_match: {}\npolicies: [{}]",
            self.first_match,
            policies.join(",\n  ")
        )
    }

    fn policies(&self, names: &mut Names) -> Policies {
        let (text, mut problems) = (self.text(), Problems::default());
        let node = yaml::parse(&text, 0).unwrap();
        let config = TailSamplingConfig::decode(&node, &Path::ROOT, &mut problems);
        if let Some(config) = &config {
            config.validate(&Path::ROOT, &mut problems);
        }
        assert!(problems.errors().is_empty(), "{:?}\n{text}", problems.errors());
        let config = config.unwrap();
        Policies::build(&config, &Terms::default(), names)
    }
}

/// One configuration beside the naive sampler.
struct Run {
    random: StdRng,
    /// Configurations so far; the last one is in force.
    cases: Vec<Case>,
    names: Names,
    shard: Shard,
    naive: Sampler,
    /// Whether spans may leave or go before their trace is due.
    early_release: bool,
    now: Instant,
    /// Spans that came out of the shard, by trace.
    forwarded: BTreeMap<u64, usize>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let case = Case::random(&mut random);
        let mut names = Names::default();
        let policies = Arc::new(case.policies(&mut names));
        let early_release = random.random_bool(0.5);
        let settings = Settings {
            decision_wait: WAIT,
            num_traces: 10_000,
            sampled_cache: 10_000,
            not_sampled_cache: 10_000,
            segment_bytes: random.random_range(256..8192),
            request: RequestSize {
                spans: random.random_range(1..50),
                bytes: 10_000,
                max_bytes: 20_000,
            },
            early_release,
            compression: [Compression::None, Compression::Lz4][random.random_range(0..2)],
            ..settings()
        };
        let now = shared::clock::now();
        let shard = Shard::new(settings, policies, seed, now);
        let naive = Sampler::new(&case.rules, case.first_match, now);
        let cases = vec![case];
        let forwarded = BTreeMap::new();
        Self { random, cases, names, shard, naive, early_release, now, forwarded }
    }

    /// Sends every piece in, with time passing in between.
    fn go(&mut self) {
        let mut traces = Traces::random(&mut self.random);
        while let Some(pieces) = traces.next_request(&mut self.random) {
            self.admit(&pieces);
            // What was released before the change would stand, which the naive one cannot know.
            if !self.early_release && self.random.random_bool(0.02) {
                self.change_policies();
            }
            if self.random.random_bool(0.3) {
                self.now += Duration::from_secs(self.random.random_range(1..4));
            }
            self.settle();
        }
        self.now += WAIT;
        self.settle();
        assert_eq!(self.shard.held().spans, 0);
    }

    fn admit(&mut self, pieces: &[Piece]) {
        let request = ExportTraceServiceRequest {
            resource_spans: pieces.iter().map(Piece::resource_spans).collect(),
        };
        let batch = Batch::parse(Signal::Traces, request.encode_to_vec().into()).unwrap();
        self.shard.admit(&batch, self.now);
        for piece in pieces {
            self.naive.admit(piece, self.now);
        }
    }

    /// Lets both judge what is due, and compares them.
    fn settle(&mut self) {
        while self.shard.judge(self.now, self.random.random_range(1..20), shared::clock::now) > 0 {}
        while let Some(batch) = self.shard.take(Take::Any) {
            for entry in shared::wire::export::resources(batch.bytes()) {
                for span in entry.scopes().flat_map(|scope| scope.records().collect::<Vec<_>>()) {
                    let id: [u8; 16] = batch.trace_id(span).try_into().unwrap();
                    *self.forwarded.entry(traces::number(id)).or_default() += 1;
                }
            }
        }
        self.naive.judge(self.now, WAIT);
        for (trace, spans) in self.naive.spans() {
            let forwarded = self.forwarded.get(&trace).copied().unwrap_or_default();
            let expected = match self.naive.is_kept(trace) {
                None if self.early_release => 0..=spans,
                Some(true) => spans..=spans,
                None | Some(false) => 0..=0,
            };
            assert!(expected.contains(&forwarded), "{forwarded} spans of trace {trace} left");
        }
    }

    /// Goes on with another configuration.
    fn change_policies(&mut self) {
        let case = Case::random(&mut self.random);
        let policies = Arc::new(case.policies(&mut self.names));
        let tally = self.shard.set_policies(policies);
        self.compare_votes(&tally);
        self.naive.set_policies(&case.rules, case.first_match, self.now);
        self.cases.push(case);
    }

    /// The votes of both, policy by policy.
    fn compare_votes(&self, tally: &Tally) {
        let votes: Vec<_> = tally
            .policies
            .iter()
            .map(|tally| (tally.votes.map(|amount| amount.traces), tally.errors))
            .collect();
        assert_eq!(votes, self.naive.votes(), "sampled, not sampled and dropped, and errors");
    }
}

fn run(seed: u64) {
    let mut run = Run::new(seed);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run.go();
        let tally = run.shard.take_tally();
        run.compare_votes(&tally);
    }));
    let texts: Vec<String> = run.cases.iter().map(Case::text).collect();
    assert!(outcome.is_ok(), "failed; replay it with SEED={seed}:\n{}", texts.join("\nthen\n"));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a seed to replay is no setting")]
fn random_configurations_agree_with_a_naive_sampler() {
    match std::env::var("SEED") {
        Ok(seed) => run(seed.parse().unwrap()),
        Err(_) => (0..1000).for_each(run),
    }
}
