//! `drop`: drops traces that all its policies match, whatever other policies say.

use shared::config::{Path, Problems};
use shared::config_struct;

use super::and::All;
use super::parts::{Shape, validate_parts};
use super::{Builder, Decision, NamedPolicy, PolicyConfig, Rule};

config_struct! {
    /// `drop`.
    pub(super) struct DropConfig {
        /// The policies that must all match.
        pub drop_sub_policy: Vec<NamedPolicy> = Vec::new(),
    }
}

impl PolicyConfig for DropConfig {
    const TYPE: &'static str = "drop";
    const SHAPE: Shape = Shape::Drop;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let at = at.key("drop_sub_policy");
        if self.drop_sub_policy.is_empty() {
            problems.report(&at, "must not be empty, or every trace would be dropped");
        }
        validate_parts((Self::TYPE, Self::SHAPE), &self.drop_sub_policy, &at, problems);
    }

    fn parts(&self) -> &[NamedPolicy] {
        &self.drop_sub_policy
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        Box::new(All::of(&self.drop_sub_policy, Decision::Dropped, builder))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_all, problems};
    use super::*;
    use Decision::{Dropped, NotSampled, Sampled};

    const HEALTH: &str = "{name: health, type: drop, drop: {drop_sub_policy: [\
        {type: string_attribute, string_attribute: {key: path, values: [/health]}}, \
        {type: not, not: {not_sub_policy: \
            {type: status_code, status_code: {status_codes: [ERROR]}}}}]}}";
    const ALL: &str = "{name: all, type: always_sample}";

    #[test]
    fn what_all_its_policies_match_is_dropped() {
        check(HEALTH, "0..1 path=/health", Dropped);
        check(HEALTH, "0..1 path=/health; 0..1 error", NotSampled);
        check(HEALTH, "0..1 path=/cart", NotSampled);
    }

    #[test]
    fn it_has_the_last_word_wherever_it_stands() {
        for first_match in ["", "sample_on_first_match: true\n"] {
            check_all(first_match, &[ALL, HEALTH], "0..1 path=/health", Dropped);
            check_all(first_match, &[HEALTH, ALL], "0..1 path=/health", Dropped);
            check_all(first_match, &[ALL, HEALTH], "0..1 path=/cart", Sampled);
        }
    }

    #[test]
    fn an_empty_list_is_refused() {
        assert_eq!(
            problems("{name: a, type: drop}"),
            "policies::0::drop::drop_sub_policy: must not be empty, or every trace would be dropped"
        );
    }
}
