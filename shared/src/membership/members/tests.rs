use std::net::IpAddr;

use super::*;

const HOLD: Duration = Duration::from_secs(30);
const PATIENCE: Patience = Patience { misses: 3, shrink_hold: HOLD };

fn addresses(text: &str) -> Vec<IpAddr> {
    text.split_whitespace().map(|address| address.parse().unwrap()).collect()
}

/// `4: 10.0.0.1 10.0.0.2; 6: fd00::1`; a family that is left out was not answered.
fn answer(text: &str) -> Answer<IpAddr> {
    let (mut found, mut v4, mut v6) = (Vec::new(), false, false);
    for part in text.split(';').filter(|part| !part.trim().is_empty()) {
        let (family, list) = part.trim().split_once(':').unwrap();
        *(if family == "4" { &mut v4 } else { &mut v6 }) = true;
        found.extend(addresses(list));
    }
    let silent_about = match (v4, v6) {
        (true, true) => |_: &IpAddr| false,
        (true, false) => IpAddr::is_ipv6,
        (false, true) => IpAddr::is_ipv4,
        (false, false) => |_: &IpAddr| true,
    };
    Answer { found, silent_about }
}

/// Answers one after the other, at the same time, each with the members afterwards.
#[track_caller]
fn check(steps: &[(&str, &str)]) {
    let mut members = Members::new(PATIENCE);
    let now = crate::clock::now();
    for (step, (text, expected)) in steps.iter().enumerate() {
        let before: Vec<_> = members.iter().copied().collect();
        let change = members.learn(&answer(text), now);
        let after: Vec<_> = members.iter().copied().collect();
        assert_eq!(after, addresses(expected), "step {step}: {text}");
        assert_eq!(change.any(), before != after, "step {step}: {text}");
    }
}

/// Answers one after the other, each given as a time in seconds and the last bytes of its
/// addresses, and followed by the members afterwards and how many began to be held back.
#[track_caller]
fn check_times(steps: &[(u64, &str, &str, Option<usize>)]) {
    let mut members: Members<u32> = Members::new(PATIENCE);
    let start = crate::clock::now();
    let numbers = |text: &str| -> Vec<u32> {
        text.split_whitespace()
            .flat_map(|part| match part.split_once('-') {
                Some((first, last)) => first.parse().unwrap()..=last.parse().unwrap(),
                None => part.parse().unwrap()..=part.parse().unwrap(),
            })
            .collect()
    };
    for (at, found, expected, held_back) in steps {
        let now = start + Duration::from_secs(*at);
        let change = members.learn(&Answer::whole(numbers(found)), now);
        let after: Vec<_> = members.iter().copied().collect();
        assert_eq!(after, numbers(expected), "at {at} s: {found}");
        assert_eq!(change.held_back, *held_back, "at {at} s: {found}");
    }
}

