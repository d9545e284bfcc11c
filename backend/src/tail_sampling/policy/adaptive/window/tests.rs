use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// 10 spans a second, over 3 s.
const SETTINGS: WindowSettings =
    WindowSettings { throughput: 10.0, initial_rate: 5.0, slot: SECOND, slots: 3, max_keys: 100 };

struct Clock(Window, Instant);

impl Clock {
    fn new(settings: WindowSettings) -> Self {
        Self(Window::new(settings), shared::clock::now())
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

/// By hand: the goal of the first second is 10. Three keys would get 3.33 each; the third has 2, so
/// the others get 4 each.
#[test]
fn each_key_gets_as_much_and_what_is_left_over_is_passed_on() {
    let mut window = Clock::new(SETTINGS);
    for (key, spans) in [(1, 100), (2, 8), (3, 2)] {
        check_rate(window.count(key, spans).rate, 5.0);
    }
    window.pass(SECOND);
    assert!(window.count(1, 0).adjusted);
    check_rate(window.0.peek(1), 25.0);
    check_rate(window.0.peek(2), 2.0);
    check_rate(window.0.peek(3), 1.0);
    check_rate(window.0.figures().overall_rate, 11.0);
    // A key that was not there yet.
    check_rate(window.count(4, 1).rate, 1.0);
}

/// With 100 spans a second there are 100, 200, 300 and then always 300 in the window, for goals of
/// 10, 20, 30 and 30.
#[test]
fn a_window_counts_for_what_it_covers() {
    let mut window = Clock::new(SETTINGS);
    window.count(1, 100);
    for second in 1..6 {
        window.pass(SECOND);
        let rated = window.count(1, 100);
        assert!(rated.adjusted);
        check_rate(rated.rate, 10.0);
        assert!(window.0.slots.len() <= 4, "in second {second}");
    }
}

#[test]
fn what_is_out_of_the_window_is_forgotten() {
    let mut window = Clock::new(SETTINGS);
    window.count(1, 100);
    window.count(2, 100);
    window.pass(3 * SECOND);
    // The window still has the first second.
    window.count(1, 10);
    assert_eq!(window.0.figures().keys, 2);
    check_rate(window.0.peek(1), 100.0 / 15.0);
    window.pass(SECOND);
    window.count(1, 10);
    assert_eq!(window.0.figures().keys, 1);
    check_rate(window.0.peek(1), 1.0);
    // One that saw nothing knows nothing.
    window.pass(100 * SECOND);
    check_rate(window.count(1, 10).rate, 5.0);
}

#[test]
fn a_share_of_the_tier_divides_the_throughput() {
    let mut window = Window::new(SETTINGS);
    let begun = shared::clock::now();
    window.count(1, 100, 0.5, begun);
    check_rate(window.count(1, 1, 0.5, begun + SECOND).rate, 20.0);
}

#[test]
fn keys_over_the_bound_share_a_rate() {
    let mut window = Clock::new(WindowSettings { max_keys: 1, ..SETTINGS });
    window.count(1, 100);
    (2..102).for_each(|key| assert!(window.count(key, 1).over));
    window.pass(SECOND);
    check_rate(window.count(1, 1).rate, 20.0);
    check_rate(window.count(7, 1).rate, 20.0);
    check_rate(window.count(5000, 1).rate, 20.0);
    assert_eq!(window.0.figures().keys, 1);
}

proptest! {
    #[test]
    fn totals_are_the_sums_of_the_slots(
        arrivals in prop::collection::vec((0_u64..30, 1_u32..1000, 0_u64..3000), 1..300),
        max_keys in 1_usize..20,
    ) {
        let mut window = Clock::new(WindowSettings { max_keys, ..SETTINGS });
        for (key, spans, millis) in arrivals {
            window.pass(Duration::from_millis(millis));
            let rated = window.count(key, spans);
            prop_assert!(rated.rate.is_finite() && rated.rate >= 1.0 - 1e-9, "{rated:?}");
            prop_assert!(window.0.peek(key).total_cmp(&rated.rate).is_eq());
            prop_assert!(window.0.figures().keys <= max_keys);
            for (key, total) in &window.0.keys {
                let slots = window.0.slots.iter().filter_map(|slot| slot.spans.get(key));
                prop_assert_eq!(total.spans, slots.sum::<u64>());
            }
            let spans: usize = window.0.slots.iter().map(|slot| slot.spans.len()).sum();
            prop_assert!(spans <= 4 * (max_keys + 1));
        }
    }
}
