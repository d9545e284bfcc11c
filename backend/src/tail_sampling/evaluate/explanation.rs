//! What every policy says about a trace that waits, for people. Nothing is taken from budgets and
//! nothing is counted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::super::policy::{Ballot, Branch, Case, Decision, Failed, Names};
use super::super::trace::Trace;
use super::{Policies, Poll, Verdict};

/// What policies say about a trace, and what follows from it.
#[derive(Debug, PartialEq)]
pub(in super::super) struct Explanation {
    /// What would be decided now.
    pub(in super::super) verdict: Verdict,
    /// The policies, in the order in which they vote.
    pub(in super::super) policies: Vec<Opinion>,
}

/// What a policy or a part of one says about a trace.
#[derive(Debug, PartialEq)]
pub(in super::super) struct Opinion {
    /// Its name, behind those of the policies it is a part of.
    pub(in super::super) name: Arc<str>,
    /// Whether it changes nothing.
    pub(in super::super) dry_run: bool,
    /// What it says; nothing if it would not be asked.
    pub(in super::super) ballot: Option<Ballot>,
    /// The part that decided, if one did.
    pub(in super::super) by: Option<Arc<str>>,
    /// What it is bound to say, whatever still arrives.
    pub(in super::super) foregone: Option<Decision>,
    /// What its parts say, also those that it would not ask.
    pub(in super::super) parts: Vec<Opinion>,
}

impl Policies {
    /// What is said about `trace` at `now`.
    pub(in super::super) fn explain(&self, trace: &Trace, now: Instant) -> Explanation {
        let case = trace.case(now);
        let mut poll = Poll::OPEN;
        let mut policies = Vec::with_capacity(self.rules.len() + self.rehearsed.len());
        for (index, branch) in (0..).zip(&self.rules) {
            let mut opinion = opinion(branch, &case, &self.names);
            if self.is_settled(poll.verdict.decision) {
                opinion.ballot = None;
            } else if let Some(Ok(vote)) = opinion.ballot {
                poll.add(index, vote, branch.id);
            }
            policies.push(opinion);
        }
        for branch in &self.rehearsed {
            policies.push(Opinion { dry_run: true, ..opinion(branch, &case, &self.names) });
        }
        Explanation { verdict: poll.verdict, policies }
    }
}

fn opinion(branch: &Branch, case: &Case<'_>, names: &Names) -> Opinion {
    let ballot = catch_unwind(AssertUnwindSafe(|| branch.rule.peek(case))).unwrap_or(Err(Failed));
    let by = ballot.ok().and_then(|vote| vote.by);
    let foregone = catch_unwind(AssertUnwindSafe(|| branch.rule.foregone(case))).ok().flatten();
    Opinion {
        name: Arc::clone(names.get(branch.id)),
        dry_run: false,
        ballot: Some(ballot),
        by: by.map(|id| Arc::clone(names.get(id))),
        foregone,
        parts: branch.rule.branches().iter().map(|part| opinion(part, case, names)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::policy::testing::policies;
    use super::super::super::trace::Summary;
    use super::*;

    const NONE: &str = "{name: none, type: latency, latency: {threshold_ms: 1000}}";
    const ALL: &str = "{name: all, type: always_sample}";
    const BOTH: &str = "{name: both, type: and, and: {and_sub_policy: [\
        {name: first, type: always_sample}, \
        {type: not, not: {not_sub_policy: {type: trace_flags, name: flagged}}}, \
        {name: last, type: latency, latency: {threshold_ms: 1000}}]}}";

    fn explain(policies: &Policies) -> Explanation {
        let now = shared::clock::now();
        let mut trace = Trace::new([1; 16], now);
        trace.summary = Summary { start_ns: 1, end_ns: 2, spans: 1, ..trace.summary };
        policies.explain(&trace, now)
    }

    /// Every opinion as `name=vote`, parts in parentheses.
    fn text(opinions: &[Opinion]) -> String {
        let texts = opinions.iter().map(|opinion| {
            let vote = match &opinion.ballot {
                None => "-",
                Some(Err(_)) => "failed",
                Some(Ok(vote)) => vote.decision.label(),
            };
            let parts = match opinion.parts.is_empty() {
                true => String::new(),
                false => format!("({})", text(&opinion.parts)),
            };
            format!("{}={vote}{parts}", opinion.name)
        });
        texts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn parts_are_asked_too() {
        let explanation = explain(&policies(&[BOTH, ALL]));
        assert_eq!(
            text(&explanation.policies),
            "both=not_sampled(both/first=sampled both/not=sampled(both/not/flagged=not_sampled) \
             both/last=not_sampled) all=sampled"
        );
        assert_eq!(explanation.policies[0].by.as_deref(), Some("both/last"));
        assert_eq!(explanation.verdict.decision, Decision::Sampled);
        assert_eq!(explanation.policies[1].foregone, Some(Decision::Sampled));
    }

    #[test]
    fn what_would_not_be_asked_has_no_vote() {
        let rehearsed = "{name: c, dry_run: true, type: always_sample}";
        let policies = Policies { first_match: true, ..policies(&[ALL, NONE, rehearsed]) };
        let explanation = explain(&policies);
        assert_eq!(text(&explanation.policies), "all=sampled none=- c=sampled");
        let dry_run: Vec<bool> = explanation.policies.iter().map(|of| of.dry_run).collect();
        assert_eq!(dry_run, [false, false, true]);
    }
}
