//! How a trace is bound to end, while it waits.
//!
//! A trace whose outcome is certain need not be held: its spans leave, or are let go, and those that
//! follow go the same way at once. Its entry stays and is judged when it is due, as if it had all
//! its spans, so votes, limits and counts are the same as without this.

use super::evaluate::{Policies, Verdict};
use super::policy::{Case, Decision};
use super::shard::Settings;

/// See the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It will be kept.
    Kept,
    /// It will not be kept, for whatever reason.
    Discarded,
}

impl Outcome {
    /// What a decision means for a trace's spans.
    pub(super) fn of(decision: Decision) -> Self {
        match decision {
            Decision::Sampled => Self::Kept,
            Decision::NotSampled | Decision::Dropped => Self::Discarded,
        }
    }

    /// For people.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Discarded => "dropped",
        }
    }

    /// The plainest verdict that has this outcome.
    pub(super) fn verdict(self) -> Verdict {
        let decision = match self {
            Self::Kept => Decision::Sampled,
            Self::Discarded => Decision::NotSampled,
        };
        Verdict { decision, ..Verdict::NOT_SAMPLED }
    }

    /// What is certain about a trace, whatever spans may still come and whenever it is judged.
    ///
    /// What is written on kept spans is not certain until all policies were asked, so then none
    /// leave early.
    pub(super) fn certain(
        policies: &Policies,
        case: &Case<'_>,
        settings: &Settings,
    ) -> Option<Self> {
        if !settings.early_release {
            return None;
        }
        if settings.dry_run {
            return Some(Self::Kept);
        }
        let outcome = policies.foregone(case)?;
        // One that may still become too large may still be thrown away.
        let may_be_kept = settings.max_trace_bytes == u64::MAX && settings.inscription.is_nothing();
        (outcome == Self::Discarded || may_be_kept).then_some(outcome)
    }
}
