//! `trace_state`: keeps traces that have a span with one of the given values in its trace state.

use hashbrown::HashSet;
use shared::config::{Path, Problems};
use shared::config_struct;
use shared::wire::trace_state;

use super::{Ballot, Builder, Case, Decision, Marks, Policy, PolicyConfig, Rule, Sight, Vote};

config_struct! {
    /// `trace_state`.
    pub(super) struct TraceStateConfig {
        /// The member's key.
        pub key: String = String::new(),
        /// The values that keep a trace.
        pub values: Vec<String> = Vec::new(),
    }
}

/// How long key and value may be together.
/// Source: contrib v0.156 `tailsamplingprocessor/internal/sampling/trace_state_filter.go`.
const MAX_MEMBER: usize = 255;

impl TraceStateConfig {
    /// The values that a trace state can have.
    fn possible_values(&self) -> impl Iterator<Item = &str> {
        let values = self.values.iter().map(String::as_str);
        values.filter(|value| !value.is_empty() && self.key.len() + value.len() <= MAX_MEMBER)
    }
}

impl PolicyConfig for TraceStateConfig {
    const TYPE: &'static str = "trace_state";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.key.is_empty() {
            problems.report(&at.key("key"), "must not be empty");
        }
        if self.possible_values().next().is_none() {
            problems.report(
                &at.key("values"),
                format!(
                    "must have a value that is not empty and has at most {MAX_MEMBER} bytes \
                     together with the key, or nothing can match"
                ),
            );
        }
    }

    fn marks(&self) -> usize {
        1
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let values = self.possible_values().map(|value| value.as_bytes().into()).collect();
        builder.policy(TraceState { key: self.key.as_bytes().into(), values })
    }
}

struct TraceState {
    key: Box<[u8]>,
    values: HashSet<Box<[u8]>>,
}

impl Policy for TraceState {
    fn marks(&self) -> u8 {
        1
    }

    fn observe(&self, sight: &Sight<'_>) -> Marks {
        match sight.span.trace_state {
            [] => Marks::NONE,
            state => {
                let value = trace_state::get(state, &self.key);
                Marks::seen_if(matches!(value, Ok(Some(value)) if self.values.contains(value)))
            }
        }
    }

    fn evaluate(&self, marks: Marks, _case: &Case<'_>) -> Ballot {
        Ok(Vote::sampled_if(!marks.is_none()))
    }

    fn foregone(&self, marks: Marks, _case: &Case<'_>) -> Option<Decision> {
        (!marks.is_none()).then_some(Decision::Sampled)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use super::*;
    use Decision::{NotSampled, Sampled};

    const VENDOR: &str = "{name: a, type: trace_state, trace_state: {key: vendor, values: [x, y]}}";

    #[test]
    fn one_span_with_the_value_is_enough() {
        check(VENDOR, "0..1; 0..1 state:ot=th:8,vendor=y", Sampled);
        check(VENDOR, "0..1 state:vendor=z; 0..1 state:other=x; 0..1", NotSampled);
    }

    #[test]
    fn a_trace_state_that_is_no_valid_one_has_no_values() {
        for broken in ["vendor=x,vendor=x", "vendor=x,No=1", "vendor=x,=", "vendor=x,a=b=c"] {
            check(VENDOR, &format!("0..1 state:{broken}"), NotSampled);
        }
        let members = |count| {
            let others = (1..count).map(|number| format!("k{number}=1"));
            let all: Vec<String> = std::iter::once("vendor=x".to_owned()).chain(others).collect();
            format!("0..1 state:{}", all.join(","))
        };
        check(VENDOR, &members(32), Sampled);
        check(VENDOR, &members(33), NotSampled);
    }

    #[test]
    fn values_that_cannot_occur_are_not_enough() {
        let long = "v".repeat(250);
        assert_eq!(
            problems(&format!(
                "{{name: a, type: trace_state, trace_state: {{key: vendor, values: ['', {long}]}}}}"
            )),
            "policies::0::trace_state::values: must have a value that is not empty and has at most \
             255 bytes together with the key, or nothing can match"
        );
    }
}
