//! `not`: keeps the traces that its policy does not.

use shared::config::{Path, Problems};
use shared::config_struct;

use super::parts::{Shape, validate_part};
use super::{Ballot, Branch, Builder, Case, Decision, NamedPolicy, PolicyConfig, Rule, Vote};

config_struct! {
    /// `not`.
    pub(super) struct NotConfig {
        /// The policy whose opposite counts.
        pub not_sub_policy: Option<NamedPolicy> = None,
    }
}

impl PolicyConfig for NotConfig {
    const TYPE: &'static str = "not";
    const SHAPE: Shape = Shape::Not;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let at = at.key("not_sub_policy");
        let Some(policy) = &self.not_sub_policy else {
            problems.report(&at, "must be set");
            return;
        };
        if policy.has_budget() {
            let message = "keeps what the budget does not cover: all but what it would limit to";
            problems.warn(&at, message);
        }
        validate_part((Self::TYPE, Self::SHAPE), policy, &at, problems);
    }

    fn parts(&self) -> &[NamedPolicy] {
        self.not_sub_policy.as_slice()
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let policy = self.not_sub_policy.as_ref().expect("validate requires it");
        Box::new(Not([policy.build(builder)]))
    }
}

struct Not([Branch; 1]);

/// A drop is none of the two.
fn opposite(decision: Decision) -> Decision {
    match decision {
        Decision::Sampled => Decision::NotSampled,
        Decision::NotSampled => Decision::Sampled,
        Decision::Dropped => Decision::Dropped,
    }
}

impl Rule for Not {
    fn evaluate(&self, case: &Case<'_>) -> Ballot {
        let vote = self.0[0].rule.evaluate(case)?;
        Ok(Vote::of(opposite(vote.decision)))
    }

    fn peek(&self, case: &Case<'_>) -> Ballot {
        let vote = self.0[0].rule.peek(case)?;
        Ok(Vote::of(opposite(vote.decision)))
    }

    fn foregone(&self, case: &Case<'_>) -> Option<Decision> {
        self.0[0].rule.foregone(case).map(opposite)
    }

    fn is_pure(&self) -> bool {
        self.0[0].rule.is_pure()
    }

    fn branches(&self) -> &[Branch] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems, warnings};
    use super::*;
    use Decision::{NotSampled, Sampled};

    #[test]
    fn it_keeps_what_its_policy_does_not() {
        let config = "{type: not, not: {not_sub_policy: \
                      {type: status_code, status_code: {status_codes: [ERROR]}}}}";
        check(config, "0..1; 0..1 ok", Sampled);
        check(config, "0..1; 0..1 error", NotSampled);
    }

    #[test]
    fn it_needs_a_policy_that_makes_sense() {
        assert_eq!(
            problems("{name: a, type: not}"),
            "policies::0::not::not_sub_policy: must be set"
        );
        assert_eq!(
            problems("{name: a, type: not, not: {not_sub_policy: {type: status_code}}}"),
            "policies::0::not::not_sub_policy::status_code::status_codes: must name at least one \
             of OK, ERROR, UNSET"
        );
        assert_eq!(
            warnings(
                "{name: a, type: not, not: {not_sub_policy: \
                 {type: rate_limiting, rate_limiting: {spans_per_second: 5}}}}"
            ),
            "policies::0::not::not_sub_policy: keeps what the budget does not cover: all but what \
             it would limit to"
        );
    }
}
