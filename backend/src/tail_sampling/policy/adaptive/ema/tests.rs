use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Intervals of 10 s, weight one half, no bursts.
const SETTINGS: EmaSettings = EmaSettings {
    goal: Goal::Rate(4.0),
    initial_rate: 4.0,
    interval: Duration::from_secs(10),
    weight: 0.5,
    age_out: 0.5,
    burst_multiple: 0.0,
    burst_delay: 0,
    max_keys: 100,
};

struct Clock(Ema, Instant);

impl Clock {
    fn new(settings: EmaSettings) -> Self {
        Self(Ema::new(settings), shared::clock::now())
    }

    fn count(&mut self, key: u64, spans: u32) -> Rated {
        self.0.count(key, spans, 1.0, self.1)
    }

    fn pass(&mut self, time: Duration) {
        self.1 += time;
    }
}

#[track_caller]
fn check_rate(rate: f64, expected: f64) {
    assert!((rate - expected).abs() < 1e-9, "{rate} is not {expected}");
}

/// Worked out by hand: after the first interval the averages are 1000 and 100, of which a quarter
/// is 275. The logarithms are 3 and 2, so the parts would be 165 and 110, but the second key only
/// has 100: it is kept, and the first gets 175 of its 1000.
#[test]
fn a_goal_is_shared_by_logarithms_and_what_is_left_over_is_passed_on() {
    let mut ema = Clock::new(SETTINGS);
    check_rate(ema.count(1, 1000).rate, 4.0);
    check_rate(ema.count(2, 100).rate, 4.0);
    ema.pass(10 * SECOND);
    let rated = ema.count(1, 1);
    check_rate(rated.rate, 1000.0 / 175.0);
    check_rate(ema.0.peek(2), 1.0);
    assert!(rated.adjusted && !rated.over);
    assert_eq!(ema.0.figures().keys, 2);
    check_rate(ema.0.figures().overall_rate, 4.0);
}

/// 100 a second for 10 s are 1000: of 10 000 and 100, with logarithms 4 and 2, these are 666.7 and
/// 333.3, but the second has only 100, and the first gets 900.
#[test]
fn a_throughput_is_a_goal_for_each_interval() {
    let goal = Goal::Throughput(100.0);
    let mut ema = Clock::new(EmaSettings { goal, initial_rate: 1.0, ..SETTINGS });
    ema.count(1, 10_000);
    ema.count(2, 100);
    ema.pass(10 * SECOND);
    check_rate(ema.count(1, 1).rate, 10_000.0 / 900.0);
    check_rate(ema.0.peek(2), 1.0);
}

#[test]
fn a_share_of_the_tier_divides_a_throughput() {
    let goal = Goal::Throughput(100.0);
    let mut ema = Ema::new(EmaSettings { goal, ..SETTINGS });
    let begun = shared::clock::now();
    ema.count(1, 10_000, 0.25, begun);
    check_rate(ema.count(1, 1, 0.25, begun + 10 * SECOND).rate, 10_000.0 / 250.0);
}

/// The averages by hand: 800 of the first interval, then (0 + 1·800)/3, where 3 stands for the
/// weights 1 and 2 of the two intervals there are.
#[test]
fn a_new_interval_has_its_weight() {
    let goal = Goal::Throughput(10.0);
    let mut ema = Clock::new(EmaSettings { goal, ..SETTINGS });
    ema.count(1, 800);
    ema.pass(10 * SECOND);
    check_rate(ema.count(2, 30).rate, 1.0);
    check_rate(ema.0.peek(1), 8.0);
    ema.pass(10 * SECOND);
    ema.count(3, 1);
    let (first, second): (f64, f64) = (800.0 / 3.0, 2.0 * 30.0 / 3.0);
    let logarithms = first.log10() + second.log10();
    let left = 100.0 - second;
    // By logarithms the second key would get more than it has.
    assert!(100.0 * second.log10() / logarithms > second);
    check_rate(ema.0.peek(1), first / left);
    check_rate(ema.0.peek(2), 1.0);
}

