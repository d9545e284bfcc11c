//! Marks that policies leave on a trace when they see its spans.

/// The marks of one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::tail_sampling) struct Marks(u8);

impl Marks {
    /// None.
    pub(in crate::tail_sampling) const NONE: Self = Self(0);
    /// The first mark, which most policies need alone: what they look for was seen.
    pub(in crate::tail_sampling) const SEEN: Self = Self(1);
    /// How many marks a policy can have.
    pub(in crate::tail_sampling) const MAX: u8 = 8;

    /// The mark `number`, counted from 0.
    pub(in crate::tail_sampling) const fn of(number: u8) -> Self {
        assert!(number < Self::MAX, "a policy has few marks");
        Self(1 << number)
    }

    /// The first mark if `yes`.
    #[inline]
    pub(in crate::tail_sampling) fn seen_if(yes: bool) -> Self {
        Self(u8::from(yes))
    }

    /// Whether there is none.
    #[inline]
    pub(in crate::tail_sampling) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether any of `others` is among them.
    #[inline]
    pub(in crate::tail_sampling) fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// The marks of both.
    #[inline]
    pub(in crate::tail_sampling) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The marks of all policies on a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::tail_sampling) struct Seen(u128);

impl Seen {
    /// How many marks there can be, of all policies.
    pub(in crate::tail_sampling) const MAX: usize = u128::BITS as usize;

    /// The marks of the policy that has this place.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the low byte is meant")]
    pub(in crate::tail_sampling) fn get(self, place: Place) -> Marks {
        Marks((self.0 >> place.first) as u8 & place.mask)
    }

    /// The same with these marks of a policy.
    #[inline]
    pub(in crate::tail_sampling) fn with(self, place: Place, marks: Marks) -> Self {
        Self(self.0 | u128::from(marks.0 & place.mask) << place.first)
    }

    /// The marks of both.
    #[inline]
    pub(in crate::tail_sampling) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Where a policy's marks stand among those of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::tail_sampling) struct Place {
    first: u8,
    mask: u8,
}

impl Place {
    /// `count` marks from bit `first` on.
    pub(in crate::tail_sampling) fn new(first: usize, count: u8) -> Self {
        assert!(first + usize::from(count) <= Seen::MAX, "validate counts the marks");
        let mask = match count {
            Marks::MAX.. => u8::MAX,
            count => (1 << count) - 1,
        };
        Self { first: u8::try_from(first).expect("there are at most 128"), mask }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_do_not_touch_the_marks_of_others() {
        let (a, none, b, last) =
            (Place::new(0, 1), Place::new(1, 0), Place::new(1, 8), Place::new(127, 1));
        let seen = Seen::default().with(b, Marks::of(7).and(Marks::of(0)));
        assert_eq!(
            (seen.get(a), seen.get(none), seen.get(last)),
            (Marks::NONE, Marks::NONE, Marks::NONE)
        );
        assert_eq!(seen.get(b), Marks(0x81));
        let seen = seen.with(last, Marks::SEEN).with(a, Marks(0xff));
        assert_eq!(
            (seen.get(a), seen.get(b), seen.get(last)),
            (Marks::SEEN, Marks(0x81), Marks::SEEN)
        );
    }
}
