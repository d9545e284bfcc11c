//! What is held, and for how long.

use super::*;
use crate::prometheus::value::FamilyKind;

/// Points of `count` series.
fn points(count: u32, time_ns: u64) -> Vec<NumberDataPoint> {
    (0..count)
        .map(|index| NumberDataPoint {
            attributes: attributes(&[("index", &format!("{index:06}"))]),
            ..point(f64::from(index), time_ns)
        })
        .collect()
}

fn observe(exposed: &Exposed, pod: &str, points: Vec<NumberDataPoint>) -> Observed {
    let data = sum(CUMULATIVE, true, points);
    exposed.observe(vec![entry(&[("pod", pod)], vec![metric("m", "", data)])])
}

/// More series than are copied at once, some of several writers and some of gone ones.
#[test]
fn pages_of_series_join_without_a_seam() {
    let mut exposed = Exposed::new(&short());
    observe(&exposed, "1", points(3000, TIME));
    exposed.pass(200);
    observe(&exposed, "2", points(1500, TIME));
    let expected = |value: fn(u32) -> u32, count| {
        (0..count)
            .map(|index| format!("m_total{{index=\"{index:06}\"}} {}", value(index)))
            .collect::<Vec<_>>()
    };
    assert_eq!(exposed.samples(), expected(|i| if i < 1500 { 2 * i } else { i }, 3000));
    exposed.pass(200);
    // What the first counted stays while the second counts on.
    assert_eq!(exposed.samples(), expected(|i| 2 * i, 1500));
    assert_eq!(exposed.streams(), 1500);
    exposed.pass(200);
    assert_eq!(exposed.text(), "");
    assert_eq!((exposed.streams(), exposed.held_bytes()), (0, 0));
}

#[test]
fn a_sweep_forgets_all_that_expired_and_nothing_else() {
    let mut exposed = Exposed::new(&short());
    observe(&exposed, "1", points(2000, TIME));
    exposed.pass(299);
    observe(&exposed, "1", points(1, TIME));
    exposed.pass(1);
    exposed.sweep();
    assert_eq!(exposed.streams(), 1);
    exposed.pass(299);
    exposed.sweep();
    assert_eq!((exposed.streams(), exposed.held_bytes()), (0, 0));
}

#[test]
fn what_needs_more_bytes_than_there_are_is_dropped_and_counted() {
    let exposed = Exposed::new(&PrometheusConfig { max_bytes: 100_000, ..short() });
    let observed = observe(&exposed, "1", points(1000, TIME));
    let kept = exposed.streams();
    assert!(kept > 100 && exposed.held_bytes() <= 100_000, "{kept}");
    assert_eq!(dropped(&observed, Reason::MaxBytes), 1000 - u64::try_from(kept).unwrap());
    // Those that are there go on.
    let again = observe(&exposed, "1", points(u32::try_from(kept).unwrap(), TIME + 1));
    assert_eq!(again, Observed::default());
}

#[test]
fn a_histogram_does_not_outgrow_its_room() {
    let exposed = Exposed::new(&PrometheusConfig { max_bytes: 2000, ..short() });
    let observe = |bounds: u32, time_ns| {
        let bounds: Vec<f64> = (0..bounds).map(f64::from).collect();
        let counts = vec![1; bounds.len() + 1];
        let mut point = histogram(CUMULATIVE, &bounds, &counts, 1.0);
        point.point.time_unix_nano = time_ns;
        exposed.observe(vec![entry(&[], vec![metric("h", "", point.into())])])
    };
    assert_eq!(observe(10, TIME), Observed::default());
    assert_eq!(dropped(&observe(1000, TIME + 1), Reason::MaxBytes), 1);
    assert_eq!(observe(20, TIME + 2), Observed::default());
    assert!(exposed.samples().contains(&"h_count 21".to_owned()));
}

#[test]
fn bytes_are_given_back_when_series_end() {
    let exposed = Exposed::new(&short());
    let flagged = |flags| {
        points(10, TIME).into_iter().map(|point| NumberDataPoint { flags, ..point }).collect()
    };
    observe(&exposed, "1", flagged(0));
    observe(&exposed, "2", flagged(0));
    observe(&exposed, "1", flagged(1));
    assert_eq!(exposed.streams(), 10);
    observe(&exposed, "2", flagged(1));
    assert_eq!((exposed.streams(), exposed.held_bytes()), (0, 0));
}

/// So ingest waits for no more than a page. With `RUN_SLOW_TESTS=1` it is as many series as a
/// large backend has, and the times are shown.
#[test]
fn a_scrape_holds_the_lock_for_a_page_at_a_time() {
    let slow = std::env::var_os("RUN_SLOW_TESTS").is_some();
    let count = if slow { 100_000 } else { 2000 };
    let exposed = Exposed::new(&short());
    observe(&exposed, "1", points(count, TIME));
    let (mut after, mut rows, mut longest) = (None, 0, Duration::ZERO);
    loop {
        let before = shared::clock::now();
        let page = exposed.collection.lock().unwrap().page(
            "m_total",
            FamilyKind::Counter,
            after.as_ref(),
            exposed.now,
        );
        longest = longest.max(shared::clock::now() - before);
        assert!(page.rows.len() <= 512);
        rows += page.rows.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(rows, usize::try_from(count).unwrap());
    let before = shared::clock::now();
    let size = exposed.bytes("").len();
    let took = shared::clock::now() - before;
    if slow {
        println!("{count} series, {size} bytes in {took:?}, the lock {longest:?} at most");
    }
}