#[test]
fn an_interval_without_spans_changes_nothing() {
    let mut ema = Clock::new(SETTINGS);
    ema.count(1, 1000);
    ema.count(2, 10);
    ema.pass(10 * SECOND);
    ema.count(1, 1000);
    let before = ema.0.peek(1);
    // The spans of the interval that ended long ago are those of one interval.
    ema.pass(1000 * SECOND);
    ema.count(1, 1000);
    ema.pass(9 * SECOND);
    assert!(!ema.count(1, 1).adjusted);
    ema.pass(SECOND);
    assert!(ema.count(1, 1).adjusted);
    assert!(ema.0.figures().keys == 2 && before > 1.0);
}

#[test]
fn a_key_that_is_not_seen_is_forgotten_and_new_ones_are_kept() {
    let mut ema = Clock::new(SETTINGS);
    ema.count(7, 1);
    ema.count(1, 1000);
    for keys in [2, 1] {
        ema.pass(10 * SECOND);
        ema.count(1, 1000);
        assert_eq!(ema.0.figures().keys, keys);
    }
    check_rate(ema.count(8, 5).rate, 1.0);
}

#[test]
fn a_burst_ends_the_interval() {
    let settings = EmaSettings { burst_multiple: 2.0, burst_delay: 2, ..SETTINGS };
    let mut ema = Clock::new(settings);
    ema.count(1, 100);
    ema.pass(10 * SECOND);
    // Too early for bursts.
    assert!(ema.count(1, 100).adjusted);
    assert!(!ema.count(1, 200).adjusted);
    ema.pass(10 * SECOND);
    // The average is (100 + 2·300)/3 = 233.3.
    assert!(ema.count(1, 400).adjusted);
    assert!(!ema.count(1, 66).adjusted);
    assert!(ema.count(1, 1).adjusted);
    // The interval begins anew.
    ema.pass(9 * SECOND);
    assert!(!ema.count(1, 1).adjusted);
    ema.pass(SECOND);
    assert!(ema.count(1, 1).adjusted);
}

#[test]
fn keys_over_the_bound_share_a_rate() {
    let mut ema = Clock::new(EmaSettings { max_keys: 2, ..SETTINGS });
    ema.count(1, 100);
    ema.count(2, 100);
    for key in 3..1000 {
        let rated = ema.count(key, 1);
        assert!(rated.over);
        check_rate(rated.rate, 4.0);
    }
    assert_eq!(ema.0.figures().keys, 2);
    ema.pass(10 * SECOND);
    let rate = ema.count(5000, 1).rate;
    assert!(rate > 4.0, "{rate}");
    check_rate(ema.0.peek(6000), rate);
    check_rate(ema.0.figures().overall_rate, 4.0);
}

proptest! {
    #[test]
    fn rates_stay_sane_and_keys_bounded(
        arrivals in prop::collection::vec((0_u64..40, 1_u32..5000, 0_u64..30), 1..300),
        max_keys in 1_usize..20,
        throughput in any::<bool>(),
        burst_multiple in prop::sample::select(vec![0.0, 1.5, 2.0]),
    ) {
        let goal = if throughput { Goal::Throughput(50.0) } else { Goal::Rate(10.0) };
        let settings = EmaSettings { goal, burst_multiple, max_keys, ..SETTINGS };
        let mut ema = Clock::new(settings);
        for (key, spans, seconds) in arrivals {
            ema.pass(Duration::from_secs(seconds));
            let rated = ema.count(key, spans);
            prop_assert!(rated.rate.is_finite() && rated.rate >= 1.0 - 1e-9, "{rated:?}");
            // An adjustment may have made room for a key that was over the bound.
            prop_assert!(rated.adjusted || ema.0.peek(key).total_cmp(&rated.rate).is_eq());
            let figures = ema.0.figures();
            prop_assert!(figures.keys <= max_keys);
            prop_assert!(figures.overall_rate >= 1.0 - 1e-9 && figures.overall_rate.is_finite());
        }
    }
}
