//! Consistent choices: whether a trace is among the share that is kept follows from its randomness,
//! the 56 random bits of its id or, if its trace state has one, its `rv`. Whoever keeps the same
//! share keeps the same traces, and the threshold that this leaves counts right.
//!
//! A head sampler that was consistent too has let only traces above its own threshold through. It
//! says so by `th`, and the share is taken of what it left.
//!
//! Source: OpenTelemetry specification on probability sampling by trace state.

use shared::wire::trace_state::{Otel, randomness_of};

use super::{Ballot, Builder, Case, Decision, Marks, Notes, Policy, Rule, Sight, Threshold, Vote};

/// Under these numbers, which [`Builder::note_field`] does not reach, notes have what trace states
/// say. All policies share them.
const RANDOM_VALUE: u16 = u16::MAX;
const THRESHOLD: u16 = u16::MAX - 1;

/// Notes what a span's trace state says of chance.
#[inline]
pub(super) fn note(sight: &Sight<'_>, notes: &mut Notes) {
    if !sight.span.trace_state.is_empty() {
        note_trace_state(sight.span.trace_state, notes);
    }
}

pub(super) fn note_trace_state(trace_state: &[u8], notes: &mut Notes) {
    let Some(otel) = Otel::read(trace_state) else { return };
    if let Some(value) = otel.randomness {
        notes.add(RANDOM_VALUE, value);
    }
    if let Some(threshold) = otel.threshold {
        notes.add(THRESHOLD, threshold);
    }
}

/// The randomness of a trace whose spans say something of chance; of several values the first.
pub(super) fn told(case: &Case<'_>) -> Option<u64> {
    let is_told = case.notes.values(THRESHOLD).next().is_some();
    let of_id = || is_told.then(|| randomness_of(&case.summary.trace_id));
    case.notes.values(RANDOM_VALUE).next().or_else(of_id)
}

/// What is known of a trace's chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Randomness {
    /// Parts of 2^56.
    value: u64,
    /// What was rejected before it came here, in the same parts.
    rejected: u64,
}

impl Randomness {
    /// That of a trace. Spans should agree on it; if not, no order of arrival makes a difference.
    pub(super) fn of(case: &Case<'_>) -> Self {
        let of_id = randomness_of(&case.summary.trace_id);
        let value = case.notes.values(RANDOM_VALUE).max().unwrap_or(of_id);
        let rejected = case.notes.values(THRESHOLD).min().unwrap_or(0);
        // One that would have rejected this trace was not applied to it.
        let rejected = if rejected <= value { rejected } else { 0 };
        Self { value, rejected }
    }

    /// The vote that keeps a share, between 0 and 1, of the traces that come here.
    #[allow(clippy::cast_precision_loss, reason = "a threshold of few digits, as they are")]
    pub(super) fn keep(self, share: f64) -> Vote {
        if share >= 1.0 {
            return Vote::of(Decision::Sampled);
        }
        let left = 1.0 - self.rejected as f64 / (1_u64 << 56) as f64;
        let threshold = Threshold::keeping(share * left);
        let decision = Decision::sampled_if(share > 0.0 && self.value >= threshold.parts());
        Vote { threshold, ..Vote::of(decision) }
    }
}

/// Keeps a share of all traces.
struct Share(f64);

/// The rule that keeps a share of all traces.
pub(super) fn share(share: f64, builder: &mut Builder<'_>) -> Box<dyn Rule> {
    builder.policy(Share(share))
}

impl Policy for Share {
    fn takes_notes(&self) -> bool {
        self.0 < 1.0
    }

    fn note(&self, sight: &Sight<'_>, notes: &mut Notes) {
        note(sight, notes);
    }

    fn evaluate(&self, _marks: Marks, case: &Case<'_>) -> Ballot {
        Ok(Randomness::of(case).keep(self.0))
    }

    /// Open as long as a span may come that names another random value.
    fn foregone(&self, _marks: Marks, _case: &Case<'_>) -> Option<Decision> {
        (self.0 >= 1.0).then_some(Decision::Sampled)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::*;
    use crate::tail_sampling::trace::Summary;

    const END: u64 = 1 << 56;

    fn randomness(trace_id: u128, trace_states: &[&str]) -> Randomness {
        let mut notes = Notes::default();
        for trace_state in trace_states {
            note_trace_state(trace_state.as_bytes(), &mut notes);
        }
        let summary = Summary { trace_id: trace_id.to_be_bytes(), ..Summary::default() };
        let (seen, now) = (Seen::default(), shared::clock::now());
        Randomness::of(&Case { seen, summary: &summary, notes: &notes, now })
    }

    #[test]
    fn it_is_the_last_seven_bytes_of_the_id_or_the_random_value() {
        let id = 0xaaaa_aaaa_aaaa_aaaa_aa12_3456_789a_bcde;
        let check = |states: &[&str], value, rejected| {
            assert_eq!(randomness(id, states), Randomness { value, rejected }, "{states:?}");
        };
        check(&[], 0x12_3456_789a_bcde, 0);
        check(&["a=b,ot=rv:ffeeddccbbaa99"], 0xff_eedd_ccbb_aa99, 0);
        check(&["ot=th:08;rv:ffeeddccbbaa99 , x=y"], 0xff_eedd_ccbb_aa99, 0x08 << 48);
        check(&["ot=th:1"], 0x12_3456_789a_bcde, 0x10 << 48);
        // Spans that disagree, in any order.
        check(&["ot=th:1", "ot=th:08"], 0x12_3456_789a_bcde, 0x08 << 48);
        check(&["ot=th:08", "ot=th:1"], 0x12_3456_789a_bcde, 0x08 << 48);
    }

    #[test]
    fn what_cannot_be_is_passed_over() {
        let id = 0x12_3456_789a_bcde;
        for state in ["ot=rv:123", "ot=th:", "ot=th:c", "ot", "xot=th:1", "=,="] {
            let expected = Randomness { value: 0x12_3456_789a_bcde, rejected: 0 };
            assert_eq!(randomness(id, &[state]), expected, "{state}");
        }
    }

    #[test]
    fn a_share_is_kept_from_the_top_and_the_threshold_says_which() {
        let vote = |value, share| Randomness { value, rejected: 0 }.keep(share);
        let quarter = vote(END - END / 4, 0.25);
        assert_eq!((quarter.decision, quarter.threshold.parts()), (Decision::Sampled, END / 4 * 3));
        assert_eq!(vote(END / 4 * 3 - 1, 0.25).decision, Decision::NotSampled);
        assert_eq!(vote(0, 1.0), Vote::of(Decision::Sampled));
        assert_eq!(vote(END - 1, 0.0).decision, Decision::NotSampled);
    }

    #[test]
    fn the_share_is_taken_of_what_an_earlier_sampler_left() {
        // Half was rejected upstream: a quarter of the rest is an eighth of all.
        let vote = |value| Randomness { value, rejected: END / 2 }.keep(0.25);
        assert_eq!(vote(END / 8 * 7).threshold.parts(), END / 8 * 7);
        assert_eq!(vote(END / 8 * 7).decision, Decision::Sampled);
        assert_eq!(vote(END / 8 * 7 - 1).decision, Decision::NotSampled);
    }
}
