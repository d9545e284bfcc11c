//! Conditions of rules: what a span, or the trace as a whole, must be like.
//!
//! Source: honeycombio/refinery `sample/rules.go`, `config/sampler_config.go`.

use shared::config::{Path, Problems};
use shared::ottl::{self, SpanScope};
use shared::wire::AnyValue;
use shared::{config_enum, config_struct};

use super::super::field::{Field, FieldName};
use super::super::{Ballot, Builder, Case, Decision, Marks, Policy, Rule, Sight, Vote};
use super::test::{Operator, Test};
use super::value::{Datatype, Value};

config_struct! {
    /// A condition.
    pub(in crate::tail_sampling::policy) struct ConditionConfig {
        /// The field that it is about.
        pub field: String = String::new(),
        /// Several fields instead, of which the first that a span has counts.
        pub fields: Vec<String> = Vec::new(),
        /// What is asked of it.
        pub operator: Option<Operator> = None,
        /// What it is compared with.
        pub value: Option<Value> = None,
        /// What both are made before they are compared; by default they stay what they are.
        pub datatype: Option<Datatype> = None,
        /// Instead of all these: an OTTL condition on spans. One that cannot be evaluated does not
        /// hold.
        pub ottl: String = String::new(),
    }
}

/// What a condition is about.
#[derive(Debug)]
enum Subject {
    Trace(Fact),
    /// Fields of spans, either all of the root or none.
    Span(Vec<FieldName>),
    /// Spans.
    Ottl(Box<ottl::Condition>),
}

/// What is known of the trace as a whole when it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    /// Is there for a trace that has a root.
    Root,
    SpanCount,
    DurationMs,
}

impl Fact {
    fn find(field: &str) -> Option<Self> {
        match field {
            "trace.span_count" => Some(Fact::SpanCount),
            "trace.duration_ms" => Some(Fact::DurationMs),
            _ => None,
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "2^53 ns are 104 days")]
    fn of(self, case: &Case<'_>) -> Option<AnyValue<'static>> {
        let summary = case.summary;
        let duration_ns = summary.end_ns.saturating_sub(summary.start_ns);
        match self {
            Fact::Root => summary.rooted.then_some(AnyValue::Empty),
            Fact::SpanCount => Some(AnyValue::Int(summary.spans.into())),
            Fact::DurationMs => Some(AnyValue::Double(duration_ns as f64 / 1e6)),
        }
    }
}

/// What is wrong, with the key that it is wrong with.
type Mistake = (&'static str, String);

impl ConditionConfig {
    /// Reports everything that is wrong.
    pub(super) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let test = if self.ottl.is_empty() { self.test().err() } else { None };
        let mistakes = [self.subject().err(), test];
        for (key, message) in mistakes.into_iter().flatten() {
            problems.report(&at.key(key), message);
        }
    }

    /// Whether it is asked of spans, and so leaves a mark.
    fn is_of_spans(&self) -> bool {
        matches!(self.subject(), Ok(Subject::Span(_) | Subject::Ottl(_)))
    }

    /// Whether it is asked of any span, not of the root alone.
    fn is_of_any_span(&self) -> bool {
        let is_of_any = |names: &[FieldName]| !names.iter().any(|name| name.of_root);
        match self.subject() {
            Ok(Subject::Span(names)) => is_of_any(&names),
            Ok(Subject::Ottl(_)) => true,
            Ok(Subject::Trace(_)) | Err(_) => false,
        }
    }

    fn subject(&self) -> Result<Subject, Mistake> {
        let (field, fields) = (self.field.as_str(), self.fields.as_slice());
        if !self.ottl.is_empty() {
            if !field.is_empty() || !fields.is_empty() || self.operator.is_some() {
                return Err(("ottl", "stands alone, without field and operator".to_owned()));
            }
            return match ottl::Condition::parse(&self.ottl, ottl::Context::Span) {
                Ok(condition) => Ok(Subject::Ottl(Box::new(condition))),
                Err(error) => Err(("ottl", error.located(&self.ottl))),
            };
        }
        if self.operator == Some(Operator::HasRootSpan) {
            return match (field, fields) {
                ("", []) => Ok(Subject::Trace(Fact::Root)),
                _ => Err(("field", "has_root_span asks of no field".to_owned())),
            };
        }
        match (field, fields) {
            ("", []) => Err(("field", "must be set".to_owned())),
            (field, []) => match Fact::find(field) {
                Some(fact) => Ok(Subject::Trace(fact)),
                None => match FieldName::parse(field) {
                    Ok(name) => Ok(Subject::Span(vec![name])),
                    Err(message) => Err(("field", message)),
                },
            },
            ("", fields) => fields_of_spans(fields).map_err(|message| ("fields", message)),
            _ => Err(("fields", "stands beside field; only one of them may be set".to_owned())),
        }
    }

    fn test(&self) -> Result<Test, Mistake> {
        let Some(operator) = self.operator else {
            return Err(("operator", "must be set".to_owned()));
        };
        let test = Test::new(operator, self.value.as_ref(), self.datatype);
        test.map_err(|message| ("value", message))
    }

    /// The condition, ready to be asked. It must have been validated.
    fn build(&self, builder: &mut Builder<'_>) -> Condition {
        match (self.subject(), self.test()) {
            (Ok(Subject::Ottl(condition)), _) => Condition::OfSpan(OfSpan::Ottl(condition)),
            (Ok(Subject::Trace(fact)), Ok(test)) => Condition::OfTrace(OfTrace { fact, test }),
            (Ok(Subject::Span(names)), Ok(test)) => {
                let of_root = names.iter().any(|name| name.of_root);
                let fields = names.iter().map(|name| name.build(builder)).collect();
                Condition::OfSpan(OfSpan::Fields { fields, of_root, test })
            }
            mistake => unreachable!("validate reports {mistake:?}"),
        }
    }
}

fn fields_of_spans(fields: &[String]) -> Result<Subject, String> {
    if let Some(field) = fields.iter().find(|field| Fact::find(field).is_some()) {
        return Err(format!("{field} is of the trace and cannot be one of several"));
    }
    let names = fields.iter().map(|field| FieldName::parse(field));
    let names = names.collect::<Result<Vec<FieldName>, String>>()?;
    let of_root = names.iter().filter(|name| name.of_root).count();
    match of_root == 0 || of_root == names.len() {
        true => Ok(Subject::Span(names)),
        false => Err("fields of the root cannot stand beside fields of any span".to_owned()),
    }
}

enum Condition {
    OfTrace(OfTrace),
    OfSpan(OfSpan),
}

config_enum! {
    /// Whom the conditions of a rule are about.
    pub(in crate::tail_sampling::policy) enum Scope {
        /// The trace: each may be satisfied by another span.
        Trace = "trace",
        /// One span that satisfies them all.
        Span = "span",
    }
}

/// Rules that keep a trace if the conditions hold: all of them together say whether they all do.
pub(super) fn build(
    conditions: &[ConditionConfig],
    scope: Scope,
    builder: &mut Builder<'_>,
) -> Vec<Box<dyn Rule>> {
    let (mut rules, mut joined) = (Vec::new(), Vec::new());
    for condition in conditions {
        match condition.build(builder) {
            Condition::OfTrace(condition) => rules.push(builder.policy(condition)),
            Condition::OfSpan(condition) if scope == Scope::Span && !condition.is_of_root() => {
                joined.push(condition);
            }
            Condition::OfSpan(condition) => rules.push(builder.policy(OneSpan(vec![condition]))),
        }
    }
    if !joined.is_empty() {
        rules.push(builder.policy(OneSpan(joined)));
    }
    rules
}

/// How many marks these rules leave.
pub(super) fn marks(conditions: &[ConditionConfig], scope: Scope) -> usize {
    let all = conditions.iter().filter(|condition| condition.is_of_spans()).count();
    let joined = conditions.iter().filter(|condition| condition.is_of_any_span()).count();
    match scope {
        Scope::Trace => all,
        Scope::Span => all - joined + joined.min(1),
    }
}

/// A condition about the trace as a whole.
struct OfTrace {
    fact: Fact,
    test: Test,
}

impl Policy for OfTrace {
    fn evaluate(&self, _marks: Marks, case: &Case<'_>) -> Ballot {
        Ok(Vote::sampled_if(self.test.passes(self.fact.of(case))))
    }

