//! A notation for tests of policies.
//!
//! A policy is written as in the configuration. A trace is its spans, with semicolons between
//! them; a span is `start..end` in milliseconds, then any of:
//!
//! - `ok` or `error`, `child`, `name:text`, `kind:2`, `flags:0x1`, `state:k=v,l=w` (the trace state)
//! - `key=text`, `key=#5` (an integer), `key=~1.5` (a double), `key=?true` (a boolean)
//! - the same with `@` before the key for an attribute of its resource
//! - `event:name`, and `event:name,key=text` with attributes of the event

use std::time::{Duration, Instant};

use shared::config::{Decode, Path, Problems, yaml};
use shared::service::ProcessorConfig;
use shared::wire::export::{self, ResourceEntry, ScopeEntry};
use shared::wire::{Resource, Signal, Span, Writer};
use shared::{Batch, clock};

use super::super::config::TailSamplingConfig;
use super::super::evaluate::{Policies, Verdict};
use super::super::tier::TierSize;
use super::super::trace::Trace;
use super::terms::Seconds;
use super::{Ballot, Branch, Compat, Decision, NamedPolicy, Names, Terms};

/// The configuration with these policies and keys of the processor.
#[track_caller]
fn config(keys: &str, entries: &[&str]) -> TailSamplingConfig {
    let text = format!("{keys}policies: [{}]", entries.join(", "));
    let mut problems = Problems::default();
    let node = yaml::parse(&text, 0).unwrap();
    let config = TailSamplingConfig::decode(&node, &Path::ROOT, &mut problems);
    config.unwrap_or_else(|| panic!("{:?}", problems.errors()))
}

/// The policies of these entries, ready to be asked.
#[track_caller]
pub(in crate::tail_sampling) fn policies(entries: &[&str]) -> Policies {
    Policies::build(&config("", entries), &Terms::default(), &mut Names::default())
}

/// The policies of these entries, as they are configured.
#[track_caller]
pub(in crate::tail_sampling) fn named_policies(entries: &[&str]) -> Vec<NamedPolicy> {
    config("", entries).policies
}

/// Asserts what one policy decides about a trace.
#[track_caller]
pub(super) fn check(policy: &str, trace: &str, expected: Decision) {
    check_all("", &[policy], trace, expected);
}

/// Asserts what several policies together decide about a trace. `keys` are lines of the processor's
/// section.
#[track_caller]
pub(super) fn check_all(keys: &str, entries: &[&str], trace: &str, expected: Decision) {
    let config = config(keys, entries);
    let terms = Terms::new(config.compat, config.tier.initial_size());
    let policies = Policies::build(&config, &terms, &mut Names::default());
    let verdict = judged(&policies, [1; 16], trace);
    assert_eq!(verdict.decision, expected, "{entries:?} on {trace}");
}

/// What policies decide about a trace with this id.
#[track_caller]
pub(super) fn judged(policies: &Policies, id: [u8; 16], trace: &str) -> Verdict {
    let mut due = seen(policies, trace);
    due.summary.trace_id = id;
    let now = clock::now();
    policies.judge(&[due], now, &mut policies.tallies(), || now).remove(0)
}

/// A trace that the policies have seen.
#[track_caller]
pub(super) fn seen(policies: &Policies, trace: &str) -> Trace {
    let mut seen = Trace::new([1; 16], clock::now());
    for span in trace.split(';') {
        arrive(policies, &mut seen, span);
    }
    seen
}

/// Another span of it arrives.
#[track_caller]
fn arrive(policies: &Policies, trace: &mut Trace, span: &str) {
    each_span(span, |span, under| {
        trace.seen = trace.seen.union(policies.observe_resource(under.1));
        policies.note_resource(trace, under.1);
        trace.summary.add(span, span.raw.len() + 3);
        policies.observe(trace, &policies.read(span.raw), under);
    });
}

/// What a span is under.
pub(super) type Under<'a> = (ResourceEntry<'a>, Resource<'a>, ScopeEntry<'a>);

/// Shows the spans of a trace, each under a resource of its own.
#[track_caller]
pub(super) fn each_span(spans: &str, mut see: impl FnMut(&Span<'_>, Under<'_>)) {
    for span in spans.split(';') {
        let batch = request(span);
        for entry in export::resources(batch.bytes()) {
            for scope in entry.scopes() {
                for span in scope.records() {
                    see(&Span::read(span), (entry, entry.resource(), scope));
                }
            }
        }
    }
}

