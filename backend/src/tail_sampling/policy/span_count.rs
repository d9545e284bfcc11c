//! `span_count`: keeps traces by their number of spans.

use shared::config::{Path, Problems};
use shared::config_struct;

use super::{Ballot, Builder, Case, Decision, Marks, Policy, PolicyConfig, Rule, Vote};

config_struct! {
    /// `span_count`.
    pub(super) struct SpanCountConfig {
        /// The fewest spans.
        pub min_spans: i32 = 0,
        /// The most spans; 0 is no bound.
        pub max_spans: i32 = 0,
    }
}

impl PolicyConfig for SpanCountConfig {
    const TYPE: &'static str = "span_count";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.max_spans < 0 || self.max_spans != 0 && self.max_spans < self.min_spans {
            let message =
                format!("must not be below min_spans ({}), or no trace can match", self.min_spans);
            problems.report(&at.key("max_spans"), message);
        } else if self.keeps_everything() {
            problems.warn(at, "keeps every trace: neither min_spans nor max_spans excludes any");
        }
    }

    fn keeps_everything(&self) -> bool {
        self.min_spans <= 1 && self.max_spans == 0
    }

    fn is_stateful(&self) -> bool {
        self.max_spans != 0
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let max = Some(self.max_spans).filter(|max| *max != 0);
        builder.policy(SpanCount { min: self.min_spans.into(), max: max.map(i64::from) })
    }
}

struct SpanCount {
    min: i64,
    max: Option<i64>,
}

impl Policy for SpanCount {
    fn evaluate(&self, _marks: Marks, case: &Case<'_>) -> Ballot {
        let spans = i64::from(case.summary.spans);
        Ok(Vote::sampled_if(self.min <= spans && self.max.is_none_or(|max| spans <= max)))
    }

    /// Spans only become more.
    fn foregone(&self, _marks: Marks, case: &Case<'_>) -> Option<Decision> {
        let spans = i64::from(case.summary.spans);
        match self.max {
            None => (self.min <= spans).then_some(Decision::Sampled),
            Some(max) => (max < spans).then_some(Decision::NotSampled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems, warnings};
    use super::*;
    use Decision::{NotSampled, Sampled};

    fn config(rest: &str) -> String {
        format!("{{name: a, type: span_count, span_count: {{{rest}}}}}")
    }

    #[test]
    fn both_bounds_are_inclusive() {
        let config = config("min_spans: 2, max_spans: 3");
        check(&config, "0..1", NotSampled);
        check(&config, "0..1; 0..1", Sampled);
        check(&config, "0..1; 0..1; 0..1", Sampled);
        check(&config, "0..1; 0..1; 0..1; 0..1", NotSampled);
    }

    #[test]
    fn a_missing_bound_is_none() {
        check(&config("min_spans: 2"), "0..1; 0..1; 0..1; 0..1", Sampled);
        check(&config("max_spans: 1"), "0..1", Sampled);
        check(&config("max_spans: 1"), "0..1; 0..1", NotSampled);
    }

    #[test]
    fn bounds_that_exclude_everything_or_nothing_are_named() {
        let at = "policies::0::span_count";
        assert_eq!(
            problems(&config("min_spans: 3, max_spans: 2")),
            format!("{at}::max_spans: must not be below min_spans (3), or no trace can match")
        );
        assert_eq!(
            warnings(&config("")),
            format!("{at}: keeps every trace: neither min_spans nor max_spans excludes any")
        );
        assert_eq!(warnings(&config("max_spans: 5")), "");
    }
}
