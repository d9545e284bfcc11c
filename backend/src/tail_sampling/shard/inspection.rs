//! What a shard knows about one trace.

use std::time::Instant;

use super::super::deadlines::Cause;
use super::super::inspection::{Buffered, Decided, Known};
use super::super::sighting::show_again;
use super::super::trace::TraceId;
use super::super::traces::Sequence;
use super::Shard;

impl Shard {
    /// What is known about the trace `id`. Nothing is taken from a policy's budget, and what is
    /// remembered is not remembered longer for it.
    pub(in super::super) fn inspect(&mut self, id: &TraceId, now: Instant) -> Known {
        let key = self.traces.key(*id);
        if let Some(sequence) = self.traces.find(key) {
            return Known::Buffered(Box::new(self.inspect_buffered(sequence, now)));
        }
        let Some((verdict, age)) = self.decided.find(key, now) else { return Known::Nothing };
        let by = verdict.by.map(|id| self.policies.names().get(id).to_string());
        Known::Decided(Decided { decision: verdict.decision, by, age })
    }

    fn inspect_buffered(&mut self, sequence: Sequence, now: Instant) -> Buffered {
        let (due, due_for) = self.deadline(sequence);
        let trace = self.traces.get_mut(sequence).expect("it was just found");
        let is_former = trace.generation != self.generation;
        if is_former && trace.outcome.is_none() {
            show_again(trace, &self.buffer, &self.policies);
            trace.generation = self.generation;
        }
        // What was released under other policies is theirs to judge.
        let explanation = match trace.generation == self.generation {
            true => Some(self.policies.explain(trace, now)),
            false => self.former.find(trace.generation).map(|former| former.explain(trace, now)),
        };
        let by = explanation.as_ref().and_then(|explanation| explanation.verdict.by);
        Buffered {
            summary: trace.summary,
            age: now.saturating_duration_since(trace.arrived),
            due_in: due.saturating_duration_since(now),
            due_for,
            outcome: trace.outcome,
            explanation,
            by: by.map(|id| self.policies.names().get(id).to_string()),
        }
    }

    /// When the trace at `sequence` is due if nothing more comes, and why then.
    fn deadline(&self, sequence: Sequence) -> (Instant, Cause) {
        let trace = self.traces.get(sequence).expect("it was just found");
        let waited = (trace.arrived + self.settings.decision_wait, Cause::Wait);
        match self.deadlines.find(sequence, trace) {
            Some(sooner) if sooner.0 < waited.0 => sooner,
            _ => waited,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::super::outcome::Outcome;
    use super::super::super::policy::Decision;
    use super::super::super::policy::testing::policies;
    use super::super::super::testing::{TestSpan, batch, trace_id};
    use super::super::Settings;
    use super::super::tests::settings;
    use super::*;

    const ERRORS: &str = "{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}";

    #[track_caller]
    fn buffered(known: Known) -> Buffered {
        match known {
            Known::Buffered(buffered) => *buffered,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn decided(known: Known) -> (Decision, Option<String>, Duration) {
        match known {
            Known::Decided(Decided { decision, by, age }) => (decision, by, age),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_trace_is_known_while_it_waits_and_afterwards() {
        let start = shared::clock::now();
        let after_root = Some(Duration::from_secs(2));
        let settings = Settings { wait_after_root: after_root, ..settings() };
        let mut shard = Shard::new(settings, Arc::new(policies(&[ERRORS])), 1, start);
        let [one, other] = [1, 2].map(trace_id);
        assert!(matches!(shard.inspect(&one, start), Known::Nothing));

        shard.admit(&batch(&[TestSpan::new(1, 1), TestSpan::new(2, 2)]), start);
        let now = start + Duration::from_secs(3);
        let trace = buffered(shard.inspect(&one, now));
        assert_eq!((trace.summary.spans, trace.summary.rooted, trace.by), (1, false, None));
        let times = (trace.age, trace.due_in, trace.due_for);
        assert_eq!(times, (Duration::from_secs(3), Duration::from_secs(7), Cause::Wait));
        let vote = trace.explanation.unwrap().policies[0].ballot.unwrap().unwrap();
        assert_eq!(vote.decision, Decision::NotSampled);

        let root = TestSpan { error: true, root: true, ..TestSpan::new(1, 3) };
        shard.admit(&batch(&[root]), now);
        let trace = buffered(shard.inspect(&one, now));
        assert_eq!((trace.summary.spans, trace.summary.rooted), (2, true));
        assert_eq!((trace.due_in, trace.due_for), (Duration::from_secs(2), Cause::Root));
        assert_eq!(trace.by.as_deref(), Some("errors"));

        let end = start + Duration::from_secs(10);
        while shard.judge(end, 16, shared::clock::now) > 0 {}
        let later = end + Duration::from_secs(4);
        let kept = (Decision::Sampled, Some("errors".to_owned()), Duration::from_secs(4));
        assert_eq!(decided(shard.inspect(&one, later)), kept);
        let dropped = (Decision::NotSampled, None, Duration::from_secs(4));
        assert_eq!(decided(shard.inspect(&other, later)), dropped);
    }

    #[test]
    fn the_first_of_several_deadlines_is_told() {
        let start = shared::clock::now();
        let settings = Settings {
            wait_after_idle: Some(Duration::from_secs(4)),
            wait_after_root: Some(Duration::from_secs(5)),
            decision_after_spans: 3,
            ..settings()
        };
        let mut shard = Shard::new(settings, Arc::new(policies(&[ERRORS])), 1, start);
        let mut due_after = |seconds, span| {
            let now = start + Duration::from_secs(seconds);
            shard.admit(&batch(&[span]), now);
            let trace = buffered(shard.inspect(&trace_id(1), now));
            (trace.due_in.as_secs(), trace.due_for)
        };
        let root = TestSpan { root: true, ..TestSpan::new(1, 1) };
        assert_eq!(due_after(0, root), (4, Cause::Idle));
        assert_eq!(due_after(3, TestSpan::new(1, 2)), (2, Cause::Root));
        assert_eq!(due_after(4, TestSpan::new(1, 3)), (0, Cause::Size));
    }

    #[test]
    fn a_trace_that_waits_is_judged_by_the_policies_in_force() {
        let start = shared::clock::now();
        let mut shard = Shard::new(settings(), Arc::new(policies(&[ERRORS])), 1, start);
        shard.admit(&batch(&[TestSpan { error: true, ..TestSpan::new(1, 1) }]), start);
        let unset = ERRORS.replace("[ERROR]", "[UNSET]");
        shard.set_policies(Arc::new(policies(&[&unset, ERRORS])));
        let explanation = buffered(shard.inspect(&trace_id(1), start)).explanation;
        let opinions = explanation.unwrap().policies;
        let votes: Vec<_> =
            opinions.iter().map(|of| of.ballot.unwrap().unwrap().decision).collect();
        assert_eq!(votes, [Decision::NotSampled, Decision::Sampled]);
    }

    #[test]
    fn a_released_trace_is_explained_by_the_policies_that_released_it() {
        let start = shared::clock::now();
        let settings = Settings { early_release: true, ..settings() };
        let mut shard = Shard::new(settings, Arc::new(policies(&[ERRORS])), 1, start);
        shard.admit(&batch(&[TestSpan { error: true, ..TestSpan::new(1, 1) }]), start);
        shard.set_policies(Arc::new(policies(&["{name: none, type: trace_flags}"])));
        let trace = buffered(shard.inspect(&trace_id(1), start));
        assert_eq!(trace.outcome, Some(Outcome::Kept));
        assert_eq!(&*trace.explanation.unwrap().policies[0].name, "errors");
    }
}
