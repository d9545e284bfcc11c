//! What may be meant otherwise when policies stand beside one another.

use shared::config::{Path, Problems};

use super::NamedPolicy;

/// How many of the policies that keep a trace are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tail_sampling) enum Asked {
    /// All.
    All,
    /// Those up to the first that keeps it.
    UpToFirstMatch,
}

/// Warns of policies that have no effect beside the others.
pub(in crate::tail_sampling) fn lint(
    policies: &[NamedPolicy],
    asked: Asked,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let keeper = policies
        .iter()
        .position(|policy| policy.keeps_everything() && !policy.drops() && !policy.dry_run);
    let Some(place) = keeper else { return };
    let keeper = policies[place].title();
    for (index, policy) in policies.iter().enumerate() {
        if index == place || policy.drops() || policy.dry_run {
            continue;
        }
        let message = match asked {
            Asked::UpToFirstMatch if index > place => format!(
                "is never asked: \"{keeper}\" before it keeps every trace, and \
                 sample_on_first_match is set"
            ),
            _ if policy.has_budget() => {
                format!("limits nothing: \"{keeper}\" keeps every trace anyway")
            }
            _ => continue,
        };
        problems.warn(&at.index(index), message);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::warnings_of;

    const ALL: &str = "{name: all, type: always_sample}";
    const BUDGET: &str =
        "{name: budget, type: rate_limiting, rate_limiting: {spans_per_second: 5}}";
    const FLAGS: &str = "{name: flags, type: trace_flags}";
    const LONG: &str = "{name: long, type: span_count, span_count: {min_spans: 9}}";
    const NO_FLAGS: &str =
        "{name: no-flags, type: drop, drop: {drop_sub_policy: [{type: trace_flags}]}}";

    #[test]
    fn a_limit_beside_a_policy_that_keeps_everything_is_none() {
        assert_eq!(
            warnings_of("", &[BUDGET, ALL]),
            "policies::0: limits nothing: \"all\" keeps every trace anyway"
        );
        assert_eq!(warnings_of("", &[FLAGS, ALL, NO_FLAGS]), "");
        assert_eq!(warnings_of("", &[FLAGS, BUDGET, NO_FLAGS]), "");
    }

    #[test]
    fn what_stands_behind_it_is_not_asked_at_a_first_match() {
        assert_eq!(
            warnings_of("sample_on_first_match: true\n", &[FLAGS, ALL, LONG, NO_FLAGS]),
            "policies::2: is never asked: \"all\" before it keeps every trace, and \
             sample_on_first_match is set"
        );
    }
}
