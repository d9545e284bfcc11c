use super::*;
use crate::telemetry::bounds::bounds;

crate::metric_set! {
    /// What is counted of a boat.
    struct BoatMetrics expiring ["harbour", "boat"];
    /// Fish caught.
    fish: Counter = "boat_fish", "{fish}";
    /// People on board.
    crew: Gauge = "boat_crew", "{person}";
    /// Time since the last fish.
    idle: Age = "boat_idle_age", "s";
    /// How long a haul took.
    haul: Histogram = "boat_haul_seconds", "s";
}

/// A set in a registry of the test's own.
fn boat(registry: &mut Registry, name: &str, now: Instant) -> BoatMetrics {
    let mut member = Member::default();
    let boat = BoatMetrics {
        fish: member.handle("boat_fish"),
        crew: member.handle("boat_crew"),
        idle: member.handle("boat_idle_age"),
        haul: member.handle("boat_haul_seconds"),
    };
    let labels = [("boat", name), ("harbour", "Kiel")];
    registry.register(member, BoatMetrics::DESCRIPTORS, &labels, now);
    boat
}

/// The series of `metric` at `now`, by the boat's name.
fn series(registry: &mut Registry, metric: &str, now: Instant) -> Vec<(String, Value)> {
    let snapshot = registry.snapshot(now);
    let family = snapshot.families.into_iter().find(|family| family.descriptor.name == metric);
    let series = family.map(|family| family.series).unwrap_or_default();
    series.into_iter().map(|(labels, value)| (labels[1].1.clone(), value)).collect()
}

#[track_caller]
fn check(registry: &mut Registry, now: Instant, metric: &str, expected: &[(&str, Value)]) {
    let series = series(registry, metric, now);
    let series: Vec<_> = series.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let expected: Vec<_> = expected.iter().map(|(name, value)| (*name, value)).collect();
    assert_eq!(series, expected, "{metric}");
}

#[test]
fn a_series_appears_with_its_set_and_series_are_in_order() {
    let (mut registry, now) = (Registry::new(), clock::now());
    let hanse = boat(&mut registry, "Hanse", now);
    let _adler = boat(&mut registry, "Adler", now);
    hanse.fish.increment(2);
    hanse.crew.set(3);
    hanse.crew.decrement(1);
    hanse.haul.record(Duration::from_millis(100));
    hanse.haul.record(f64::NAN);
    check(
        &mut registry,
        now,
        "boat_fish",
        &[("Adler", Value::Counter(0)), ("Hanse", Value::Counter(2))],
    );
    check(
        &mut registry,
        now,
        "boat_crew",
        &[("Adler", Value::Gauge(0.0)), ("Hanse", Value::Gauge(2.0))],
    );
    assert_eq!((hanse.fish.get(), hanse.crew.get(), hanse.haul.count()), (2, 2.0, 1));
    let names: Vec<_> = registry.snapshot(now).families;
    let names: Vec<_> = names.iter().map(|family| family.descriptor.name).collect();
    assert_eq!(names, ["boat_crew", "boat_fish", "boat_haul_seconds", "boat_idle_age"]);
}

#[test]
fn labels_are_in_the_order_of_the_declaration() {
    let (mut registry, now) = (Registry::new(), clock::now());
    let _boat = boat(&mut registry, "Adler", now);
    let family = registry.snapshot(now).families.remove(0);
    let labels: Vec<_> = family.series.into_keys().flatten().map(|(name, _)| name).collect();
    assert_eq!(labels, ["harbour", "boat"]);
}

#[test]
fn sets_with_equal_labels_add_up() {
    let (mut registry, now) = (Registry::new(), clock::now());
    let sets = [boat(&mut registry, "Adler", now), boat(&mut registry, "Adler", now)];
    for (set, age) in sets.iter().zip([5, 9]) {
        set.fish.increment(age);
        set.crew.set(2);
        set.idle.since(now.checked_sub(Duration::from_secs(age)).unwrap());
        set.haul.record(1.0 / 256.0);
    }
    sets[1].haul.record(99);
    check(&mut registry, now, "boat_fish", &[("Adler", Value::Counter(14))]);
    check(&mut registry, now, "boat_crew", &[("Adler", Value::Gauge(4.0))]);
    check(&mut registry, now, "boat_idle_age", &[("Adler", Value::Age(9.0))]);
    let bounds = bounds("boat_haul_seconds");
    let mut counts = vec![0; bounds.len() + 1];
    (counts[0], counts[bounds.len()]) = (2, 1);
    let expected = Value::Histogram(HistogramValue { bounds, counts, sum: 99.0 + 2.0 / 256.0 });
    check(&mut registry, now, "boat_haul_seconds", &[("Adler", expected)]);
}

