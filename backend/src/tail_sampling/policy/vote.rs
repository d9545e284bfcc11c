//! What policies say about a trace.

use std::sync::Arc;

/// What is decided about a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tail_sampling) enum Decision {
    /// It is kept.
    Sampled,
    /// It is not, unless another policy keeps it.
    NotSampled,
    /// It is not, whatever other policies say.
    Dropped,
}

impl Decision {
    /// All of them.
    pub(in crate::tail_sampling) const ALL: [Decision; 3] =
        [Decision::Sampled, Decision::NotSampled, Decision::Dropped];

    /// Sampled if `yes`.
    pub(in crate::tail_sampling) fn sampled_if(yes: bool) -> Self {
        match yes {
            true => Decision::Sampled,
            false => Decision::NotSampled,
        }
    }

    /// As the `decision` label has it.
    pub(in crate::tail_sampling) fn label(self) -> &'static str {
        match self {
            Decision::Sampled => "sampled",
            Decision::NotSampled => "not_sampled",
            Decision::Dropped => "dropped",
        }
    }
}

/// How hard it was to be kept: the share of all traces that is rejected, in parts of 2^56, as the
/// field `th` of the trace state has it. Traces with random ids below it are rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::tail_sampling) struct Threshold(u64);

impl Threshold {
    /// Nothing is rejected: each kept trace stands for itself alone.
    pub(in crate::tail_sampling) const NONE: Self = Self(0);
    /// Everything is; not a threshold any more.
    const END: u64 = 1 << 56;

    /// Rejects so many parts of 2^56, and never all of them.
    pub(in crate::tail_sampling) fn rejecting(parts: u64) -> Self {
        Self(parts.min(Self::END - 1))
    }

    /// The threshold that keeps the share `probability`.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share between 0 and 1 of 2^56, which a double holds exactly"
    )]
    pub(in crate::tail_sampling) fn keeping(probability: f64) -> Self {
        let kept = (probability.clamp(0.0, 1.0) * Self::END as f64).round() as u64;
        Self::rejecting(Self::END - kept)
    }

    /// The parts of 2^56 that are rejected.
    pub(in crate::tail_sampling) fn parts(self) -> u64 {
        self.0
    }
}

/// What a policy says about a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tail_sampling) struct Vote {
    /// What it wants done.
    pub(in crate::tail_sampling) decision: Decision,
    /// For [`Decision::Sampled`]: how hard that was.
    pub(in crate::tail_sampling) threshold: Threshold,
    /// The sub-policy that decided, where one of several did.
    pub(in crate::tail_sampling) by: Option<RuleId>,
}

impl Vote {
    /// A plain vote.
    pub(in crate::tail_sampling) fn of(decision: Decision) -> Self {
        Self { decision, threshold: Threshold::NONE, by: None }
    }

    /// Sampled if `yes`.
    pub(in crate::tail_sampling) fn sampled_if(yes: bool) -> Self {
        Self::of(Decision::sampled_if(yes))
    }
}

/// A policy could not say anything about a trace, which is judged without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tail_sampling) struct Failed;

/// A vote, or the lack of one.
pub(in crate::tail_sampling) type Ballot = Result<Vote, Failed>;

/// The number of a policy or sub-policy in [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::tail_sampling) struct RuleId(u16);

impl RuleId {
    /// The number that has this [`index`](RuleId::index).
    pub(in crate::tail_sampling) fn at(index: u16) -> Self {
        Self(index)
    }

    /// As the index of a row with an entry for each name.
    pub(in crate::tail_sampling) fn index(self) -> usize {
        self.0.into()
    }
}

/// Names of all policies that there ever were, sub-policies as `policy/sub-policy`.
///
/// Names are only added, so that a remembered decision can name its policy after a change of
/// policies. There are [`Names::MAX`] at most; later ones share the last place.
#[derive(Debug, Clone, Default)]
pub(in crate::tail_sampling) struct Names {
    names: Vec<Name>,
    /// The name of the processor, if it has one.
    processor: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    text: Arc<str>,
    /// How much of it is the name of the policy, the rest being that of a sub-policy.
    policy_bytes: usize,
}

impl Names {
    /// How many names there can be.
    const MAX: usize = 1 << 14;

    /// No names yet, of the policies of a processor that may have a name of its own.
    pub(in crate::tail_sampling) fn of(processor: Option<&str>) -> Self {
        Self { names: Vec::new(), processor: processor.map(str::to_owned) }
    }

    /// How metrics name a policy: with the name of its processor before it.
    pub(in crate::tail_sampling) fn label(&self, policy: &str) -> String {
        match &self.processor {
            Some(processor) => format!("{processor}.{policy}"),
            None => policy.to_owned(),
        }
    }

    /// The number of a policy, or of the sub-policy behind others in `path`.
    pub(in crate::tail_sampling) fn intern<S: AsRef<str>>(&mut self, path: &[S]) -> RuleId {
        let path: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
        let policy_bytes = path.first().map_or(0, |policy| policy.len());
        let name = Name { text: path.join("/").into(), policy_bytes };
        let place = match self.names.iter().position(|known| *known == name) {
            Some(place) => place,
            None if self.names.len() + 1 < Self::MAX => {
                self.names.push(name);
                self.names.len() - 1
            }
            None => {
                let other = Name { text: "other".into(), policy_bytes: "other".len() };
                self.names.resize(Self::MAX, other);
                Self::MAX - 1
            }
        };
        RuleId(u16::try_from(place).expect("there are fewer than 2^14 names"))
    }

    /// The name behind a number.
    pub(in crate::tail_sampling) fn get(&self, id: RuleId) -> &Arc<str> {
        &self.names[id.index()].text
    }

    /// The name of the policy, and that of its sub-policy if it is one's.
    pub(in crate::tail_sampling) fn parts(&self, id: RuleId) -> (&str, Option<&str>) {
        let Name { text, policy_bytes } = &self.names[id.index()];
        match text.split_at_checked(*policy_bytes) {
            Some((policy, rest)) => (policy, rest.strip_prefix('/')),
            None => (text, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_numbers_and_have_a_bound() {
        let mut names = Names::default();
        let first = names.intern(&["a"]);
        for number in 0..Names::MAX + 10 {
            names.intern(&[format!("policy{number}")]);
        }
        assert_eq!(names.intern(&["a"]), first);
        assert_eq!(&**names.get(first), "a");
        let late = names.intern(&["one more"]);
        assert_eq!((&**names.get(late), names.names.len()), ("other", Names::MAX));
    }

    #[test]
    fn a_name_tells_its_policy_from_its_sub_policy() {
        let mut names = Names::default();
        let policy = names.intern(&["a/b"]);
        let sub_policy = names.intern(&["a", "b"]);
        let deeper = names.intern(&["a", "b", "c"]);
        assert_eq!(names.parts(policy), ("a/b", None));
        assert_eq!(names.parts(sub_policy), ("a", Some("b")));
        assert_eq!(names.parts(deeper), ("a", Some("b/c")));
        assert_eq!(&**names.get(deeper), "a/b/c");
    }

    #[test]
    fn thresholds_follow_shares() {
        assert_eq!(Threshold::keeping(1.0), Threshold::NONE);
        assert_eq!(Threshold::keeping(0.5).parts(), 1 << 55);
        assert_eq!(Threshold::keeping(0.0).parts(), (1 << 56) - 1);
    }
}