    /// A root that came stays; the rest may change with each span.
    fn foregone(&self, _marks: Marks, case: &Case<'_>) -> Option<Decision> {
        (self.fact == Fact::Root && case.summary.rooted)
            .then(|| Decision::sampled_if(self.test.passes(self.fact.of(case))))
    }
}

/// A condition about spans.
enum OfSpan {
    Fields {
        /// The first that is there counts.
        fields: Vec<Field>,
        of_root: bool,
        test: Test,
    },
    Ottl(Box<ottl::Condition>),
}

impl OfSpan {
    fn is_of_root(&self) -> bool {
        matches!(self, OfSpan::Fields { of_root: true, .. })
    }

    fn holds(&self, sight: &Sight<'_>) -> bool {
        match self {
            OfSpan::Fields { of_root: true, .. } if !sight.span.is_root() => false,
            OfSpan::Fields { fields, test, .. } => {
                test.passes(fields.iter().find_map(|field| field.get(sight)))
            }
            OfSpan::Ottl(condition) => {
                let (resource, scope) = (sight.entry, sight.scope);
                condition.matches(&SpanScope { resource, scope, span: *sight.span }) == Ok(true)
            }
        }
    }

    /// Whether it holds for a trace without a root, which has none of its fields.
    fn holds_without_root(&self) -> bool {
        matches!(self, OfSpan::Fields { of_root: true, test, .. } if test.passes(None))
    }
}

/// Conditions that all hold for one span.
struct OneSpan(Vec<OfSpan>);

impl Policy for OneSpan {
    fn marks(&self) -> u8 {
        1
    }

    fn observe(&self, sight: &Sight<'_>) -> Marks {
        Marks::seen_if(self.0.iter().all(|condition| condition.holds(sight)))
    }

    fn evaluate(&self, marks: Marks, case: &Case<'_>) -> Ballot {
        let without_root = || !case.summary.rooted && self.0.iter().all(OfSpan::holds_without_root);
        Ok(Vote::sampled_if(!marks.is_none() || without_root()))
    }

    fn foregone(&self, marks: Marks, _case: &Case<'_>) -> Option<Decision> {
        (!marks.is_none()).then_some(Decision::Sampled)
    }
}