#[test]
fn a_new_address_joins_at_once_and_order_and_duplicates_do_not_matter() {
    check(&[
        ("4: 10.0.0.2 10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
        ("4: 10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
        ("4: 10.0.0.3 10.0.0.2 10.0.0.1", "10.0.0.1 10.0.0.2 10.0.0.3"),
    ]);
}

#[test]
fn an_address_leaves_after_three_misses_in_a_row() {
    check(&[
        ("4: 10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
        ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
        ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
        ("4: 10.0.0.1", "10.0.0.1"),
    ]);
}

#[test]
fn an_address_that_flaps_stays() {
    check(&[
        ("4: 10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
        ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
        ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
        ("4: 10.0.0.2", "10.0.0.1 10.0.0.2"),
        ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
        ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
    ]);
}

#[test]
fn failed_and_empty_answers_change_nothing_and_are_no_misses() {
    check(&[
        ("4: 10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
        ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
        ("", "10.0.0.1 10.0.0.2"),
        ("4: ; 6:", "10.0.0.1 10.0.0.2"),
        ("4:", "10.0.0.1 10.0.0.2"),
        ("", "10.0.0.1 10.0.0.2"),
        ("4: 10.0.0.1", "10.0.0.1 10.0.0.2"),
        ("4: 10.0.0.1", "10.0.0.1"),
    ]);
}

#[test]
fn a_family_that_was_not_answered_misses_nobody() {
    check(&[
        ("4: 10.0.0.1; 6: fd00::1", "10.0.0.1 fd00::1"),
        ("4: 10.0.0.1", "10.0.0.1 fd00::1"),
        ("4: 10.0.0.1", "10.0.0.1 fd00::1"),
        ("4: 10.0.0.1", "10.0.0.1 fd00::1"),
        ("4: 10.0.0.1; 6:", "10.0.0.1 fd00::1"),
        ("4: 10.0.0.1; 6:", "10.0.0.1 fd00::1"),
        ("4: 10.0.0.1; 6:", "10.0.0.1"),
    ]);
}

#[test]
fn a_whole_set_may_be_replaced_but_never_by_nothing() {
    check(&[
        ("4: 10.0.0.1", "10.0.0.1"),
        ("4: 10.0.0.9", "10.0.0.1 10.0.0.9"),
        ("4: 10.0.0.9", "10.0.0.1 10.0.0.9"),
        ("4: 10.0.0.9", "10.0.0.9"),
        ("4:", "10.0.0.9"),
        ("4:", "10.0.0.9"),
        ("4:", "10.0.0.9"),
        ("4:", "10.0.0.9"),
    ]);
}

#[test]
fn more_than_half_leave_only_after_the_hold() {
    check_times(&[
        (0, "1-8", "1-8", None),
        (5, "1-3", "1-8", None),
        (10, "1-3", "1-8", None),
        (15, "1-3", "1-8", Some(5)),
        (20, "1-3", "1-8", None),
        (44, "1-3", "1-8", None),
        (45, "1-3", "1-3", None),
    ]);
}

#[test]
fn half_leave_without_a_hold() {
    check_times(&[
        (0, "1-8", "1-8", None),
        (5, "1-4", "1-8", None),
        (10, "1-4", "1-8", None),
        (15, "1-4", "1-4", None),
    ]);
}

#[test]
fn a_hold_is_over_when_enough_come_back_and_begins_anew_the_next_time() {
    check_times(&[
        (0, "1-8", "1-8", None),
        (5, "1", "1-8", None),
        (10, "1", "1-8", None),
        (15, "1", "1-8", Some(7)),
        (40, "1-8", "1-8", None),
        (45, "1", "1-8", None),
        (50, "1", "1-8", None),
        (55, "1", "1-8", Some(7)),
        (84, "1", "1-8", None),
        (85, "1", "1", None),
    ]);
}

#[test]
fn a_shrink_in_steps_is_held_back_as_well() {
    check_times(&[
        (0, "1-8", "1-8", None),
        (1, "1-4", "1-8", None),
        (2, "1-4", "1-8", None),
        (3, "1-2", "1-4", None),
        // Four left just now; two more would leave 2 of 8.
        (4, "1-2", "1-4", None),
        (5, "1-2", "1-4", Some(2)),
        // What left 30 s ago counts no longer: 2 of 4 may go.
        (32, "1-2", "1-4", None),
        (33, "1-2", "1-2", None),
    ]);
}

#[test]
fn a_rolling_replacement_is_not_held_back() {
    // Each new pod comes before an old one goes, one after the other, quickly.
    check_times(&[
        (0, "1-3", "1-3", None),
        (1, "1-3 11", "1-3 11", None),
        (2, "2-3 11", "1-3 11", None),
        (3, "2-3 11-12", "1-3 11-12", None),
        (4, "3 11-12", "2-3 11-12", None),
        (5, "3 11-13", "2-3 11-13", None),
        (6, "11-13", "3 11-13", None),
        (7, "11-13", "3 11-13", None),
        (8, "11-13", "11-13", None),
    ]);
}

#[test]
fn without_a_hold_a_large_shrink_needs_no_more_than_its_misses() {
    let mut members = Members::new(Patience { misses: 1, shrink_hold: Duration::ZERO });
    let now = crate::clock::now();
    members.learn(&Answer::whole(vec![1, 2, 3, 4]), now);
    let change = members.learn(&Answer::whole(vec![4]), now);
    assert_eq!((change.left, change.held_back), (vec![1, 2, 3], None));
}

#[test]
fn the_end_of_a_hold_is_known() {
    let mut members = Members::new(Patience { misses: 1, ..PATIENCE });
    let now = crate::clock::now();
    members.learn(&Answer::whole(vec![1, 2, 3]), now);
    assert_eq!(members.hold_ends(), None);
    members.learn(&Answer::whole(vec![1]), now);
    assert_eq!(members.hold_ends(), Some(now + HOLD));
    members.learn(&Answer::whole(vec![1]), now + HOLD);
    assert_eq!((members.hold_ends(), members.len()), (None, 1));
}

#[test]
fn the_set_is_bounded() {
    let mut members: Members<u32> = Members::new(PATIENCE);
    let change = members.learn(&Answer::whole((0..5000).collect()), crate::clock::now());
    assert_eq!((members.len(), change.passed_over), (MAX_ENDPOINTS, 904));
}
