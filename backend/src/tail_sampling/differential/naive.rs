//! A sampler on decoded spans, as the Collector's documentation and source describe it: it looks
//! at all spans of a trace when it is due, one policy after the other.
//!
//! Source: contrib v0.156 tailsamplingprocessor, `processor.go` and `internal/sampling`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Event;

use super::rules::{Code, Condition, NamedRule, Rule};
use super::traces::{self, Piece};

/// What a policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vote {
    Sampled,
    NotSampled,
    Dropped,
}

/// A policy gave an error.
struct Failed;

type Outcome = Result<Vote, Failed>;

/// A trace that waits or was judged.
struct Trace {
    arrived: Instant,
    spans: Vec<(Resource, Span)>,
    kept: Option<bool>,
}

/// All traces, and the policies in the order in which they vote.
pub(super) struct Sampler {
    traces: BTreeMap<u64, Trace>,
    /// Traces in order of arrival.
    order: Vec<u64>,
    policies: Vec<(Policy, [u64; 3], u64)>,
    first_match: bool,
}

impl Sampler {
    /// A sampler with these policies; those that drop vote first.
    pub(super) fn new(rules: &[NamedRule], first_match: bool, now: Instant) -> Self {
        let (traces, order, policies) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut sampler = Self { traces, order, policies, first_match };
        sampler.set_policies(rules, first_match, now);
        sampler
    }

    /// Judges by these from now on.
    pub(super) fn set_policies(&mut self, rules: &[NamedRule], first_match: bool, now: Instant) {
        let (dropping, others): (Vec<_>, Vec<_>) =
            rules.iter().partition(|named| matches!(named.rule, Rule::Drop(_)));
        let all = dropping.into_iter().chain(others);
        self.policies = all.map(|named| (Policy::new(&named.rule, now), [0; 3], 0)).collect();
        self.first_match = first_match;
    }

    /// Takes a piece in.
    pub(super) fn admit(&mut self, piece: &Piece, now: Instant) {
        let order = &mut self.order;
        let trace = self.traces.entry(piece.trace).or_insert_with(|| {
            order.push(piece.trace);
            Trace { arrived: now, spans: Vec::new(), kept: None }
        });
        for span in &piece.spans {
            trace.spans.push((piece.resource.clone(), span.clone()));
        }
    }

    /// Judges what has waited long enough.
    pub(super) fn judge(&mut self, now: Instant, wait: Duration) {
        for id in &self.order {
            let trace = self.traces.get_mut(id).unwrap();
            if trace.kept.is_none() && now - trace.arrived >= wait {
                let kept = decide(&mut self.policies, self.first_match, *id, &trace.spans, now);
                trace.kept = Some(kept);
            }
        }
    }

    /// Whether a trace was judged worth keeping, once it was judged.
    pub(super) fn is_kept(&self, trace: u64) -> Option<bool> {
        self.traces[&trace].kept
    }

    /// Every trace with how many of its spans have arrived.
    pub(super) fn spans(&self) -> impl Iterator<Item = (u64, usize)> {
        self.traces.iter().map(|(id, trace)| (*id, trace.spans.len()))
    }

    /// For each policy: votes for sampled, not sampled and dropped, and errors.
    pub(super) fn votes(&self) -> Vec<([u64; 3], u64)> {
        self.policies.iter().map(|(_, votes, errors)| (*votes, *errors)).collect()
    }
}

fn decide(
    policies: &mut [(Policy, [u64; 3], u64)],
    first_match: bool,
    id: u64,
    spans: &[(Resource, Span)],
    now: Instant,
) -> bool {
    let mut sampled = false;
    for (policy, votes, errors) in policies {
        match policy.evaluate(id, spans, now) {
            Err(Failed) => *errors += 1,
            Ok(vote) => {
                votes[vote as usize] += 1;
                match vote {
                    Vote::Dropped => return false,
                    Vote::Sampled if first_match => return true,
                    Vote::Sampled => sampled = true,
                    Vote::NotSampled => {}
                }
            }
        }
    }
    sampled
}

/// A policy with what it has to remember.
enum Policy {
    /// It remembers nothing.
    Plain(Rule),
    Bucket {
        rate: f64,
        burst: f64,
        tokens: f64,
        last: Instant,
    },
    And(Vec<Policy>),
    Not(Box<Policy>),
    Drop(Vec<Policy>),
    Composite {
        total: i64,
        parts: Vec<Part>,
        counted_at: Instant,
    },
}

struct Part {
    policy: Policy,
    allocation: i64,
    counter: i64,
}

