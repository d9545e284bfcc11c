//! Sharing a goal out among keys.
//!
//! Each key claims a part in proportion to its weight, at least its floor and at most what it has.
//! What a key leaves over goes to the others, so the parts add up to the goal whenever floors and
//! counts let them. Picture the goal as water that rises in all keys at once, in each as fast as its
//! weight says: [`level`] is where it stands in the end.

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Claim {
    /// What it has; above 0.
    pub(super) count: f64,
    /// How fast its part grows.
    pub(super) weight: f64,
    /// What it gets in any case, if it has that much.
    pub(super) floor: f64,
}

impl Claim {
    /// Its part at a level; all that it has if there is none.
    pub(super) fn part(self, level: Option<f64>) -> f64 {
        match level {
            Some(level) => (level * self.weight).clamp(self.least(), self.count),
            None => self.count,
        }
    }

    /// How many it has for each that it gets, 1 or more.
    pub(super) fn rate(self, level: Option<f64>) -> f64 {
        self.count / self.part(level)
    }

    fn least(self) -> f64 {
        self.floor.min(self.count)
    }
}

/// The level at which the parts add up to `goal`: 0 when the floors alone are more, nothing when
/// all there is is not.
pub(super) fn level(claims: &[Claim], goal: f64) -> Option<f64> {
    let total: f64 = claims.iter().map(|claim| claim.count).sum();
    if total <= goal {
        return None;
    }
    // Where a part leaves its floor the sum begins to grow with it, and where it is all there is
    // the sum stops to; in between the sum is a straight line.
    let mut bends: Vec<(f64, f64)> = claims
        .iter()
        .filter(|claim| claim.weight > 0.0)
        .flat_map(|claim| {
            let Claim { count, weight, .. } = *claim;
            [(claim.least() / weight, weight), (count / weight, -weight)]
        })
        .collect();
    bends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut sum: f64 = claims.iter().map(|claim| claim.least()).sum();
    let (mut level, mut slope) = (0.0, 0.0);
    for (bend, change) in bends {
        let ahead = slope * (bend - level);
        if sum + ahead >= goal {
            break;
        }
        sum += ahead;
        slope += change;
        level = bend;
    }
    match slope > 0.0 {
        true => Some(level + ((goal - sum) / slope).max(0.0)),
        false => Some(level),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(claims: &[(f64, f64, f64)], goal: f64, parts: &[f64]) {
        let claims: Vec<Claim> = claims
            .iter()
            .map(|(count, weight, floor)| Claim { count: *count, weight: *weight, floor: *floor })
            .collect();
        let level = level(&claims, goal);
        for (claim, expected) in claims.iter().zip(parts) {
            let part = claim.part(level);
            assert!((part - expected).abs() < 1e-9, "{claim:?} got {part}, not {expected}");
        }
    }

    #[test]
    fn parts_grow_with_weights() {
        check(&[(1000.0, 3.0, 1.0), (100.0, 2.0, 1.0)], 50.0, &[30.0, 20.0]);
    }

    #[test]
    fn what_a_key_leaves_over_goes_to_the_others() {
        // An even split gives 20 each; the second key has 5, so the others get 27.5.
        let claims = [(100.0, 1.0, 0.0), (5.0, 1.0, 0.0), (50.0, 1.0, 0.0)];
        check(&claims, 60.0, &[27.5, 5.0, 27.5]);
        // At the level where the third key runs out, the first alone goes on.
        check(&claims, 115.0, &[60.0, 5.0, 50.0]);
    }

    #[test]
    fn a_floor_is_paid_by_the_others() {
        // By weight alone the second key would get 0.8 of 8.
        check(&[(90.0, 9.0, 1.0), (10.0, 1.0, 1.0)], 8.0, &[7.0, 1.0]);
    }

    #[test]
    fn floors_hold_even_above_the_goal_and_all_is_kept_below_it() {
        check(&[(10.0, 1.0, 1.0), (1.0, 0.0, 1.0), (10.0, 1.0, 1.0)], 2.0, &[1.0, 1.0, 1.0]);
        check(&[(10.0, 1.0, 1.0), (3.0, 1.0, 1.0)], 13.0, &[10.0, 3.0]);
        check(&[], 5.0, &[]);
    }

    proptest! {
        #[test]
        fn the_goal_is_met_whenever_it_can_be(
            counts in prop::collection::vec((1.0..1e6_f64, 0.0..6.0_f64), 1..50),
            share in 0.0..1.2_f64,
            floor in 0.0..2.0_f64,
        ) {
            let claims: Vec<Claim> = counts
                .iter()
                .map(|(count, weight)| Claim { count: *count, weight: *weight, floor })
                .collect();
            let total: f64 = claims.iter().map(|claim| claim.count).sum();
            let goal = total * share;
            let level = level(&claims, goal);
            let parts: f64 = claims.iter().map(|claim| claim.part(level)).sum();
            let least: f64 = claims.iter().map(|claim| claim.least()).sum();
            // Without weight a key never gets more than its floor.
            let most: f64 = claims
                .iter()
                .map(|claim| if claim.weight > 0.0 { claim.count } else { claim.least() })
                .sum();
            let expected = if total <= goal { total } else { goal.clamp(least, most.max(least)) };
            prop_assert!((parts - expected).abs() <= expected * 1e-9 + 1e-9, "{parts} {expected}");
            for claim in &claims {
                prop_assert!(claim.rate(level) >= 1.0 - 1e-9);
                prop_assert!(claim.part(level) >= claim.least());
            }
        }
    }
}