/// What one policy decides about each of these ids: `1` for sampled.
#[track_caller]
pub(super) fn check_ids(policy: &str, ids: &[[u8; 16]]) -> String {
    let policies = policies(&[policy]);
    let now = clock::now();
    let due: Vec<Trace> = ids.iter().map(|id| Trace::new(*id, now)).collect();
    let verdicts = policies.judge(&due, now, &mut policies.tallies(), || now);
    verdicts
        .iter()
        .map(|verdict| char::from(b'0' + u8::from(verdict.decision == Decision::Sampled)))
        .collect()
}

/// A policy that is asked over some time. Its clock stands at the beginning of a second at first.
pub(super) struct Subject {
    policies: Policies,
    names: Names,
    start: Instant,
    /// As one of how many backends.
    pub(super) tier: TierSize,
}

impl Subject {
    /// The policy of this entry.
    #[track_caller]
    pub(super) fn new(policy: &str) -> Self {
        let (start, mut names, tier) = (clock::now(), Names::default(), TierSize::default());
        let seconds = Seconds::since(start, 1_000_000_000_000);
        let terms =
            Terms { compat: Compat::V0156, tier: tier.clone(), use_tracestate: false, seconds };
        let policies = Policies::build(&config("", &[policy]), &terms, &mut names);
        Self { policies, names, start, tier }
    }

    /// The policy of this entry in its place, after a change of the configuration.
    #[track_caller]
    pub(super) fn changed_to(&self, policy: &str) -> Self {
        let Self { start, tier, .. } = self;
        let (mut names, seconds) = (self.names.clone(), Seconds::since(*start, 1_000_000_000_000));
        let terms =
            Terms { compat: Compat::V0156, tier: tier.clone(), use_tracestate: false, seconds };
        let left = self.policies.stock().clone();
        let policies = Policies::build_after(left, &config("", &[policy]), &terms, &mut names);
        Self { policies, names, start: *start, tier: tier.clone() }
    }

    fn rule(&self) -> &Branch {
        &self.policies.rules()[0]
    }

    /// What it says about a trace after so many milliseconds.
    #[track_caller]
    pub(super) fn vote(&self, millis: u64, trace: &str) -> Ballot {
        let now = self.start + Duration::from_millis(millis);
        self.rule().rule.evaluate(&seen(&self.policies, trace).case(now))
    }

    /// What it would say.
    #[track_caller]
    pub(super) fn peek(&self, millis: u64, trace: &str) -> Ballot {
        let now = self.start + Duration::from_millis(millis);
        self.rule().rule.peek(&seen(&self.policies, trace).case(now))
    }

    /// Whether it keeps a trace of so many spans after so many milliseconds. It must have said so
    /// when it was only asked what it would say.
    #[track_caller]
    pub(super) fn keeps(&self, millis: u64, spans: usize) -> bool {
        let mut trace = Trace::new([1; 16], self.start);
        for _ in 0..spans {
            arrive(&self.policies, &mut trace, "0..1");
        }
        let case = trace.case(self.start + Duration::from_millis(millis));
        let rule = &self.rule().rule;
        let peeks = [rule.peek(&case), rule.peek(&case)];
        let vote = rule.evaluate(&case);
        assert_eq!(peeks, [vote, vote], "what peek said");
        vote.unwrap().decision == Decision::Sampled
    }

    /// Which of its sub-policies keeps a trace, if it is kept.
    #[track_caller]
    pub(super) fn decider(&self, millis: u64, trace: &str) -> Option<&str> {
        let vote = self.vote(millis, trace).unwrap();
        let by = vote.by.filter(|_| vote.decision == Decision::Sampled);
        by.map(|id| &**self.names.get(id))
    }

    /// Which of its sub-policies is to blame that a trace is not kept, if one is.
    #[track_caller]
    pub(super) fn objector(&self, millis: u64, trace: &str) -> Option<&str> {
        let vote = self.vote(millis, trace).unwrap();
        assert_ne!(vote.decision, Decision::Sampled, "{trace}");
        vote.by.map(|id| &**self.names.get(id))
    }

    /// What it is bound to decide about a trace of which this has arrived.
    #[track_caller]
    pub(super) fn foregone(&self, trace: &str) -> Option<Decision> {
        self.rule().rule.foregone(&seen(&self.policies, trace).case(self.start))
    }