impl Policy {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "as in Go")]
    fn new(rule: &Rule, now: Instant) -> Self {
        let all = |rules: &[Rule]| rules.iter().map(|rule| Policy::new(rule, now)).collect();
        match rule {
            Rule::Rate { spans, burst } => {
                let rate = *spans as f64;
                let burst = if *burst == 0 { 2.0 * rate } else { *burst as f64 };
                Policy::Bucket { rate, burst, tokens: burst, last: now }
            }
            Rule::And(rules) => Policy::And(all(rules)),
            Rule::Not(rule) => Policy::Not(Box::new(Policy::new(rule, now))),
            Rule::Drop(rules) => Policy::Drop(all(rules)),
            Rule::Composite { total, parts } => {
                let count = parts.len() as f64;
                let part = |(rule, share): &(Rule, Option<u64>)| {
                    let allocation = match share {
                        None => 0.0,
                        Some(0) => *total as f64 / count,
                        Some(percent) => *percent as f64 / 100.0 * *total as f64,
                    };
                    let policy = Policy::new(rule, now);
                    Part { policy, allocation: allocation as i64, counter: 0 }
                };
                let parts = parts.iter().map(part).collect();
                Policy::Composite { total: total.cast_signed(), parts, counted_at: now }
            }
            plain => Policy::Plain(plain.clone()),
        }
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap, reason = "as in Go")]
    fn evaluate(&mut self, id: u64, spans: &[(Resource, Span)], now: Instant) -> Outcome {
        match self {
            Policy::Plain(rule) => plain(rule, id, spans),
            Policy::Bucket { rate, burst, tokens, last } => {
                *tokens = (*tokens + (now - *last).as_secs_f64() * *rate).min(*burst);
                *last = now;
                let wanted = spans.len() as f64;
                let sampled = wanted <= *tokens;
                if sampled {
                    *tokens -= wanted;
                }
                Ok(sampled_if(sampled))
            }
            Policy::And(policies) => all(policies, id, spans, now).map(sampled_if),
            Policy::Drop(policies) => {
                let all = all(policies, id, spans, now)?;
                Ok(if all { Vote::Dropped } else { Vote::NotSampled })
            }
            Policy::Not(policy) => Ok(match policy.evaluate(id, spans, now)? {
                Vote::Sampled => Vote::NotSampled,
                Vote::NotSampled => Vote::Sampled,
                Vote::Dropped => Vote::Dropped,
            }),
            Policy::Composite { total, parts, counted_at } => {
                // Time passes in whole seconds here, so a later moment is another second.
                if *counted_at != now {
                    *counted_at = now;
                    for part in parts.iter_mut() {
                        part.counter = 0;
                    }
                }
                for part in parts {
                    if part.policy.evaluate(id, spans, now)? != Vote::Sampled {
                        continue;
                    }
                    let counter = part.counter + spans.len() as i64;
                    let sampled = counter <= part.allocation && counter <= *total;
                    if sampled {
                        part.counter = counter;
                    }
                    return Ok(sampled_if(sampled));
                }
                Ok(Vote::NotSampled)
            }
        }
    }
}

/// Whether all sample it; those after one that does not are not asked.
fn all(
    policies: &mut [Policy],
    id: u64,
    spans: &[(Resource, Span)],
    now: Instant,
) -> Result<bool, Failed> {
    for policy in policies {
        if policy.evaluate(id, spans, now)? != Vote::Sampled {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sampled_if(yes: bool) -> Vote {
    if yes { Vote::Sampled } else { Vote::NotSampled }
}

/// A policy that remembers nothing.
fn plain(rule: &Rule, id: u64, spans: &[(Resource, Span)]) -> Outcome {
    let count = spans.len() as u64;
    Ok(sampled_if(match rule {
        Rule::Always => true,
        Rule::Latency { lower, upper } => is_slow(*lower, *upper, spans),
        Rule::Numeric { key, min, max, invert } => {
            let min = if *min == 0 { i64::MIN } else { *min };
            let max = if *max == 0 { i64::MAX } else { *max };
            let matches = |value: Option<&Value>| {
                let number = if let Some(Value::IntValue(number)) = value { *number } else { 0 };
                min <= number && number <= max
            };
            any_attribute(spans, key, matches, matches) != *invert
        }
        Rule::Boolean { key, value: wanted, invert } => {
            let matches =
                |value: Option<&Value>| matches!(value, Some(Value::BoolValue(true))) == *wanted;
            any_attribute(spans, key, matches, matches) != *invert
        }
        Rule::Text { key, values, regex, invert } => {
            let matches = |text: &str| match regex {
                true => values.iter().any(|v| regex::Regex::new(v).unwrap().is_match(text)),
                false => values.contains(&text),
            };
            let text = |value: Option<&Value>| match value {
                Some(Value::StringValue(text)) => text.clone(),
                _ => String::new(),
            };
            let on_span = |value: Option<&Value>| !text(value).is_empty() && matches(&text(value));
            any_attribute(spans, key, |value| matches(&text(value)), on_span) != *invert
        }
        Rule::Status(codes) => spans.iter().any(|(_, span)| codes.contains(&code(span))),
        Rule::SpanCount { min, max } => *min <= count && (*max == 0 || count <= *max),
        Rule::Probabilistic { percentage, salt } => probably(*percentage, salt, id),
        Rule::TraceState { values } => spans.iter().any(|(_, span)| {
            members(&span.trace_state).is_some_and(|members| {
                members.iter().any(|(key, value)| *key == "k" && values.contains(value))
            })
        }),
        Rule::TraceFlags => spans.iter().any(|(_, span)| span.flags & 1 == 1),
        Rule::Ottl { span, event, propagate } => ottl(span, event, *propagate, spans)?,
        Rule::Rate { .. }
        | Rule::And(_)
        | Rule::Not(_)
        | Rule::Drop(_)
        | Rule::Composite { .. } => {
            unreachable!("they are no plain policies")
        }
    }))
}

/// Tested after each span: a trace can be within the bounds on its way to being too long.
fn is_slow(lower: u64, upper: u64, spans: &[(Resource, Span)]) -> bool {
    let (mut start, mut end) = (u64::MAX, 0);
    spans.iter().any(|(_, span)| {
        start = start.min(span.start_time_unix_nano);
        end = end.max(span.end_time_unix_nano);
        let milliseconds = (end - start) / 1_000_000;
        match upper {
            0 => milliseconds >= lower,
            _ => lower < milliseconds && milliseconds <= upper,
        }
    })
}

#[allow(clippy::option_option, reason = "an attribute may be there without a value")]
fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<Option<&'a Value>> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(found.value.as_ref().and_then(|value| value.value.as_ref()))
}

fn any_attribute(
    spans: &[(Resource, Span)],
    key: &str,
    on_resource: impl Fn(Option<&Value>) -> bool,
    on_span: impl Fn(Option<&Value>) -> bool,
) -> bool {
    spans.iter().any(|(resource, span)| {
        attribute(&resource.attributes, key).is_some_and(&on_resource)
            || attribute(&span.attributes, key).is_some_and(&on_span)
    })
}

fn code(span: &Span) -> Code {
    match span.status.as_ref().map_or(0, |status| status.code) {
        1 => Code::Ok,
        2 => Code::Error,
        _ => Code::Unset,
    }
}

/// FNV-1a over salt and id. Of percentages between 0.1 and 100 the bound is their share of 2^64,
/// less one; exact here because a product with few digits is.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of 2^64 that a wider integer holds"
)]
fn probably(percentage: f64, salt: &str, id: u64) -> bool {
    let salt = if salt.is_empty() { "default-hash-seed" } else { salt };
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in salt.bytes().chain(traces::id(id)) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    match percentage {
        0.0 => hash == 0,
        percentage => {
            let bound = (percentage / 100.0 * 18_446_744_073_709_551_616.0) as u128 - 1;
            u128::from(hash) <= bound
        }
    }
}

