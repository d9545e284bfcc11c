//! Policies of a random configuration: how they are written, and what they are made of.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::traces::{KEYS, TEXTS};

/// An entry of `policies`.
#[derive(Debug, Clone)]
pub(super) struct NamedRule {
    /// Its name.
    pub(super) name: String,
    /// What it does.
    pub(super) rule: Rule,
}

/// A policy of the Collector.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    Always,
    Latency { lower: u64, upper: u64 },
    Numeric { key: &'static str, min: i64, max: i64, invert: bool },
    Boolean { key: &'static str, value: bool, invert: bool },
    Text { key: &'static str, values: Vec<&'static str>, regex: bool, invert: bool },
    Status(Vec<Code>),
    SpanCount { min: u64, max: u64 },
    Probabilistic { percentage: f64, salt: &'static str },
    TraceState { values: Vec<&'static str> },
    TraceFlags,
    Rate { spans: u64, burst: u64 },
    Ottl { span: Vec<Condition>, event: Vec<Condition>, propagate: bool },
    And(Vec<Rule>),
    Not(Box<Rule>),
    Drop(Vec<Rule>),
    Composite { total: u64, parts: Vec<(Rule, Option<u64>)> },
}

/// A status code with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Unset,
    Ok,
    Error,
}

/// An OTTL condition.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// `attributes["key"] == "text"`, of the span or of the event.
    Text { key: &'static str, text: &'static str },
    /// `attributes["key"] > number`.
    Above { key: &'static str, number: i64 },
    /// `resource.attributes["key"] != nil`.
    ResourceHas { key: &'static str },
    /// `HasPrefix(attributes["key"], "/c")`, an error on what is no text.
    Prefix { key: &'static str },
    /// `IsMatch(name, "^GET")`.
    Name,
    /// `IsRootSpan()`, for spans alone.
    Root,
    /// `not (…)`.
    Not(Box<Condition>),
    /// `(…) and (…)`.
    And(Box<Condition>, Box<Condition>),
}

/// One to six policies.
pub(super) fn random(random: &mut StdRng) -> Vec<NamedRule> {
    (0..random.random_range(1..7))
        .map(|number| NamedRule { name: format!("p{number}"), rule: Rule::any(random) })
        .collect()
}

impl Rule {
    fn any(random: &mut StdRng) -> Self {
        match random.random_range(0..16) {
            0..=9 => Self::simple(random),
            10 => Self::And(Self::branches(random)),
            11 => Self::Not(Box::new(Self::simple(random))),
            12 | 13 => Self::Drop(Self::branches(random)),
            _ => {
                let parts: Vec<_> = (0..random.random_range(1..4))
                    .map(|_| (Self::part(random), Self::share(random)))
                    .collect();
                Self::Composite { total: random.random_range(1..60), parts }
            }
        }
    }

    /// Policies below `and` and `drop`.
    fn branches(random: &mut StdRng) -> Vec<Self> {
        (0..random.random_range(1..4))
            .map(|_| match random.random_bool(0.2) {
                true => Self::Not(Box::new(Self::simple(random))),
                false => Self::simple(random),
            })
            .collect()
    }

    /// A policy below `composite`.
    fn part(random: &mut StdRng) -> Self {
        match random.random_bool(0.3) {
            true => Self::And((0..2).map(|_| Self::simple(random)).collect()),
            false => Self::simple(random),
        }
    }

    fn share(random: &mut StdRng) -> Option<u64> {
        match random.random_range(0..4) {
            0 => None,
            1 => Some(0),
            _ => Some(random.random_range(1..90)),
        }
    }

    fn simple(random: &mut StdRng) -> Self {
        let key = KEYS.choose(random).copied().unwrap();
        let invert = random.random_bool(0.2);
        match random.random_range(0..13) {
            0 => Self::Always,
            1 | 2 => {
                let lower = random.random_range(0..500);
                let upper = match random.random_bool(0.5) {
                    true => lower + random.random_range(1..300),
                    false => 0,
                };
                Self::Latency { lower, upper }
            }
            3 => {
                let min = random.random_range(-4..8);
                let max = match random.random_bool(0.3) {
                    true if min != 0 => 0,
                    _ => [min + random.random_range(0..6), 9][usize::from(min >= 8)],
                };
                match (min, max) {
                    // Neither bound, or none that can be met, is refused.
                    (0, 0) => Self::Numeric { key, min: 1, max: 5, invert },
                    (min, 0) if min < 0 => Self::Numeric { key, min, max: -min, invert },
                    (min, max) => Self::Numeric { key, min, max, invert },
                }
            }
            4 => Self::Boolean { key, value: random.random_bool(0.5), invert },
            5 => Self::Text { key, values: vec!["get", "v12"], regex: false, invert },
            6 => Self::Text { key, values: vec!["v[0-9]+", "^p"], regex: true, invert },
            7 => Self::Status(match random.random_range(0..3) {
                0 => vec![Code::Error],
                1 => vec![Code::Unset, Code::Ok],
                _ => vec![Code::Ok],
            }),
            8 => {
                let min = random.random_range(1..8);
                let max = if random.random_bool(0.5) { min + random.random_range(0..5) } else { 0 };
                Self::SpanCount { min, max }
            }
            9 => Self::Probabilistic {
                percentage: random.random_range(0..1000).into(),
                salt: ["", "salt"].choose(random).copied().unwrap(),
            }
            .scaled(),
            10 => Self::TraceState { values: vec!["v", "x"] },
            11 => match random.random_bool(0.5) {
                true => Self::TraceFlags,
                false => {
                    // Powers of two, so that tokens of whole seconds are exact in any arithmetic.
                    let spans = 1 << random.random_range(0..4);
                    let burst = if random.random_bool(0.5) { spans * 3 } else { 0 };
                    Self::Rate { spans, burst }
                }
            },
            _ => Self::Ottl {
                span: (0..2).map(|_| Condition::random(random, true)).collect(),
                event: (0..random.random_range(0..2))
                    .map(|_| Condition::random(random, false))
                    .collect(),
                propagate: random.random_bool(0.5),
            },
        }
    }

    /// Per mille as percent.
    fn scaled(self) -> Self {
        match self {
            Self::Probabilistic { percentage, salt } => {
                Self::Probabilistic { percentage: percentage / 10.0, salt }
            }
            other => other,
        }
    }

    /// The entry, but for its name.
    fn text(&self) -> String {
        let list = |values: &[&str]| format!("{values:?}");
        match self {
            Self::Always => "type: always_sample".to_owned(),
            Self::Latency { lower, upper } => {
                block("latency", &format!("threshold_ms: {lower}, upper_threshold_ms: {upper}"))
            }
            Self::Numeric { key, min, max, invert } => block(
                "numeric_attribute",
                &format!("key: {key}, min_value: {min}, max_value: {max}, invert_match: {invert}"),
            ),
            Self::Boolean { key, value, invert } => block(
                "boolean_attribute",
                &format!("key: {key}, value: {value}, invert_match: {invert}"),
            ),
            Self::Text { key, values, regex, invert } => block(
                "string_attribute",
                &format!(
                    "key: {key}, values: {}, enabled_regex_matching: {regex}, \
                     invert_match: {invert}",
                    list(values)
                ),
            ),
            Self::Status(codes) => {
                let codes: Vec<&str> = codes.iter().map(|code| code.name()).collect();
                block("status_code", &format!("status_codes: {}", list(&codes)))
            }
            Self::SpanCount { min, max } => {
                block("span_count", &format!("min_spans: {min}, max_spans: {max}"))
            }
            Self::Probabilistic { percentage, salt } => block(
                "probabilistic",
                &format!("sampling_percentage: {percentage}, hash_salt: '{salt}'"),
            ),
            Self::TraceState { values } => {
                block("trace_state", &format!("key: k, values: {}", list(values)))
            }
            Self::TraceFlags => "type: trace_flags".to_owned(),
            Self::Rate { spans, burst } => block(
                "rate_limiting",
                &format!("spans_per_second: {spans}, burst_capacity: {burst}"),
            ),
            Self::Ottl { span, event, propagate } => {
                let texts = |conditions: &[Condition], home: &str| {
                    let texts: Vec<String> =
                        conditions.iter().map(|condition| condition.text(home)).collect();
                    format!("{texts:?}")
                };
                let mode = if *propagate { "propagate" } else { "ignore" };
                block(
                    "ottl_condition",
                    &format!(
                        "error_mode: {mode}, span: {}, spanevent: {}",
                        texts(span, "span"),
                        texts(event, "spanevent")
                    ),
                )
            }
            _ => self.combined_text(),
        }
    }

    /// The entry of a rule with others below it.
    fn combined_text(&self) -> String {
        match self {
            Self::And(branches) => block("and", &format!("and_sub_policy: {}", entries(branches))),
            Self::Not(branch) => {
                block("not", &format!("not_sub_policy: {{name: inner, {}}}", branch.text()))
            }
            Self::Drop(branches) => {
                block("drop", &format!("drop_sub_policy: {}", entries(branches)))
            }
            Self::Composite { total, parts } => {
                let rules: Vec<Rule> = parts.iter().map(|(rule, _)| rule.clone()).collect();
                let shares: Vec<String> = (0..)
                    .zip(parts)
                    .filter_map(|(number, (_, share))| {
                        share.map(|share| format!("{{policy: s{number}, percent: {share}}}"))
                    })
                    .collect();
                block(
                    "composite",
                    &format!(
                        "max_total_spans_per_second: {total}, rate_allocation: [{}], \
                         composite_sub_policy: {}",
                        shares.join(", "),
                        entries(&rules)
                    ),
                )
            }
            _ => unreachable!("it has no others below it"),
        }
    }
}

impl NamedRule {
    /// As an entry of `policies`.
    pub(super) fn entry(&self) -> String {
        format!("{{name: {}, {}}}", self.name, self.rule.text())
    }
}

impl Code {
    fn name(self) -> &'static str {
        match self {
            Code::Unset => "UNSET",
            Code::Ok => "OK",
            Code::Error => "ERROR",
        }
    }
}

impl Condition {
    fn random(random: &mut StdRng, of_span: bool) -> Self {
        let key = KEYS.choose(random).copied().unwrap();
        match random.random_range(0..9) {
            0 | 1 => Self::Text { key, text: TEXTS.choose(random).copied().unwrap() },
            2 => Self::Above { key, number: random.random_range(-3..12) },
            3 => Self::ResourceHas { key },
            4 => Self::Prefix { key },
            5 => Self::Name,
            6 if of_span => Self::Root,
            7 => Self::Not(Box::new(Self::random(random, of_span))),
            _ => {
                let (left, right) = (Self::random(random, of_span), Self::random(random, of_span));
                Self::And(Box::new(left), Box::new(right))
            }
        }
    }

    /// As OTTL; `home` is what attributes are taken from.
    fn text(&self, home: &str) -> String {
        match self {
            Self::Text { key, text } => format!("{home}.attributes[\"{key}\"] == \"{text}\""),
            Self::Above { key, number } => format!("{home}.attributes[\"{key}\"] > {number}"),
            Self::ResourceHas { key } => format!("resource.attributes[\"{key}\"] != nil"),
            Self::Prefix { key } => format!("HasPrefix({home}.attributes[\"{key}\"], \"/c\")"),
            Self::Name => format!("IsMatch({home}.name, \"^(GET|exc)\")"),
            Self::Root => "IsRootSpan()".to_owned(),
            Self::Not(condition) => format!("not ({})", condition.text(home)),
            Self::And(left, right) => format!("({}) and ({})", left.text(home), right.text(home)),
        }
    }
}

fn block(kind: &str, settings: &str) -> String {
    format!("type: {kind}, {kind}: {{{settings}}}")
}

fn entries(rules: &[Rule]) -> String {
    let entries: Vec<String> = (0..)
        .zip(rules)
        .map(|(number, rule)| format!("{{name: s{number}, {}}}", rule.text()))
        .collect();
    format!("[{}]", entries.join(", "))
}
