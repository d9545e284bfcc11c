//! `ottl_condition`: keeps traces for which a condition in the Collector's language holds, on a
//! span or on an event of a span.
//!
//! All conditions of a span are tried in order, then for each of its events those of events; the
//! first that holds keeps the trace, whatever its other spans say. With `error_mode: propagate` the
//! first that cannot be evaluated ends it as well: the policy then says nothing about the trace.
//! Spans count in the order of their arrival.
//!
//! Source: contrib v0.156 tailsamplingprocessor/internal/sampling/ottl.go, pkg/ottl/parser.go.

mod probe;

use shared::clock;
use shared::config::{self, Node, Path, Problems};
use shared::config_struct;
use shared::ottl::{Condition, Context, EventScope, FindAttribute, Scope, SpanScope, View};
use shared::telemetry::thin::Thin;
use shared::wire::AnyValue;
use tracing::warn;

use super::{
    Ballot, Builder, Case, Compat, Decision, Failed, KeySet, Marks, Policy, PolicyConfig, Rule,
    Sight, Vote,
};

config_struct! {
    /// `ottl_condition`.
    pub(super) struct OttlConditionConfig {
        /// What follows when a condition cannot be evaluated.
        pub error_mode: Option<ErrorMode> = None,
        /// Conditions on spans.
        pub span: Vec<String> = Vec::new(),
        /// Conditions on events of spans.
        pub spanevent: Vec<String> = Vec::new(),
    }
}

/// What follows when a condition cannot be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorMode {
    /// That is logged, and the condition does not hold.
    Ignore,
    /// The condition does not hold.
    Silent,
    /// The policy says nothing about the trace.
    Propagate,
}

impl config::Decode for ErrorMode {
    /// In any case, as in the Collector.
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::decode(node, at, problems)?;
        match text.to_ascii_lowercase().as_str() {
            "ignore" => Some(Self::Ignore),
            "silent" => Some(Self::Silent),
            "propagate" => Some(Self::Propagate),
            _ => config::expected("one of ignore, silent, propagate", node, at, problems),
        }
    }
}

impl ErrorMode {
    /// What it is when it is not set. In v0.156 that is no mode at all, and has the effect of
    /// `silent`; contrib has decided on `propagate` since (#48420).
    fn when_unset(compat: Compat) -> Self {
        match compat {
            Compat::V0156 => Self::Silent,
            Compat::Latest => Self::Propagate,
        }
    }
}

impl PolicyConfig for OttlConditionConfig {
    const TYPE: &'static str = "ottl_condition";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.span.is_empty() && self.spanevent.is_empty() {
            problems.report(at, "span or spanevent must have a condition");
        }
        if self.error_mode.is_none() {
            let message = "is not set: conditions that cannot be evaluated do not hold (compat: \
                           v0.156), or keep the policy from deciding (compat: latest)";
            problems.warn(&at.key("error_mode"), message);
        }
        for (key, texts, context) in [
            ("span", &self.span, Context::Span),
            ("spanevent", &self.spanevent, Context::SpanEvent),
        ] {
            let at = at.key(key);
            for (index, text) in texts.iter().enumerate() {
                match Condition::parse(text, context) {
                    Ok(condition) => validate(&condition, &at.index(index), problems),
                    Err(error) => problems.report(&at.index(index), error.located(text)),
                }
            }
        }
    }

    fn marks(&self) -> usize {
        2
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let parse = |texts: &[String], context| {
            let conditions = texts.iter().map(|text| Condition::parse(text, context));
            conditions.map(|parsed| parsed.expect("validate parsed it")).collect()
        };
        let compat = builder.terms().compat;
        let span: Vec<Condition> = parse(&self.span, Context::Span);
        for key in span.iter().flat_map(|condition| &condition.uses().span_attributes) {
            builder.key(key);
        }
        let event: Vec<Condition> = parse(&self.spanevent, Context::SpanEvent);
        let mut needs_of = |condition: &Condition| {
            let keys = condition.needed_attributes().into_iter();
            keys.fold(KeySet::NONE, |needs, key| needs.and(KeySet::of(builder.key(key))))
        };
        let needs = match event.is_empty() {
            true => span.iter().map(&mut needs_of).reduce(KeySet::common),
            false => None,
        };
        builder.policy(OttlCondition {
            span,
            event,
            needs: needs.unwrap_or_default(),
            error_mode: self.error_mode.unwrap_or(ErrorMode::when_unset(compat)),
            thin: Thin::new(),
        })
    }
}

