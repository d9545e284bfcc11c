//! `and`: keeps traces that all its policies keep. Each may be satisfied by another span.

use shared::config::{Path, Problems};
use shared::config_struct;

use super::{
    Ballot, Branch, Builder, Case, Decision, NamedPolicy, PolicyConfig, Rule, Threshold, Vote,
};

config_struct! {
    /// `and`.
    pub(super) struct AndConfig {
        /// The policies that must all agree.
        pub and_sub_policy: Vec<NamedPolicy> = Vec::new(),
    }
}

impl PolicyConfig for AndConfig {
    const TYPE: &'static str = "and";

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let at = at.key("and_sub_policy");
        if self.and_sub_policy.is_empty() {
            problems.report(&at, "must not be empty, or every trace would be kept");
        }
        for (index, policy) in self.and_sub_policy.iter().enumerate() {
            policy.validate_part(&at.index(index), problems);
        }
    }

    fn marks(&self) -> usize {
        self.and_sub_policy.iter().map(NamedPolicy::marks).sum()
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        Box::new(And(self.and_sub_policy.iter().map(|policy| policy.build(builder)).collect()))
    }
}

struct And(Vec<Branch>);

impl And {
    /// In order, and no further than needed: a later policy may count what it keeps.
    fn ask(&self, vote: impl Fn(&dyn Rule) -> Ballot) -> Ballot {
        let mut threshold = Threshold::NONE;
        for branch in &self.0 {
            let vote = vote(branch.rule.as_ref())?;
            if vote.decision != Decision::Sampled {
                return Ok(Vote::of(Decision::NotSampled));
            }
            // All had to be passed, so the hardest counts.
            threshold = threshold.max(vote.threshold);
        }
        Ok(Vote { threshold, ..Vote::of(Decision::Sampled) })
    }
}

impl Rule for And {
    fn evaluate(&self, case: &Case<'_>) -> Ballot {
        self.ask(|rule| rule.evaluate(case))
    }

    fn peek(&self, case: &Case<'_>) -> Ballot {
        self.ask(|rule| rule.peek(case))
    }

    fn foregone(&self, case: &Case<'_>) -> Option<Decision> {
        // Only as far as all before are certain: one that fails would end the vote.
        for branch in &self.0 {
            if branch.rule.foregone(case)? != Decision::Sampled {
                return Some(Decision::NotSampled);
            }
        }
        Some(Decision::Sampled)
    }

    fn branches(&self) -> &[Branch] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use super::*;
    use Decision::{NotSampled, Sampled};

    const SLOW_ERRORS_OF_CART: &str = "{type: and, and: {and_sub_policy: [\
        {type: status_code, status_code: {status_codes: [ERROR]}}, \
        {name: slow, type: latency, latency: {threshold_ms: 100}}, \
        {type: and, and: {and_sub_policy: [\
            {type: string_attribute, string_attribute: {key: service.name, values: [cart]}}]}}]}}";

    #[test]
    fn all_policies_must_agree() {
        check(SLOW_ERRORS_OF_CART, "1..101 error @service.name=cart", Sampled);
        check(SLOW_ERRORS_OF_CART, "1..101 @service.name=cart", NotSampled);
        check(SLOW_ERRORS_OF_CART, "1..100 error @service.name=cart", NotSampled);
        check(SLOW_ERRORS_OF_CART, "1..101 error @service.name=shop", NotSampled);
    }

    #[test]
    fn different_spans_may_satisfy_them() {
        check(SLOW_ERRORS_OF_CART, "1..2 @service.name=cart; 1..2 error; 1..200", Sampled);
    }

    #[test]
    fn an_empty_list_and_mistakes_below_are_named() {
        assert_eq!(
            problems("{name: a, type: and}"),
            "policies::0::and::and_sub_policy: must not be empty, or every trace would be kept"
        );
        assert_eq!(
            problems("{name: a, type: and, and: {and_sub_policy: [{type: status_code}]}}"),
            "policies::0::and::and_sub_policy::0::status_code::status_codes: must name at least \
             one of OK, ERROR, UNSET"
        );
    }
}
