//! A notation for tests of policies.
//!
//! A policy is written as in the configuration. A trace is its spans, with semicolons between
//! them; a span is `start..end` in milliseconds, then any of: `ok` or `error`, `key=text`,
//! `key=#5` (an integer), and the same with `@` before the key for an attribute of its resource.

use shared::config::{Decode, Path, Problems, yaml};
use shared::wire::{Signal, Writer};
use shared::{Batch, config_struct};

use super::super::config::TailSamplingConfig;
use super::super::evaluate::Policies;
use super::super::trace::{Summary, Trace};
use super::{Decision, NamedPolicy, Names};
use shared::service::ProcessorConfig;

config_struct! {
    struct PolicyList {
        pub policies: Vec<NamedPolicy> = Vec::new(),
    }
}

/// The policies of these entries, ready to be asked.
#[track_caller]
pub(in crate::tail_sampling) fn policies(entries: &[&str]) -> Policies {
    Policies::build(&named_policies(entries), false, &mut Names::default())
}

/// The policies of these entries, as they are configured.
#[track_caller]
pub(in crate::tail_sampling) fn named_policies(entries: &[&str]) -> Vec<NamedPolicy> {
    let text = format!("policies: [{}]", entries.join(", "));
    let mut problems = Problems::default();
    let node = yaml::parse(&text, 0).unwrap();
    let list = PolicyList::decode(&node, &Path::ROOT, &mut problems);
    list.unwrap_or_else(|| panic!("{:?}", problems.errors())).policies
}

/// Asserts what one policy decides about a trace.
#[track_caller]
pub(super) fn check(policy: &str, trace: &str, expected: Decision) {
    let policies = policies(&[policy]);
    let mut due = Trace::new([1; 16], shared::clock::now());
    for span in trace.split(';') {
        let batch = request(span);
        for entry in shared::wire::export::resources(batch.bytes()) {
            due.seen = due.seen.union(policies.observe_resource(entry.resource()));
            let resource = entry.resource();
            for scope in entry.scopes() {
                for span in scope.records() {
                    let span = shared::wire::Span::read(span);
                    due.summary.add(&span, span.raw.len() + 3);
                    policies.observe(&mut due, &span, (entry, resource, scope));
                }
            }
        }
    }
    let now = shared::clock::now();
    let verdicts = policies.judge(&[due], now, &mut policies.tallies(), || now);
    assert_eq!(verdicts[0].decision, expected, "{policy} on {trace}");
}

/// What one policy decides about each of these ids: `1` for sampled.
#[track_caller]
pub(super) fn check_ids(policy: &str, ids: &[[u8; 16]]) -> String {
    let policies = policies(&[policy]);
    let now = shared::clock::now();
    let due: Vec<Trace> = ids.iter().map(|id| Trace::new(*id, now)).collect();
    debug_assert!(due.iter().all(|trace| trace.summary.spans == Summary::default().spans));
    let verdicts = policies.judge(&due, now, &mut policies.tallies(), || now);
    verdicts
        .iter()
        .map(|verdict| char::from(b'0' + u8::from(verdict.decision == Decision::Sampled)))
        .collect()
}

/// A request with the span of this notation; its trace id is all ones.
fn request(span: &str) -> Batch {
    let tokens: Vec<&str> = span.split_whitespace().collect();
    let millis = |text: &str| text.parse::<u64>().unwrap() * 1_000_000;
    let (start, end) = tokens[0].split_once("..").unwrap();
    let attribute = |writer: &mut Writer, number: u32, token: &str| {
        let (key, value) = token.split_once('=').unwrap();
        match value.strip_prefix('#') {
            Some(integer) => {
                writer.int_attribute(number, key.as_bytes(), integer.parse().unwrap());
            }
            None => writer.string_attribute(number, key.as_bytes(), value.as_bytes()),
        }
    };
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| {
            for token in tokens.iter().filter_map(|token| token.strip_prefix('@')) {
                attribute(resource, 1, token);
            }
        });
        entry.message(2, |scope| {
            scope.message(2, |span| {
                span.bytes(1, &[1; 16]);
                span.fixed64(7, millis(start));
                span.fixed64(8, millis(end));
                for token in &tokens[1..] {
                    match *token {
                        "ok" => span.message(15, |status| status.varint(3, 1)),
                        "error" => span.message(15, |status| status.varint(3, 2)),
                        token if token.starts_with('@') => {}
                        token => attribute(span, 9, token),
                    }
                }
            });
        });
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

/// All that is wrong with a configuration of this one policy.
pub(super) fn problems(policy: &str) -> String {
    let mut problems = Problems::default();
    let node = yaml::parse(&format!("policies: [{policy}]"), 0).unwrap();
    if let Some(config) = TailSamplingConfig::decode(&node, &Path::ROOT, &mut problems) {
        config.validate(&Path::ROOT, &mut problems);
    }
    let lines: Vec<String> = problems.errors().iter().map(ToString::to_string).collect();
    lines.join("\n")
}
