//! `span_name`: keeps traces that have a span of one of the given names.

use hashbrown::HashSet;
use shared::config::{Path, Problems};
use shared::config_struct;

use super::{Ballot, Builder, Case, Decision, Marks, Policy, PolicyConfig, Rule, Sight, Vote};

config_struct! {
    /// `span_name`.
    pub(super) struct SpanNameConfig {
        /// The names that keep a trace.
        pub names: Vec<String> = Vec::new(),
    }
}

impl PolicyConfig for SpanNameConfig {
    const TYPE: &'static str = "span_name";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.names.is_empty() {
            problems.report(&at.key("names"), "must not be empty, or nothing can match");
        }
    }

    fn marks(&self) -> usize {
        1
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let names = self.names.iter().map(|name| name.as_bytes().into()).collect();
        builder.policy(SpanName { names })
    }
}

struct SpanName {
    names: HashSet<Box<[u8]>>,
}

impl Policy for SpanName {
    fn marks(&self) -> u8 {
        1
    }

    fn observe(&self, sight: &Sight<'_>) -> Marks {
        Marks::seen_if(self.names.contains(sight.span.name))
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

    #[test]
    fn one_span_of_the_name_is_enough() {
        let config = "{type: span_name, span_name: {names: [login, pay]}}";
        check(config, "0..1 name:cart; 0..1 name:pay", Sampled);
        check(config, "0..1 name:payment; 0..1", NotSampled);
    }

    #[test]
    fn names_must_be_given() {
        assert_eq!(
            problems("{name: a, type: span_name}"),
            "policies::0::span_name::names: must not be empty, or nothing can match"
        );
    }
}