#[test]
fn counts_stay_for_the_grace_and_gauges_leave_at_once() {
    let (mut registry, start) = (Registry::new(), clock::now());
    let set = boat(&mut registry, "Adler", start);
    let clone = set.clone();
    set.fish.increment(1);
    drop(set);
    check(&mut registry, start, "boat_crew", &[("Adler", Value::Gauge(0.0))]);
    clone.fish.increment(1);
    drop(clone);
    // However long after the departure the first scrape comes, it shows the last count.
    let found = start + 10 * GRACE;
    for after in [Duration::ZERO, Duration::from_secs(299)] {
        check(&mut registry, found + after, "boat_fish", &[("Adler", Value::Counter(2))]);
        check(&mut registry, found + after, "boat_crew", &[]);
        check(&mut registry, found + after, "boat_idle_age", &[]);
        assert_eq!(series(&mut registry, "boat_haul_seconds", found + after).len(), 1);
    }
    check(&mut registry, found + GRACE, "boat_fish", &[]);
    assert!(registry.groups.is_empty());
}

#[test]
fn one_handle_keeps_its_set_alive() {
    let (mut registry, start) = (Registry::new(), clock::now());
    let BoatMetrics { idle, .. } = boat(&mut registry, "Adler", start);
    let later = start + 2 * GRACE;
    check(&mut registry, later, "boat_fish", &[("Adler", Value::Counter(0))]);
    drop(idle);
    check(&mut registry, later + GRACE, "boat_crew", &[]);
}

#[test]
fn a_counter_never_falls_while_its_labels_live() {
    let (mut registry, start) = (Registry::new(), clock::now());
    let first = boat(&mut registry, "Adler", start);
    first.fish.increment(5);
    first.crew.set(5);
    let second = boat(&mut registry, "Adler", start);
    second.fish.increment(1);
    second.crew.set(1);
    drop(first);
    let later = start + 3 * GRACE;
    for now in [start, later] {
        check(&mut registry, now, "boat_fish", &[("Adler", Value::Counter(6))]);
        check(&mut registry, now, "boat_crew", &[("Adler", Value::Gauge(1.0))]);
    }
    drop(second);
    check(&mut registry, later, "boat_fish", &[("Adler", Value::Counter(6))]);
    // It comes back within the grace, which then starts anew.
    let third = boat(&mut registry, "Adler", later + GRACE / 2);
    third.fish.increment(1);
    let end = later + 2 * GRACE;
    check(&mut registry, end, "boat_fish", &[("Adler", Value::Counter(7))]);
    drop(third);
    check(&mut registry, end, "boat_fish", &[("Adler", Value::Counter(7))]);
    check(&mut registry, end + GRACE, "boat_fish", &[]);
}

#[test]
fn those_who_left_first_make_room_and_are_counted() {
    let (mut registry, start) = (Registry::new(), clock::now());
    for left in ["early", "late"] {
        drop(boat(&mut registry, left, start));
        let found = start + Duration::from_secs(u64::from(left == "late"));
        assert_eq!(registry.snapshot(found).dropped_series, 0);
    }
    let now = start + Duration::from_secs(2);
    for index in 1..MAX_DEPARTED {
        drop(boat(&mut registry, &format!("boat {index}"), now));
    }
    // Of each boat a counter and a histogram stay, and one boat goes.
    assert_eq!(registry.snapshot(now).dropped_series, 2);
    let names = series(&mut registry, "boat_fish", now);
    assert_eq!(names.len(), MAX_DEPARTED);
    assert!(names.iter().any(|(name, _)| name == "late"));
    assert!(names.iter().all(|(name, _)| name != "early"));
}

#[test]
fn a_registry_that_nobody_scrapes_holds_what_lives_and_a_constant() {
    let (mut registry, now) = (Registry::new(), clock::now());
    let living: Vec<_> = (0..9).map(|_| boat(&mut registry, "Adler", now)).collect();
    let members =
        |registry: &Registry| registry.groups.values().map(|group| group.members.len()).sum();
    for _ in 0..10_000 {
        drop(boat(&mut registry, "Adler", now));
        let members: usize = members(&registry);
        assert!(members < MIN_SWEEP, "{members}");
    }
    for index in 0..10_000 {
        drop(boat(&mut registry, &format!("boat {index}"), now));
        assert!(registry.groups.len() <= 2 * (MAX_DEPARTED + living.len()));
    }
}

