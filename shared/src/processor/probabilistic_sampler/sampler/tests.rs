use super::*;

#[test]
fn shares_become_the_collectors_thresholds() {
    let check = |share: f64, precision, expected: &str| {
        let mut text = Vec::new();
        let threshold = threshold_keeping(share, precision).unwrap();
        crate::wire::trace_state::put_threshold(threshold, &mut text);
        assert_eq!(String::from_utf8(text).unwrap(), expected, "{share} {precision}");
    };
    check(1.0, 4, "0");
    check(0.5, 4, "8");
    check(0.25, 4, "c");
    check(0.01, 4, "fd70a");
    check(0.01, 14, "fd70a3d70a3d71");
    check(1.0 / 3.0, 14, "aaaaaaaaaaaaac");
    check(1.0 / 3.0, 5, "aaaab");
    check(1.0 / 3.0, 3, "aab");
    check(0.99, 3, "028f");
    check(0.99, 4, "028f6");
    check(2.0_f64.powi(-8), 4, "ff");
    check(MIN_SHARE, 4, "ffffffffffffff");
    assert_eq!(threshold_keeping(MIN_SHARE / 2.0, 4), None);
    assert_eq!(threshold_keeping(1.5, 4), None);
    assert_eq!(threshold_keeping(f64::NAN, 4), None);
}

#[test]
fn a_hash_keeps_the_traces_that_14_bits_of_fnv_keep() {
    for seed in [0, 1, 1234] {
        for percentage in [0.01_f32, 1.0, 12.5, 50.0, 99.9, 100.0, 1e9] {
            let method = Method::new(Mode::HashSeed, percentage, seed, 4);
            let sampler = Sampler { method, precision: 4, fail_closed: true };
            for id in 0..500_u128 {
                let trace_id = (id * 0x1234_5678_9abc_def1_2345 + 1).to_be_bytes();
                let old = seed
                    .to_le_bytes()
                    .iter()
                    .chain(&trace_id)
                    .fold(0x811c_9dc5_u32, |hash, byte| {
                        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
                    });
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "so")]
                let kept = (percentage.min(100.0) * 163.84) as u32;
                let verdict = sampler.judge(&span(&trace_id), Priority::None);
                assert_eq!(verdict.is_sampled, old & 0x3fff < kept, "{seed} {percentage} {id}");
                assert_eq!(verdict.policy, Policy::TraceIdHash);
            }
        }
    }
}

fn span(trace_id: &[u8; 16]) -> Item<'_> {
    Item {
        carried: Some(Carried::default()),
        trace_id: Some(trace_id),
        attribute: None,
        notes_missing: true,
    }
}

fn sampler(mode: Mode, percentage: f32) -> Sampler {
    Sampler { method: Method::new(mode, percentage, 0, 4), precision: 4, fail_closed: true }
}

/// A trace id with this randomness.
fn id(randomness: u64) -> [u8; 16] {
    (1_u128 << 100 | u128::from(randomness)).to_be_bytes()
}

/// What a kept item says; `None` if it is not kept.
fn kept(sampler: &Sampler, item: &Item<'_>) -> Option<Carried> {
    let verdict = sampler.judge(item, Priority::None);
    assert_eq!(verdict.is_sampled, verdict.inscription.is_some());
    verdict.inscription
}

#[allow(clippy::unnecessary_wraps, reason = "compared with what an item may carry")]
fn threshold(threshold: u64) -> Option<Carried> {
    Some(Carried { randomness: None, threshold: Some(threshold) })
}

#[test]
fn an_equalizer_takes_no_more_than_is_left() {
    let half = sampler(Mode::Equalizing, 50.0);
    assert_eq!(kept(&half, &span(&id(1 << 55))), threshold(1 << 55));
    assert_eq!(kept(&half, &span(&id((1 << 55) - 1))), None);
    let rarer = 0xc << 52;
    let carried = threshold(rarer);
    let item_id = id(rarer);
    let item = Item { carried, ..span(&item_id) };
    assert_eq!(kept(&half, &item), threshold(rarer));
    let carried = threshold(0x4 << 52);
    assert_eq!(kept(&half, &Item { carried, ..span(&item_id) }), threshold(1 << 55));
}

