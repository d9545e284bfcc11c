//! What each sub-policy of a `composite` may keep in a second.
//!
//! As in the Collector each has a share of its own, and what one does not use is lost. Source:
//! contrib v0.156 tailsamplingprocessor/internal/sampling/composite.go.
//!
//! Ours is that what one leaves goes to those behind it. Who will leave what is only known when the
//! second is over, so this goes by the second before: what a sub-policy wanted then, up to its
//! share, is held for it now, and the rest may be used by those behind it. With `held` being the
//! larger of that and what it has kept already, this stays true for each sub-policy:
//!
//! ```text
//! held(first) + … + held(it)  ≤  share(first) + … + share(it)
//! ```
//!
//! So the last line bounds the total, and nobody is refused what is held for it. What all shares
//! leave of the total comes in at the first sub-policy without a share, else at the last.

/// Where what a sub-policy does not use goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unused {
    /// Nowhere.
    IsLost,
    /// To those behind it.
    GoesOn,
}

/// See the module's head.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    /// Spans a second, of the whole tier.
    total: u64,
    /// The sub-policies' parts of that.
    shares: Vec<u64>,
    unused: Unused,
    second: u64,
    backends: u64,
    lines: Vec<Line>,
}

/// What a sub-policy did and may do in the second that runs.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    kept: u64,
    /// What it asked for.
    wanted: u64,
    /// What is held for it.
    claim: u64,
}

impl Line {
    fn held(self) -> u64 {
        self.kept.max(self.claim)
    }
}

impl Budget {
    /// Nothing of it has been used.
    pub(super) fn new(total: u64, shares: Vec<u64>, unused: Unused) -> Self {
        let lines = vec![Line::default(); shares.len()];
        Self { total, shares, unused, second: 0, backends: 1, lines }
    }

    /// It is this second, and so many backends share the budget. Shards come one after the other,
    /// so a second may be over already; then the one that runs goes on.
    pub(super) fn begin(&mut self, second: u64, backends: usize) {
        if second <= self.second {
            return;
        }
        let follows = second == self.second + 1;
        (self.second, self.backends) = (second, backends as u64);
        for place in 0..self.lines.len() {
            let claim = match follows {
                true => self.share(place).min(self.lines[place].wanted),
                false => 0,
            };
            self.lines[place] = Line { claim, ..Line::default() };
        }
    }

    /// Whether the sub-policy at `place` may keep so many spans, which are counted then.
    pub(super) fn take(&mut self, place: usize, spans: u64) -> bool {
        let allowed = match self.unused {
            Unused::IsLost => {
                let kept = self.lines[place].kept.saturating_add(spans);
                kept <= self.share(place) && kept <= self.total()
            }
            Unused::GoesOn => self.fits(place, spans),
        };
        let line = &mut self.lines[place];
        line.wanted = line.wanted.saturating_add(spans);
        if allowed {
            line.kept += spans;
        }
        allowed
    }

    /// Whether every line of the picture stays true.
    fn fits(&self, place: usize, spans: u64) -> bool {
        let beyond =
            Line { kept: self.lines[place].kept.saturating_add(spans), ..self.lines[place] }.held()
                - self.lines[place].held();
        let rest =
            self.total().saturating_sub((0..self.shares.len()).map(|at| self.share(at)).sum());
        let rest_from =
            self.shares.iter().position(|share| *share == 0).unwrap_or(self.shares.len() - 1);
        let (mut held, mut limit) = (0, 0);
        for (at, line) in self.lines.iter().enumerate() {
            held += line.held();
            limit += self.share(at) + if at == rest_from { rest } else { 0 };
            if at >= place && limit < held.saturating_add(beyond) {
                return false;
            }
        }
        true
    }

    fn share(&self, place: usize) -> u64 {
        self.shares[place] / self.backends
    }

