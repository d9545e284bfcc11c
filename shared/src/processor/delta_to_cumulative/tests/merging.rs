//! Several writers of one stream.

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;

#[test]
fn points_of_two_writers_add_up_however_their_times_overlap() {
    let accumulator = many_writers();
    let (points, tally) = totals(
        &accumulator,
        vec![
            number(100 * MS, 200 * MS, 5),
            number(90 * MS, 190 * MS, 7), // another writer, whose interval began and ended before
            number(200 * MS, 300 * MS, 1),
            number(190 * MS, 290 * MS, 2),
        ],
    );
    assert_eq!(tally, Tally { added: 4, ..Tally::default() });
    let start = 100 * MS;
    assert_eq!(
        points,
        [
            (start, 200 * MS, 5),
            (start, 201 * MS, 12), // a total never shares a millisecond with the one before
            (start, 300 * MS, 13),
            (start, 301 * MS, 15),
        ]
    );
    // What the Collector's rule does to the same points.
    let (points, _) =
        totals(&one_writer(), vec![number(100 * MS, 200 * MS, 5), number(90 * MS, 190 * MS, 7)]);
    assert_eq!(points, [(start, 200 * MS, 5)]);
}

#[test]
fn a_point_that_is_delivered_again_counts_once() {
    let accumulator = many_writers();
    for time in 1..=4 {
        totals(&accumulator, vec![number(0, time, 1)]);
    }
    let again = totals(&accumulator, vec![number(0, 1, 1)]);
    assert_eq!(again, (Vec::new(), dropped(DropReason::Duplicate)));
    // Another value at the same time is another writer's.
    let (points, _) = totals(&accumulator, vec![number(0, 4, 2)]);
    assert_eq!(points.iter().map(|point| point.2).collect::<Vec<_>>(), [6]);
    // Only so many are remembered: the first had to go.
    let (points, _) = totals(&accumulator, vec![number(0, 1, 1)]);
    assert_eq!(points.iter().map(|point| point.2).collect::<Vec<_>>(), [7]);
}

#[test]
fn a_writer_that_ends_its_series_does_not_end_the_stream() {
    let accumulator = many_writers();
    totals(&accumulator, vec![number(0, 10, 5)]);
    let end = otlp::NumberDataPoint { flags: 1, value: None, ..number(10, 20, 0) };
    let ended = totals(&accumulator, vec![end]);
    assert_eq!(ended, (Vec::new(), dropped(DropReason::WriterEnded)));
    let (points, _) = totals(&accumulator, vec![number(0, 20 * MS, 1)]);
    assert_eq!(points, [(0, 20 * MS, 6)]);
}

#[test]
fn nothing_is_remembered_if_nothing_shall_be() {
    let accumulator = accumulator(Order::ManyWriters { duplicate_window: 0 });
    let (points, _) = totals(&accumulator, vec![number(0, 1, 1), number(0, 1, 1)]);
    assert_eq!(points.iter().map(|point| point.2).collect::<Vec<_>>(), [1, 2]);
}

proptest! {
    #[test]
    fn the_last_total_is_the_sum_of_all_writers(
        deltas in proptest::collection::vec((0..4_usize, 1..500 * MS, 1..9_i64), 1..80),
        again in proptest::collection::vec(0..80_usize, 0..8),
    ) {
        let accumulator = accumulator(Order::ManyWriters { duplicate_window: 100 });
        // Each writer's intervals follow each other; the writers know nothing of each other.
        let mut ends = [10 * MS, 20 * MS, 30 * MS, 40 * MS];
        let mut points = Vec::new();
        for (writer, length, value) in &deltas {
            let start = ends[*writer];
            ends[*writer] += length;
            points.push(number(start, ends[*writer], *value));
        }
        let repeated: Vec<_> =
            again.iter().filter_map(|index| points.get(*index).cloned()).collect();
        let expected: i64 = deltas.iter().map(|(_, _, value)| value).sum();
        let sent = points.len() as u64;
        points.extend(repeated.iter().cloned());
        let (totals, tally) = totals(&accumulator, points);
        prop_assert_eq!(tally.added, sent);
        prop_assert_eq!(tally.dropped[DropReason::Duplicate as usize], repeated.len() as u64);
        prop_assert_eq!(totals.last().unwrap().2, expected);
        for pair in totals.windows(2) {
            prop_assert!(pair[0].1 + MS <= pair[1].1, "milliseconds are not shared");
            prop_assert!(pair[0].0 == pair[1].0, "the start is kept");
        }
    }
}