#[test]
fn a_proportion_is_taken_of_what_is_left() {
    let half = sampler(Mode::Proportional, 50.0);
    assert_eq!(kept(&half, &span(&id(1 << 55))), threshold(1 << 55));
    let carried = threshold(1 << 55);
    let (low, high) = (id(0xb << 52), id(0xc << 52));
    assert_eq!(kept(&half, &Item { carried, ..span(&low) }), None);
    assert_eq!(kept(&half, &Item { carried, ..span(&high) }), threshold(0xc << 52));
}

#[test]
fn randomness_that_is_named_counts() {
    let half = sampler(Mode::Equalizing, 50.0);
    let low = id(0);
    let carried = Some(Carried { randomness: Some(1 << 55), threshold: None });
    let verdict = half.judge(&Item { carried, ..span(&low) }, Priority::None);
    assert_eq!((verdict.is_sampled, verdict.policy), (true, Policy::SamplingRandomness));
    assert_eq!(verdict.inscription, threshold(1 << 55));
}

#[test]
fn items_in_trouble_are_rejected_or_kept() {
    let check = |mode, item: &Item<'_>, trouble, open: Option<Carried>| {
        let closed = sampler(mode, 50.0);
        let verdict = closed.judge(item, Priority::None);
        assert_eq!((verdict.is_sampled, verdict.trouble), (false, Some(trouble)));
        let verdict = Sampler { fail_closed: false, ..closed }.judge(item, Priority::None);
        assert_eq!((verdict.is_sampled, verdict.inscription), (true, open));
    };
    let some_id = id(1 << 55);
    let item = span(&some_id);
    let nameless = Item { trace_id: None, ..item };
    let missing = Trouble::MissingRandomness;
    let highest = Some(Carried { randomness: Some(HIGHEST), threshold: Some(0) });
    check(Mode::HashSeed, &nameless, missing, highest);
    check(Mode::HashSeed, &Item { notes_missing: false, ..nameless }, missing, threshold(0));
    check(Mode::Equalizing, &nameless, missing, threshold(0));
    let unreadable = Item { carried: None, ..item };
    check(Mode::HashSeed, &unreadable, Trouble::Unreadable, None);
    check(Mode::Proportional, &unreadable, Trouble::Unreadable, None);
    let with =
        |randomness, threshold| Item { carried: Some(Carried { randomness, threshold }), ..item };
    check(Mode::HashSeed, &with(Some(1), None), Trouble::RandomnessInUse, None);
    check(Mode::HashSeed, &with(None, Some(1)), Trouble::ThresholdInUse, None);
    let inconsistent = Trouble::InconsistentThreshold;
    check(Mode::Equalizing, &with(None, Some(0xc << 52)), inconsistent, threshold(0));
}

#[test]
fn priorities_win() {
    let (low, high) = (id(0), id(HIGHEST));
    let half = sampler(Mode::Equalizing, 50.0);
    let verdict = half.judge(&span(&low), Priority::Always);
    assert_eq!((verdict.is_sampled, verdict.policy), (true, Policy::SamplingPriority));
    assert_eq!(verdict.inscription, threshold(0));
    assert!(!half.judge(&span(&high), Priority::Never).is_sampled);
    assert!(!half.judge(&span(&id(1 << 54)), Priority::Share(0.5)).is_sampled);
    assert!(half.judge(&span(&id(1 << 54)), Priority::Share(0.75)).is_sampled);
    // What is no share is not heard.
    assert!(half.judge(&span(&high), Priority::Share(2.0)).is_sampled);
    let none = sampler(Mode::HashSeed, 0.0);
    assert!(!none.judge(&span(&high), Priority::None).is_sampled);
    assert!(none.judge(&span(&low), Priority::Always).is_sampled);
}

#[test]
fn a_named_threshold_is_never_lowered() {
    let all = sampler(Mode::Equalizing, 100.0);
    let high = id(HIGHEST);
    let item = Item { carried: threshold(0x8 << 52), ..span(&high) };
    let verdict = all.judge(&item, Priority::Always);
    assert_eq!(verdict.inscription, Some(Carried::default()));
}