/// The members of a W3C trace state, unless it is none.
fn members(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut members: Vec<(&str, &str)> = Vec::new();
    for member in text.split(',').map(str::trim).filter(|member| !member.is_empty()) {
        let (key, value) = member.split_once('=')?;
        let is_known = members.iter().any(|(known, _)| *known == key);
        if is_known || key.contains(' ') {
            return None;
        }
        members.push((key, value));
    }
    Some(members)
}

fn ottl(
    span_conditions: &[Condition],
    event_conditions: &[Condition],
    propagate: bool,
    spans: &[(Resource, Span)],
) -> Result<bool, Failed> {
    let any = |conditions: &[Condition], view: &View<'_>| {
        for condition in conditions {
            match condition.holds(view) {
                Ok(true) => return Ok(true),
                Err(Failed) if propagate => return Err(Failed),
                Ok(false) | Err(Failed) => {}
            }
        }
        Ok(false)
    };
    for (resource, span) in spans {
        if any(span_conditions, &View::of_span(resource, span))? {
            return Ok(true);
        }
        for event in &span.events {
            if any(event_conditions, &View::of_event(resource, span, event))? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What a condition is about.
struct View<'a> {
    resource: &'a Resource,
    span: &'a Span,
    attributes: &'a [KeyValue],
    name: &'a str,
}

impl<'a> View<'a> {
    fn of_span(resource: &'a Resource, span: &'a Span) -> Self {
        Self { resource, span, attributes: &span.attributes, name: &span.name }
    }

    fn of_event(resource: &'a Resource, span: &'a Span, event: &'a Event) -> Self {
        Self { resource, span, attributes: &event.attributes, name: &event.name }
    }
}

impl Condition {
    #[allow(clippy::cast_precision_loss, reason = "as OTTL compares them")]
    fn holds(&self, view: &View<'_>) -> Result<bool, Failed> {
        let value = |key: &str| attribute(view.attributes, key).flatten();
        Ok(match self {
            Self::Text { key, text } => {
                matches!(value(key), Some(Value::StringValue(value)) if value == text)
            }
            Self::Above { key, number } => match value(key) {
                Some(Value::IntValue(value)) => value > number,
                Some(Value::DoubleValue(value)) => *value > *number as f64,
                _ => false,
            },
            Self::ResourceHas { key } => {
                attribute(&view.resource.attributes, key).flatten().is_some()
            }
            Self::Prefix { key } => match value(key) {
                Some(Value::StringValue(value)) => value.starts_with("/c"),
                _ => return Err(Failed),
            },
            Self::Name => view.name.starts_with("GET") || view.name.starts_with("exc"),
            Self::Root => view.span.parent_span_id.is_empty(),
            Self::Not(condition) => !condition.holds(view)?,
            Self::And(left, right) => left.holds(view)? && right.holds(view)?,
        })
    }
}