#[test]
fn an_age_is_worked_out_when_it_is_read() {
    let now = clock::now();
    let (mut registry, age) = (Registry::new(), Duration::from_millis(2500));
    let set = boat(&mut registry, "Adler", now);
    set.idle.since(now);
    check(&mut registry, now + age, "boat_idle_age", &[("Adler", Value::Age(2.5))]);
    // The moment may lie before the process began, or ahead.
    set.idle.since(now.checked_sub(Duration::from_secs(9)).unwrap());
    assert!((set.idle.get(now) - 9.0).abs() < 1e-9);
    set.idle.since(now + age);
    check(&mut registry, now, "boat_idle_age", &[("Adler", Value::Age(0.0))]);
    set.idle.clear();
    check(&mut registry, now + age, "boat_idle_age", &[("Adler", Value::Age(0.0))]);
}

#[test]
fn nothing_is_lost_when_threads_count_while_the_page_is_rendered() {
    const THREADS: u64 = 4;
    const COUNTS: u64 = 10_000;
    let (mut registry, now) = (Registry::new(), clock::now());
    let sets: Vec<_> = (0..THREADS).map(|_| boat(&mut registry, "Adler", now)).collect();
    let shared = boat(&mut registry, "Adler", now);
    let threads = sets.into_iter().map(|own| {
        let shared = shared.clone();
        std::thread::spawn(move || {
            for _ in 0..COUNTS {
                own.fish.increment(1);
                shared.fish.increment(1);
                shared.crew.increment(1);
                own.haul.record(1);
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    let mut last = 0;
    while threads.iter().any(|thread| !thread.is_finished()) {
        let series = series(&mut registry, "boat_fish", now);
        let [(_, Value::Counter(count))] = series[..] else { panic!("{series:?}") };
        assert!(count >= last, "{count} after {last}");
        last = count;
    }
    for thread in threads {
        thread.join().unwrap();
    }
    check(&mut registry, now, "boat_fish", &[("Adler", Value::Counter(2 * THREADS * COUNTS))]);
    check(&mut registry, now, "boat_crew", &[("Adler", Value::Gauge(40_000.0))]);
    let hauls = series(&mut registry, "boat_haul_seconds", now);
    let [(_, Value::Histogram(hauls))] = &hauls[..] else { panic!("{hauls:?}") };
    assert_eq!(hauls.counts.iter().sum::<u64>(), THREADS * COUNTS);
    assert!((hauls.sum - 40_000.0).abs() < 0.5, "{}", hauls.sum);
}

#[test]
fn a_local_registry_shows_only_what_was_made_in_it() {
    let labels = |boat| [("harbour", "Local"), ("boat", boat)];
    let (outer, inner) = (Local::default(), Local::default());
    let entered = outer.enter();
    let _before = BoatMetrics::new(&labels("before"));
    let nested = inner.enter();
    let _within = BoatMetrics::new(&labels("within"));
    drop(nested);
    let _after = BoatMetrics::new(&labels("after"));
    drop(entered);
    let _process = BoatMetrics::new(&labels("process"));
    let fish = |page: &str| -> Vec<String> {
        page.lines().filter(|line| line.starts_with("boat_fish{")).map(str::to_owned).collect()
    };
    let line = |boat| format!("boat_fish{{harbour=\"Local\",boat=\"{boat}\"}} 0");
    assert_eq!(fish(&outer.render()), [line("after"), line("before")]);
    assert_eq!(fish(&inner.render()), [line("within")]);
}

#[test]
fn the_macro_registers_with_the_process() {
    let set = BoatMetrics::new(&[("boat", "Process"), ("harbour", "Kiel")]);
    set.fish.increment(4);
    let families = snapshot(clock::now()).families;
    let fish = families.iter().find(|family| family.descriptor.name == "boat_fish").unwrap();
    let labels = [("harbour", "Kiel"), ("boat", "Process")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(fish.series[&labels.to_vec()], Value::Counter(4));
    let kinds = BoatMetrics::DESCRIPTORS.iter().map(|metric| (metric.kind, metric.expires));
    let expected = [Kind::Counter, Kind::Gauge, Kind::Gauge, Kind::Histogram];
    assert!(kinds.eq(expected.map(|kind| (kind, true))));
}
