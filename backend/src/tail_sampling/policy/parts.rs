//! Sub-policies: which policy may stand in which, and what goes wrong with their order.

use shared::config::{Path, Problems};

use super::NamedPolicy;

/// What kind of policy a type is, which decides what it may stand in.
///
/// Source: contrib v0.156 tailsamplingprocessor/config.go, whose types allow the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tail_sampling) enum Shape {
    /// It asks no other policies.
    Simple,
    /// `not`.
    Not,
    /// `and`.
    And,
    /// `drop`.
    Drop,
    /// `composite`.
    Composite,
    /// `rules`; not in the Collector.
    Rules,
}

impl Shape {
    /// Whether a policy of the shape `part` may stand in one of this shape.
    fn admits(self, part: Shape) -> bool {
        match part {
            Shape::Simple => self != Shape::Simple,
            Shape::Not => matches!(self, Shape::And | Shape::Drop | Shape::Rules),
            Shape::And => matches!(self, Shape::Composite | Shape::Rules),
            Shape::Composite => self == Shape::Rules,
            Shape::Drop | Shape::Rules => false,
        }
    }

    /// What may stand in it.
    fn admitted(self) -> &'static str {
        match self {
            Shape::Simple => "nothing",
            Shape::Not => "one policy that has no sub-policies itself",
            Shape::And | Shape::Drop => "policies without sub-policies, and \"not\"",
            Shape::Composite => "policies without sub-policies, and \"and\"",
            Shape::Rules => "any policy but \"drop\" and \"rules\"",
        }
    }

    /// How to say it otherwise, where that is plain.
    fn advice(self, part: Shape) -> &'static str {
        match (self, part) {
            (Shape::And | Shape::Drop, Shape::And) => "; list its sub-policies here instead",
            (Shape::Not, Shape::Not) => "; two of them are none",
            (Shape::Composite, Shape::Not) => "; put it into an \"and\" of its own",
            (Shape::Rules, Shape::Drop) => "; set drop: true instead",
            (_, Shape::Drop) => "; a drop counts for whole traces, so it stands beside the others",
            _ => "",
        }
    }
}

/// Reports what is wrong with the sub-policies of a policy of the type `name`.
pub(super) fn validate_parts(
    (name, shape): (&str, Shape),
    parts: &[NamedPolicy],
    at: &Path<'_>,
    problems: &mut Problems,
) {
    for (index, part) in parts.iter().enumerate() {
        validate_part((name, shape), part, &at.index(index), problems);
    }
    if !matches!(shape, Shape::And | Shape::Drop) {
        return;
    }
    // All but a last row of limiters.
    let matchers = parts.iter().rposition(|part| !part.has_budget()).unwrap_or_default();
    for (index, part) in parts.iter().enumerate().take(matchers) {
        if part.has_budget() {
            problems.warn(
                &at.index(index),
                format!(
                    "\"{}\" takes from its budget also for traces that a later sub-policy \
                     rejects; put it last",
                    part.title()
                ),
            );
        }
    }
}

/// Reports what is wrong with one sub-policy of a policy of the type `name`.
pub(super) fn validate_part(
    (name, shape): (&str, Shape),
    part: &NamedPolicy,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    if !shape.admits(part.shape()) {
        problems.report(
            &at.key("type"),
            format!(
                "\"{}\" may not stand in \"{name}\", which takes {}{}",
                part.type_name(),
                shape.admitted(),
                shape.advice(part.shape())
            ),
        );
    }
    part.validate_part(at, problems);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{problems, warnings};

    fn inside(outer: &str, part: &str) -> String {
        let part = match part {
            "not" => "{type: not, not: {not_sub_policy: {type: always_sample}}}",
            "and" => "{type: and, and: {and_sub_policy: [{type: always_sample}]}}",
            "drop" => "{type: drop, drop: {drop_sub_policy: [{type: always_sample}]}}",
            _ => "{type: always_sample}",
        };
        problems(&match outer {
            "not" => format!("{{name: a, type: not, not: {{not_sub_policy: {part}}}}}"),
            _ => format!("{{name: a, type: {outer}, {outer}: {{{outer}_sub_policy: [{part}]}}}}"),
        })
    }

    #[test]
    fn what_the_collector_nests_may_be_nested() {
        for (outer, part) in [
            ("and", "simple"),
            ("and", "not"),
            ("drop", "simple"),
            ("drop", "not"),
            ("not", "simple"),
        ] {
            assert_eq!(inside(outer, part), "", "{part} in {outer}");
        }
    }

    #[test]
    fn what_it_does_not_nest_is_refused_with_another_way() {
        assert_eq!(
            inside("and", "and"),
            "policies::0::and::and_sub_policy::0::type: \"and\" may not stand in \"and\", which \
             takes policies without sub-policies, and \"not\"; list its sub-policies here instead"
        );
        assert_eq!(
            inside("not", "not"),
            "policies::0::not::not_sub_policy::type: \"not\" may not stand in \"not\", which \
             takes one policy that has no sub-policies itself; two of them are none"
        );
        assert_eq!(
            inside("drop", "drop"),
            "policies::0::drop::drop_sub_policy::0::type: \"drop\" may not stand in \"drop\", \
             which takes policies without sub-policies, and \"not\"; a drop counts for whole \
             traces, so it stands beside the others"
        );
        for (outer, part) in [("and", "drop"), ("drop", "and"), ("not", "and"), ("not", "drop")] {
            assert!(inside(outer, part).contains("may not stand in"), "{part} in {outer}");
        }
    }

    #[test]
    fn a_limiter_before_a_matcher_is_warned_about() {
        let policy =
            |parts: &str| format!("{{name: a, type: and, and: {{and_sub_policy: [{parts}]}}}}");
        let limiter = "{name: budget, type: rate_limiting, rate_limiting: {spans_per_second: 9}}";
        let matcher = "{type: trace_flags}";
        assert_eq!(
            warnings(&policy(&[limiter, matcher, limiter].join(", "))),
            "policies::0::and::and_sub_policy::0: \"budget\" takes from its budget also for traces \
             that a later sub-policy rejects; put it last"
        );
        assert_eq!(warnings(&policy(&[matcher, limiter].join(", "))), "");
        assert_eq!(warnings(&policy(limiter)), "");
    }
}