/// Reports what is odd about a condition.
fn validate(condition: &Condition, at: &Path<'_>, problems: &mut Problems) {
    match condition.constant() {
        Some(true) => problems.warn(at, "always holds, so every trace is kept"),
        Some(false) => problems.warn(at, "never holds"),
        None if probe::holds_for_anything(condition) => problems.warn(
            at,
            format!(
                "holds for a {} without attributes, so nearly every trace has one that it keeps; \
                 a comparison with != holds wherever the attribute is missing",
                match condition.context() {
                    Context::SpanEvent => "span event",
                    _ => "span",
                }
            ),
        ),
        None => {}
    }
}

struct OttlCondition {
    span: Vec<Condition>,
    event: Vec<Condition>,
    /// What no condition holds without.
    needs: KeySet,
    error_mode: ErrorMode,
    thin: Thin,
}

/// A condition could not be evaluated before any held.
const FAILED: Marks = Marks::of(1);

impl Scope for Sight<'_> {
    #[inline]
    fn view(&self) -> View<'_> {
        View::of_span(self.entry, self.scope, self.span, self)
    }
}

impl FindAttribute for Sight<'_> {
    fn find(&self, key: &[u8]) -> Option<AnyValue<'_>> {
        self.attribute_named(key)
    }
}

impl OttlCondition {
    /// Whether any of the conditions holds.
    fn any(&self, conditions: &[Condition], scope: &impl Scope) -> Result<bool, Failed> {
        for condition in conditions {
            match (condition.matches(scope), self.error_mode) {
                (Ok(true), _) => return Ok(true),
                (Ok(false), _) | (Err(_), ErrorMode::Silent) => {}
                (Err(_), ErrorMode::Propagate) => return Err(Failed),
                (Err(error), ErrorMode::Ignore) => {
                    if let Some(suppressed) = self.thin.pass(clock::now()) {
                        let condition = condition.text();
                        warn!(condition, %error, suppressed, "condition could not be evaluated");
                    }
                }
            }
        }
        Ok(false)
    }

    fn look(&self, sight: &Sight<'_>) -> Result<bool, Failed> {
        if self.any(&self.span, sight)? {
            return Ok(true);
        }
        if !self.event.is_empty() {
            let span = SpanScope { resource: sight.entry, scope: sight.scope, span: *sight.span };
            for event in sight.span.events() {
                if self.any(&self.event, &EventScope { span: &span, event })? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Policy for OttlCondition {
    fn marks(&self) -> u8 {
        2
    }

    fn sated_by(&self) -> Marks {
        Marks::SEEN.and(FAILED)
    }

    fn needs(&self) -> KeySet {
        self.needs
    }

    fn observe(&self, sight: &Sight<'_>) -> Marks {
        match self.look(sight) {
            Ok(holds) => Marks::seen_if(holds),
            Err(Failed) => FAILED,
        }
    }

    fn evaluate(&self, marks: Marks, _case: &Case<'_>) -> Ballot {
        match marks.has_any(FAILED) {
            true => Err(Failed),
            false => Ok(Vote::sampled_if(!marks.is_none())),
        }
    }

    fn foregone(&self, marks: Marks, _case: &Case<'_>) -> Option<Decision> {
        marks.has_any(Marks::SEEN).then_some(Decision::Sampled)
    }

    fn is_pure(&self) -> bool {
        self.error_mode != ErrorMode::Propagate
    }
}

#[cfg(test)]
mod tests;