    /// Shows it a trace span by span. What it once is bound to decide, it must stay bound to, and
    /// decide in the end.
    #[track_caller]
    pub(super) fn check_foregone(&self, spans: &[String]) {
        let mut trace = Trace::new([1; 16], self.start);
        let mut bound = None;
        for (index, span) in spans.iter().enumerate() {
            arrive(&self.policies, &mut trace, span);
            let foregone = self.rule().rule.foregone(&trace.case(self.start));
            assert!(
                bound.is_none() || foregone == bound,
                "{bound:?}, then {foregone:?} at {index}"
            );
            bound = foregone;
        }
        let vote = self.rule().rule.evaluate(&trace.case(self.start));
        if let Some(bound) = bound {
            assert_eq!(vote.map(|vote| vote.decision), Ok(bound));
        }
    }
}

/// A request with the span of this notation; its trace id is all ones.
#[track_caller]
fn request(span: &str) -> Batch {
    let tokens: Vec<&str> = span.split_whitespace().collect();
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| {
            for token in tokens.iter().filter_map(|token| token.strip_prefix('@')) {
                attribute(resource, 1, token);
            }
        });
        entry.message(2, |scope| scope.message(2, |span| write_span(span, &tokens)));
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

#[track_caller]
fn write_span(span: &mut Writer, tokens: &[&str]) {
    let millis = |text: &str| text.parse::<u64>().unwrap() * 1_000_000;
    let (start, end) = tokens[0].split_once("..").unwrap();
    span.bytes(1, &[1; 16]);
    span.fixed64(7, millis(start));
    span.fixed64(8, millis(end));
    for token in &tokens[1..] {
        match token.split_once(':') {
            Some(("name", name)) => span.bytes(5, name.as_bytes()),
            Some(("kind", kind)) => span.varint(6, kind.parse().unwrap()),
            Some(("state", state)) => span.bytes(3, state.as_bytes()),
            Some(("flags", flags)) => {
                let flags = flags.strip_prefix("0x").unwrap();
                span.fixed32(16, u32::from_str_radix(flags, 16).unwrap());
            }
            Some(("event", event)) => span.message(11, |writer| {
                let mut pieces = event.split(',');
                writer.bytes(2, pieces.next().unwrap().as_bytes());
                pieces.for_each(|piece| attribute(writer, 3, piece));
            }),
            _ => match *token {
                "ok" => span.message(15, |status| status.varint(3, 1)),
                "error" => span.message(15, |status| status.varint(3, 2)),
                "child" => span.bytes(4, &[5; 8]),
                token if token.starts_with('@') => {}
                token => attribute(span, 9, token),
            },
        }
    }
}

#[track_caller]
fn attribute(writer: &mut Writer, field: u32, token: &str) {
    let (key, value) = token.split_once('=').unwrap();
    let key = key.as_bytes();
    match value.split_at_checked(1) {
        Some(("#", number)) => writer.int_attribute(field, key, number.parse().unwrap()),
        Some(("?", flag)) => writer.bool_attribute(field, key, flag.parse().unwrap()),
        Some(("~", number)) => {
            writer.attribute(field, key, |any| any.double(4, number.parse().unwrap()));
        }
        _ => writer.string_attribute(field, key, value.as_bytes()),
    }
}

fn validated(keys: &str, policies: &[&str]) -> Problems {
    let mut problems = Problems::default();
    let text = format!("{keys}policies: [{}]", policies.join(", "));
    let node = yaml::parse(&text, 0).unwrap();
    if let Some(config) = TailSamplingConfig::decode(&node, &Path::ROOT, &mut problems) {
        config.validate(&Path::ROOT, &mut problems);
    }
    problems
}

/// All that is wrong with a configuration of this one policy.
pub(super) fn problems(policy: &str) -> String {
    let problems = validated("", &[policy]);
    let lines: Vec<String> = problems.errors().iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// All that is warned about in a configuration of this one policy.
#[track_caller]
pub(super) fn warnings(policy: &str) -> String {
    warnings_of("", &[policy])
}

/// All that is warned about in a configuration of these policies. `keys` are lines of the
/// processor's section.
#[track_caller]
pub(super) fn warnings_of(keys: &str, policies: &[&str]) -> String {
    let problems = validated(keys, policies);
    assert!(problems.errors().is_empty(), "{:?}", problems.errors());
    let lines: Vec<String> = problems.warnings().iter().map(ToString::to_string).collect();
    lines.join("\n")
}