    fn total(&self) -> u64 {
        self.total / self.backends
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a budget lets through of these spans, in their order: sub-policy and spans.
    fn kept(budget: &mut Budget, asks: &[(usize, u64)]) -> Vec<bool> {
        asks.iter().map(|(place, spans)| budget.take(*place, *spans)).collect()
    }

    #[test]
    fn in_the_collectors_way_each_has_its_share_and_no_more() {
        let mut budget = Budget::new(100, vec![50, 25, 0], Unused::IsLost);
        budget.begin(7, 1);
        assert_eq!(
            kept(&mut budget, &[(0, 30), (0, 21), (0, 20), (1, 26), (1, 25), (2, 1)]),
            [true, false, true, false, true, false]
        );
        budget.begin(8, 1);
        assert_eq!(kept(&mut budget, &[(0, 50), (0, 1)]), [true, false]);
    }

    #[test]
    fn what_is_left_goes_to_those_behind() {
        let mut budget = Budget::new(100, vec![50, 25, 0], Unused::GoesOn);
        budget.begin(7, 1);
        // Nobody wanted anything in the second before, so all is free for the last, the rest of 25
        // included. The first has no one before it.
        assert_eq!(
            kept(&mut budget, &[(0, 51), (0, 50), (2, 51), (2, 50)]),
            [false, true, false, true]
        );
        budget.begin(8, 1);
        // The first wanted more than its share, which is held for it.
        assert_eq!(
            kept(&mut budget, &[(2, 51), (2, 50), (1, 1), (0, 50)]),
            [false, true, false, true]
        );
        budget.begin(9, 1);
        // Now the second is sure of the one span that it wanted.
        assert_eq!(
            kept(&mut budget, &[(2, 50), (2, 49), (1, 1), (0, 50)]),
            [false, true, true, true]
        );
    }

    #[test]
    fn a_second_that_is_over_does_not_come_back() {
        let mut budget = Budget::new(10, vec![10], Unused::IsLost);
        budget.begin(8, 1);
        assert!(budget.take(0, 10));
        budget.begin(7, 1);
        assert!(!budget.take(0, 1));
    }

    #[test]
    fn a_tier_shares_it() {
        for unused in [Unused::IsLost, Unused::GoesOn] {
            let mut budget = Budget::new(100, vec![100], unused);
            budget.begin(1, 4);
            assert_eq!(kept(&mut budget, &[(0, 26), (0, 25), (0, 1)]), [false, true, false]);
        }
    }

    proptest! {
        /// Whatever is asked for: the total of a second is kept, and a sub-policy is only refused
        /// what it wanted less of in the second before, or what is above its share.
        #[test]
        fn the_total_holds_and_nobody_starves(
            total in 1..200_u64,
            percents in proptest::collection::vec(0..40_u64, 1..5),
            seconds in proptest::collection::vec(
                proptest::collection::vec((0..5_usize, 1..60_u64), 0..30), 1..6),
        ) {
            let shares: Vec<u64> = percents
                .iter()
                .scan(100, |left, percent| {
                    let percent = *percent.min(left);
                    *left -= percent;
                    Some(total * percent / 100)
                })
                .collect();
            let mut budget = Budget::new(total, shares.clone(), Unused::GoesOn);
            let mut wanted_before = vec![0; shares.len()];
            for (second, asks) in seconds.into_iter().enumerate() {
                budget.begin(second as u64 + 1, 1);
                let (mut kept, mut wanted) = (vec![0; shares.len()], vec![0; shares.len()]);
                for (place, spans) in asks {
                    let place = place % shares.len();
                    wanted[place] += spans;
                    if budget.take(place, spans) {
                        kept[place] += spans;
                    } else {
                        let sure = shares[place].min(wanted_before[place]);
                        prop_assert!(kept[place] + spans > sure, "{place} starves");
                    }
                    prop_assert!(kept.iter().sum::<u64>() <= total);
                }
                wanted_before = wanted;
            }
        }
    }
}
