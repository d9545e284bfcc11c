use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::*;

fn ring(names: &[String]) -> Ring {
    Ring::new(RingHash::Xxh3, names.iter().cloned())
}

/// Names as a Kubernetes headless service gives them.
fn addresses(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("10.{}.{}.{}:4317", i / 200, i % 7, i % 200)).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let nibbles: Vec<u8> =
        text.chars().map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap()).collect();
    nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Largest share over mean share.
fn imbalance(ring: &Ring) -> f64 {
    let slots = ring.slots_of_each();
    let largest = *slots.iter().max().unwrap() as f64;
    largest * slots.len() as f64 / SLOTS as f64
}

/// Share of the keys whose owner differs.
fn moved(a: &Ring, b: &Ring) -> f64 {
    let index_in_b: Vec<Option<usize>> =
        a.endpoints.iter().map(|name| b.endpoints.iter().position(|other| other == name)).collect();
    let differs = |slot: &usize| index_in_b[a.slots.owner(*slot).unwrap()] != b.slots.owner(*slot);
    (0..SLOTS).filter(differs).count() as f64 / SLOTS as f64
}

/// Checks both bounds for rings of each size in `sizes`, and for one more endpoint.
#[track_caller]
fn check(names: &[String], sizes: impl Iterator<Item = usize>) {
    for size in sizes {
        let (small, large) = (ring(&names[..size]), ring(&names[..=size]));
        for ring in [&small, &large] {
            assert!(imbalance(ring) <= 1.05, "{size} endpoints: {}", imbalance(ring));
        }
        let bound = 1.1 / (size + 1) as f64;
        let moved = moved(&small, &large);
        assert!(moved <= bound, "{size} endpoints and one more: {moved} moved, {bound} allowed");
    }
}

#[test]
fn shares_are_even_and_few_keys_move() {
    check(&addresses(301), [2, 3, 4, 5, 9, 16, 33, 64, 100, 150, 223, 299, 300].into_iter());
}

#[test]
#[allow(clippy::disallowed_methods, reason = "asked for by the environment")]
fn shares_are_even_and_few_keys_move_at_every_size() {
    if std::env::var_os("RUN_SLOW_TESTS").is_none() {
        return;
    }
    check(&addresses(301), 2..=300);
    let pods: Vec<_> = (0..301).map(|i| format!("backend-{i}.backend.observability")).collect();
    check(&pods, 2..=300);
}

#[test]
fn a_join_moves_keys_to_the_joiner_and_next_to_none_between_others() {
    let names = addresses(101);
    let (before, after) = (ring(&names[..100]), ring(&names));
    let joiner = after.endpoints.iter().position(|name| *name == names[100]).unwrap();
    let to_joiner = after.slots_of_each()[joiner];
    let between_others = moved(&before, &after) - to_joiner as f64 / SLOTS as f64;
    assert!(between_others < 0.0002, "{between_others}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn bounds_hold_for_any_names_and_any_leaver(seed in any::<u64>(), count in 3_usize..=300) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut names: Vec<String> =
            (0..count).map(|_| format!("{:x}", random.random::<u128>())).collect();
        names.sort();
        names.dedup();
        let whole = ring(&names);
        let leaver = random.random_range(0..names.len());
        let without: Vec<String> =
            names.iter().enumerate().filter(|(i, _)| *i != leaver).map(|(_, n)| n.clone()).collect();
        let rest = ring(&without);
        prop_assert!(imbalance(&whole) <= 1.05);
        prop_assert!(imbalance(&rest) <= 1.05);
        prop_assert!(moved(&whole, &rest) <= 1.1 / names.len() as f64);
        names.shuffle(&mut random);
        names.push(names[0].clone());
        prop_assert_eq!(ring(&names), whole);
    }
}

#[test]
fn a_set_without_endpoints_owns_nothing() {
    for hash in [RingHash::Xxh3, RingHash::OtelcolV0_156] {
        assert_eq!(Ring::new(hash, []).owner(b"key"), None);
        assert_eq!(Ring::new(hash, ["a".to_owned()]).owner(b"key"), Some(0));
    }
}

#[test]
fn our_ring_does_not_care_whether_the_port_is_written() {
    let with = ring(&["a:4317".to_owned(), "b:4317".to_owned()]);
    let without = ring(&["b".to_owned(), "a".to_owned(), "a".to_owned()]);
    assert_eq!((with.digest(), with.slots == without.slots), (without.digest(), true));
    assert_eq!(without.endpoints(), ["a", "b"]);
}

#[test]
fn placement_is_the_same_in_every_build() {
    // A change of these figures splits traces while two versions run side by side.
    let ring = ring(&addresses(5));
    assert_eq!(ring.digest(), 17_686_747_068_690_243_537);
    let owners: Vec<_> = (0..12_u8).map(|key| ring.owner(&[key; 16]).unwrap()).collect();
    assert_eq!(owners, [2, 3, 0, 3, 4, 1, 0, 4, 2, 0, 3, 4]);
}

