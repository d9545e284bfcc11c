use rand::{RngExt, SeedableRng};

use super::*;

fn read(log: &Log, id: RunId) -> Vec<u8> {
    log.gather([id].into_iter()).get(0).to_vec()
}

fn run(appended: Appended) -> RunId {
    match appended {
        Appended::Run(id) => id,
        Appended::Extension => panic!("a run of its own was expected"),
    }
}

#[test]
fn neighbours_of_one_trace_and_scope_share_a_run() {
    let mut log = Log::new(100, Compression::None);
    let first = run(log.append(None, 1, b"aa"));
    assert_eq!(log.append(Some(first), 1, b"bb"), Appended::Extension);
    let other_scope = run(log.append(Some(first), 2, b"cc"));
    let other_trace = run(log.append(None, 2, b"dd"));
    let back = run(log.append(Some(other_scope), 2, b"ee"));
    assert_eq!((&*read(&log, first), log.run(first).spans), (&b"aabb"[..], 2));
    assert_eq!(log.run(back).before, Some(other_scope));
    assert_eq!(log.run(other_scope).before, Some(first));
    assert_eq!(log.run(other_trace).before, None);
    assert_eq!(log.spans(), 5);
}

#[test]
fn a_segment_goes_with_its_last_run() {
    let mut log = Log::new(100, Compression::None);
    let runs: Vec<RunId> = (0..40).map(|_| run(log.append(None, 0, &[7; 25]))).collect();
    let full = log.allocated();
    assert!(full >= 1000, "{full}");
    for id in &runs[1..] {
        log.release(*id);
    }
    assert_eq!(read(&log, runs[0]), [7; 25]);
    log.release(runs[0]);
    for _ in 0..3 * TRIMS {
        log.trim();
    }
    assert_eq!((log.spans(), log.allocated(), log.spare.len()), (0, 0, 0));
}

#[test]
fn a_giant_gets_a_segment_of_its_own() {
    let mut log = Log::new(100, Compression::None);
    let small = run(log.append(None, 0, b"small"));
    let giant = run(log.append(None, 0, &[1; 1000]));
    let next = run(log.append(None, 0, b"next"));
    assert_eq!(small.segment, next.segment);
    assert_eq!(read(&log, giant), [1; 1000]);
    log.release(giant);
    assert!(log.allocated() < 200);
}

#[test]
fn spare_segments_in_use_are_kept() {
    let mut log = Log::new(100, Compression::None);
    for _ in 0..50 {
        let runs: Vec<RunId> = (0..8).map(|_| run(log.append(None, 0, &[7; 25]))).collect();
        for id in runs {
            log.release(id);
        }
    }
    assert!(log.spare.len() <= 2);
}

#[test]
fn buffers_are_kept_as_they_are_needed_and_given_back_when_they_are_not() {
    let mut log = Log::new(100, Compression::None);
    let burst = |log: &mut Log| {
        let runs: Vec<RunId> = (0..80).map(|_| run(log.append(None, 0, &[7; 25]))).collect();
        for id in runs {
            log.release(id);
        }
    };
    burst(&mut log);
    let spare = log.spare.len();
    assert!(spare >= 18, "{spare} of 20");
    for _ in 0..3 * TRIMS {
        burst(&mut log);
        assert!(log.spare.len() >= spare, "none is made anew");
        log.trim();
    }
    // A load that swings needs them again after a while without.
    for trims in [TRIMS, 2 * TRIMS - 1] {
        (0..trims).for_each(|_| log.trim());
        assert!(log.spare.len() >= spare, "none was given back after {trims}");
        burst(&mut log);
    }
    for _ in 0..3 * TRIMS {
        log.trim();
    }
    assert_eq!(log.allocated(), 0);
}

/// Runs of all lengths, each with the bytes it should have.
fn random_runs(log: &mut Log, random: &mut impl RngExt, count: usize) -> Vec<(RunId, Vec<u8>)> {
    (0..count)
        .map(|number| {
            let length = random.random_range(1..400);
            let bytes: Vec<u8> =
                (0..length).map(|place| u8::try_from(place * number % 251).unwrap()).collect();
            (run(log.append(None, 0, &bytes)), bytes)
        })
        .collect()
}

#[test]
fn sealing_and_packing_change_no_run_whenever_others_are_let_go() {
    let mut random = rand::rngs::StdRng::seed_from_u64(5);
    for compression in [Compression::None, Compression::Lz4] {
        let mut log = Log::new(2000, compression);
        let mut runs = Vec::new();
        for _ in 0..300 {
            runs.extend(random_runs(&mut log, &mut random, 20));
            for _ in 0..random.random_range(0..25) {
                let (id, _) = runs.swap_remove(random.random_range(0..runs.len()));
                match random.random_bool(0.5) {
                    true => log.release_early(id),
                    false => log.release(id),
                }
            }
            log.upkeep(random.random_range(0..6000));
            let some: Vec<usize> = (0..10).map(|_| random.random_range(0..runs.len())).collect();
            let gathered = log.gather(some.iter().map(|place| runs[*place].0));
            for (index, place) in some.iter().enumerate() {
                assert_eq!(gathered.get(index), runs[*place].1);
            }
        }
        while log.backlog() > 0 {
            log.upkeep(1000);
        }
        let (ids, expected): (Vec<RunId>, Vec<Vec<u8>>) = runs.into_iter().unzip();
        let gathered = log.gather(ids.iter().copied());
        for (index, bytes) in expected.iter().enumerate() {
            assert_eq!(gathered.get(index), bytes);
        }
        let is_plain = |segment: &&mut Segment| matches!(segment.text, Text::Plain(_));
        let plain = log.segments.values_mut().filter(is_plain).count();
        match compression {
            Compression::None => assert!(plain > 100),
            Compression::Lz4 => assert!(plain <= 1, "the one that is written to"),
        }
        for id in ids {
            log.release(id);
        }
        for _ in 0..=3 * TRIMS {
            log.trim();
        }
        assert_eq!((log.spans(), log.allocated()), (0, 0));
    }
}

#[test]
fn what_is_let_go_early_is_not_held_until_its_segment_empties() {
    let mut log = Log::new(10_000, Compression::None);
    let runs: Vec<RunId> = (0..1000).map(|_| run(log.append(None, 0, &[7; 500]))).collect();
    let before = log.allocated();
    for id in runs.iter().enumerate().filter(|(number, _)| number % 10 != 0).map(|(_, id)| *id) {
        log.release_early(id);
    }
    while log.backlog() > 0 {
        log.upkeep(10_000);
    }
    log.drop_spare(0);
    assert!(log.allocated() < before / 5, "{} of {before}", log.allocated());
    assert_eq!(read(&log, runs[990]), [7; 500]);
}