#[test]
fn digests_tell_rings_apart() {
    let names = addresses(3);
    let ours = ring(&names);
    assert_ne!(ours.digest(), ring(&names[..2]).digest());
    assert_ne!(ours.digest(), Ring::new(RingHash::OtelcolV0_156, names).digest());
}

fn otelcol(names: &[&str]) -> Ring {
    Ring::new(RingHash::OtelcolV0_156, names.iter().map(|name| (*name).to_owned()))
}

#[test]
fn owners_are_those_of_the_real_collector() {
    let golden: serde_json::Value = serde_json::from_str(include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/golden/otelcol-v0.156-ring.json"
    )))
    .unwrap();
    let ids: Vec<Vec<u8>> = golden["trace_ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| hex(id.as_str().unwrap()))
        .collect();
    let sets = golden["sets"].as_array().unwrap();
    assert_eq!((ids.len(), sets.len()), (2011, 5));
    for set in sets {
        let endpoints: Vec<&str> = set["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        let ring = otelcol(&endpoints);
        for (id, owner) in ids.iter().zip(set["owners"].as_array().unwrap()) {
            let expected = endpoints[usize::try_from(owner.as_u64().unwrap()).unwrap()];
            assert_eq!(ring.endpoints()[ring.owner(id).unwrap()], expected, "{id:02x?}");
        }
    }
}

#[test]
fn published_vectors_of_the_collectors_ring_hold() {
    let two = otelcol(&["endpoint-1", "endpoint-2"]);
    let a = otelcol(&["backend-1:4317", "backend-2:4317", "backend-3:4317"]);
    let b: Vec<String> = (1..=5).map(|i| format!("10.0.0.{i}:4317")).collect();
    let b = otelcol(&b.iter().map(String::as_str).collect::<Vec<_>>());
    let check = |ring: &Ring, key: &[u8], backend: usize| {
        assert_eq!(ring.owner(key), Some(backend - 1), "{key:02x?}");
    };
    check(&two, &[1, 2, 0, 0], 2);
    check(&two, &[0x80, 0x80, 0, 0], 1);
    check(&two, b"ad-service-7", 2);
    check(&two, b"get-recommendations-1", 1);
    for (id, in_a, in_b) in [
        ("4bf92f3577b34da6a3ce929d0e0e4736", 2, 3),
        ("0af7651916cd43dd8448eb211c80319c", 3, 1),
        ("00000000000000000000000000000000", 2, 1),
        ("ffffffffffffffffffffffffffffffff", 3, 5),
        ("00000000000000000000000000000001", 1, 3),
        ("0102030405060708090a0b0c0d0e0f10", 3, 4),
        ("5b8efff798038103d269b633813fc60c", 1, 3),
        ("d4cda95b652f4a1592b449d5929fda1b", 2, 5),
        ("463ac35c9f6413ad48485a3953bb6124", 1, 1),
        ("a1b2c3d4e5f60718293a4b5c6d7e8f90", 2, 4),
        ("80f198ee56343ba864fe8b2a57d3eff7", 1, 4),
        ("6e0c63257de34c926f9efcd03927272e", 2, 5),
    ] {
        check(&a, &hex(id), in_a);
        check(&b, &hex(id), in_b);
    }
    for (text, in_a, in_b) in [
        ("service.name=checkout|", 1, 4),
        ("checkout", 2, 2),
        ("service.name=|", 1, 5),
        ("service.name=checkout|span.kind=Server|", 2, 5),
        ("tenant=acme|region=|", 1, 3),
        ("http.server.duration", 3, 5),
        ("4bf92f3577b34da6a3ce929d0e0e4736", 2, 5),
    ] {
        check(&a, text.as_bytes(), in_a);
        check(&b, text.as_bytes(), in_b);
    }
}

#[test]
fn a_key_goes_to_the_endpoint_that_has_its_slot() {
    for (hash, slots) in [(RingHash::Xxh3, SLOTS), (RingHash::OtelcolV0_156, 36_000)] {
        let ring = Ring::new(hash, addresses(5));
        assert_eq!(ring.slots(), slots);
        assert_eq!(ring.slots_of_each().iter().sum::<usize>(), slots);
        for key in [&b"a"[..], b"", b"0123456789abcdef"] {
            assert_eq!(ring.owner(key), ring.slots.owner(ring.place(key).slot));
            assert!(ring.owner(key).is_some());
        }
        let none = Ring::new(hash, []);
        assert_eq!((none.slots(), none.slots_of_each(), none.owner(b"a")), (0, vec![], None));
    }
    let ring = Ring::new(RingHash::OtelcolV0_156, addresses(5));
    assert_eq!(ring.place(b"checkout"), Place { hash: 0xaf38_2d4e, slot: 6414 });
}

#[test]
fn slots_are_as_narrow_as_the_largest_number_allows() {
    for (endpoints, narrow) in [(256, true), (257, false)] {
        let ring = Ring::new(RingHash::OtelcolV0_156, addresses(endpoints));
        assert_eq!(matches!(ring.slots, Slots::Narrow(_)), narrow, "{endpoints}");
        assert!(ring.slots_of_each().iter().all(|slots| *slots > 0));
    }
}
