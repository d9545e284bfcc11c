use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};

use super::segment::{MAX_RUNS, MAX_SCOPES};
use super::spares::TRIMS;
use super::*;

fn read(log: &Log, last: StretchId) -> Vec<u8> {
    let mut runs: Vec<RunId> = log.chain(Some(last)).collect();
    runs.reverse();
    let gathered = log.gather(runs.iter().copied());
    (0..runs.len()).flat_map(|index| gathered.get(index).to_vec()).collect()
}

fn begun(appended: Appended) -> StretchId {
    match appended {
        Appended::Run(id) => id,
        Appended::Extension => panic!("a run of its own was expected"),
    }
}

/// So many traces of 25 bytes, each.
fn fill(log: &mut Log, traces: usize) -> Vec<StretchId> {
    (0..traces).map(|_| begun(log.append(None, 0, &[7; 25]))).collect()
}

#[test]
fn neighbours_of_one_trace_and_scope_share_a_run() {
    let mut log = Log::new(100, Compression::None);
    let one = begun(log.append(None, 1, b"aa"));
    assert_eq!(log.append(Some(one), 1, b"bb"), Appended::Extension);
    assert_eq!(log.append(Some(one), 2, b"cc"), Appended::Run(one));
    let other = begun(log.append(None, 2, b"dd"));
    assert_eq!(log.append(Some(one), 2, b"ee"), Appended::Run(one), "another trace is between");
    let runs: Vec<RunView> = log.chain(Some(one)).map(|id| log.run(id)).collect();
    let seen: Vec<_> = runs.iter().map(|run| (run.scope, run.spans, run.length)).collect();
    assert_eq!(seen, [(2, 1, 2), (2, 1, 2), (1, 2, 4)]);
    assert_eq!((&*read(&log, one), &*read(&log, other)), (&b"aabbccee"[..], &b"dd"[..]));
    assert_eq!(log.spans(), 5);
}

#[test]
fn a_trace_is_a_stretch_in_each_segment() {
    let mut log = Log::new(100, Compression::None);
    let (mut lasts, mut expected) = ([None; 2], [const { Vec::new() }; 2]);
    for number in 0..40_u8 {
        // No scope comes twice in a row, so each span is a run.
        for (last, expected) in lasts.iter_mut().zip(&mut expected) {
            *last = Some(begun(log.append(*last, number.into(), &[number; 10])));
            expected.extend([number; 10]);
        }
    }
    for (last, expected) in lasts.iter().zip(&expected) {
        assert_eq!(read(&log, last.unwrap()), *expected);
        let stretches = std::iter::successors(*last, |id| log.before(*id)).count();
        assert_eq!(stretches, 8, "ten spans in a segment, of two traces");
    }
    // One goes, stretch by stretch; the other stays whole.
    let [one, other] = lasts;
    let stretches: Vec<_> = std::iter::successors(one, |id| log.before(*id)).collect();
    let spans: Vec<usize> = stretches.into_iter().map(|id| log.release(id)).collect();
    assert_eq!(spans, [5; 8]);
    assert_eq!((read(&log, other.unwrap()), log.spans()), (expected[1].clone(), 40));
}

#[test]
fn a_segment_goes_with_its_last_span() {
    let mut log = Log::new(100, Compression::None);
    let traces = fill(&mut log, 40);
    let full = log.allocated();
    assert!(full >= 1000, "{full}");
    for (number, id) in traces[1..].iter().enumerate() {
        match number % 2 {
            0 => assert_eq!(log.release(*id), 1),
            _ => let_go(&mut log, *id, 2),
        }
    }
    assert_eq!((read(&log, traces[0]), log.spans()), (vec![7; 25], 1));
    log.release(traces[0]);
    for _ in 0..3 * TRIMS {
        log.trim();
    }
    assert_eq!((log.spans(), log.allocated(), log.spares.len()), (0, 0, 0));
}

#[test]
fn scopes_are_let_go_with_their_segment_as_often_as_noted() {
    let mut log = Log::new(100, Compression::None);
    let freed = |log: &mut Log| {
        let mut freed: Vec<u32> = std::iter::from_fn(|| log.take_freed_scope()).collect();
        freed.sort_unstable();
        freed
    };
    let add = |log: &mut Log, scope: u32, length: usize| {
        let stretch = begun(log.append(None, scope, &vec![1; length]));
        log.note_scope(stretch, scope, |_| Some(0));
        stretch
    };
    let first: Vec<_> = [1, 2, 1, 3].map(|scope| add(&mut log, scope, 25)).into();
    let giant = add(&mut log, 4, 1000);
    let current = [1, 5].map(|scope| add(&mut log, scope, 20));
    for id in &first[1..] {
        log.release(*id);
    }
    assert!(freed(&mut log).is_empty());
    log.release(first[0]);
    assert_eq!(freed(&mut log), [1, 1, 2, 3]);
    log.release(giant);
    assert_eq!(freed(&mut log), [4]);
    let mut serials = Vec::new();
    log.note_scope(current[0], 1, |serial| {
        serials.push(serial);
        None
    });
    for id in current {
        log.release(id);
    }
    assert_eq!(freed(&mut log), [1, 5], "one that is written to is begun anew");
    let next = add(&mut log, 6, 20);
    log.note_scope(next, 6, |serial| {
        serials.push(serial);
        None
    });
    assert_ne!(serials[0], serials[1]);
}

#[test]
fn a_giant_gets_a_segment_of_its_own() {
    let mut log = Log::new(100, Compression::None);
    let small = begun(log.append(None, 0, b"small"));
    let giant = begun(log.append(None, 0, &[1; 1000]));
    let next = begun(log.append(None, 0, b"next"));
    assert_eq!(small.segment, next.segment);
    assert_eq!(read(&log, giant), [1; 1000]);
    log.release(giant);
    assert_eq!(log.allocated(), 100, "the segment that is written to");
}

#[test]
fn spare_segments_in_use_are_kept() {
    let mut log = Log::new(100, Compression::None);
    for _ in 0..50 {
        for id in fill(&mut log, 8) {
            log.release(id);
        }
    }
    assert!(log.spares.len() <= 2);
}

#[test]
fn buffers_are_kept_as_they_are_needed_and_given_back_when_they_are_not() {
    let mut log = Log::new(100, Compression::None);
    let burst = |log: &mut Log| {
        for id in fill(log, 80) {
            log.release(id);
        }
    };
    burst(&mut log);
    let spare = log.spares.len();
    assert!(spare >= 18, "{spare} of 20");
    for _ in 0..3 * TRIMS {
        burst(&mut log);
        assert!(log.spares.len() >= spare, "none is made anew");
        log.trim();
    }
    // A load that swings needs them again after a while without.
    for trims in [TRIMS, 2 * TRIMS - 1] {
        (0..trims).for_each(|_| log.trim());
        assert!(log.spares.len() >= spare, "none was given back after {trims}");
        burst(&mut log);
    }
    for _ in 0..3 * TRIMS {
        log.trim();
    }
    assert_eq!(log.allocated(), 0);
}

/// How often segments hold each scope, by what they say.
#[derive(Default)]
struct Held(BTreeMap<u32, usize>);

impl Held {
    /// Has the segment of a stretch note a scope that a run of it is under, at times needlessly.
    fn note(&mut self, log: &mut Log, stretch: StretchId, scope: u32, needlessly: bool) {
        let is_noted = log.segments[stretch.segment].scopes.contains(&scope);
        if !is_noted || needlessly {
            log.note_scope(stretch, scope, |_| Some(0));
            *self.0.entry(scope).or_default() += 1;
        }
    }

    /// What is let go was held, and what live runs are under is held.
    fn check(&mut self, log: &mut Log) {
        while let Some(scope) = log.take_freed_scope() {
            *self.0.get_mut(&scope).unwrap() -= 1;
        }
        let mut held: BTreeMap<u32, usize> = BTreeMap::new();
        for segment in log.segments.values_mut() {
            for run in segment.runs.iter().filter(|run| run.spans > 0 && segment.live_spans > 0) {
                assert!(segment.scopes.contains(&run.scope));
            }
            for scope in &segment.scopes {
                *held.entry(*scope).or_default() += 1;
            }
        }
        self.0.retain(|_, count| *count > 0);
        assert_eq!(self.0, held);
    }
}

/// Traces of some spans of all lengths, each with the bytes it should have.
fn random_traces(
    log: &mut Log,
    held: &mut Held,
    random: &mut impl RngExt,
    count: usize,
) -> Vec<(StretchId, Vec<u8>)> {
    let mut traces = vec![(None, Vec::new()); count];
    for number in 0..2 * count {
        // Each has at least one.
        let place = if number < count { number } else { random.random_range(0..count) };
        // From 500 on, a segment by itself.
        let longest = if random.random_bool(0.1) { 900 } else { 400 };
        let length = random.random_range(1..longest);
        let bytes: Vec<u8> =
            (0..length).map(|place| u8::try_from(place * number % 251).unwrap()).collect();
        let (last, all) = &mut traces[place];
        let scope = random.random_range(0..9);
        if let Appended::Run(stretch) = log.append(*last, scope, &bytes) {
            *last = Some(stretch);
            held.note(log, stretch, scope, random.random_bool(0.1));
        }
        all.extend(bytes);
    }
    traces.into_iter().map(|(last, bytes)| (last.unwrap(), bytes)).collect()
}

/// Lets go of a trace in one of three ways.
fn let_go(log: &mut Log, last: StretchId, way: u32) {
    let stretches: Vec<_> = std::iter::successors(Some(last), |id| log.before(*id)).collect();
    for id in stretches {
        match way {
            0 => {
                log.release_early(id);
            }
            1 => {
                log.release(id);
            }
            _ => {
                let runs: Vec<RunId> = log.runs(id).collect();
                for run in runs {
                    log.release_run(run);
                }
            }
        }
    }
}

#[test]
fn sealing_and_packing_change_no_trace_whenever_others_are_let_go() {
    let mut random = rand::rngs::StdRng::seed_from_u64(5);
    for compression in [Compression::None, Compression::Lz4] {
        let (mut log, mut held) = (Log::new(2000, compression), Held::default());
        let mut traces = Vec::new();
        for _ in 0..300 {
            traces.extend(random_traces(&mut log, &mut held, &mut random, 20));
            for _ in 0..random.random_range(0..25).min(traces.len() - 1) {
                let (last, _) = traces.swap_remove(random.random_range(0..traces.len()));
                let_go(&mut log, last, random.random_range(0..3));
            }
            log.upkeep(random.random_range(0..12_000));
            held.check(&mut log);
            for _ in 0..10 {
                let (last, bytes) = &traces[random.random_range(0..traces.len())];
                assert_eq!(read(&log, *last), *bytes);
            }
        }
        while log.backlog() > 0 {
            log.upkeep(1000);
        }
        for (last, bytes) in &traces {
            assert_eq!(read(&log, *last), *bytes);
        }
        let is_plain = |segment: &&mut Segment| matches!(segment.text, Text::Plain(_));
        let plain = log.segments.values_mut().filter(is_plain).count();
        match compression {
            Compression::None => assert!(plain > 100),
            Compression::Lz4 => assert!(plain <= 1, "the one that is written to"),
        }
        for (last, _) in traces {
            let way = random.random_range(0..3);
            let_go(&mut log, last, way);
        }
        held.check(&mut log);
        for _ in 0..=3 * TRIMS {
            log.trim();
        }
        assert_eq!((log.spans(), log.allocated(), held.0.len()), (0, 0, 0));
    }
}

#[test]
fn what_is_let_go_early_is_not_held_until_its_segment_empties() {
    let mut log = Log::new(10_000, Compression::None);
    let traces: Vec<_> = (0..1000).map(|_| begun(log.append(None, 0, &[7; 500]))).collect();
    let before = log.allocated();
    for (number, id) in traces.iter().enumerate().filter(|(number, _)| number % 10 != 0) {
        // What was let go in its turn is packed too, once something is early.
        match number % 2 {
            0 => log.release(*id),
            _ => log.release_early(*id),
        };
    }
    while log.backlog() > 0 {
        log.upkeep(10_000);
    }
    log.drop_spares();
    assert!(log.allocated() < before / 5, "{} of {before}", log.allocated());
    assert_eq!(read(&log, traces[990]), [7; 500]);
}

#[test]
fn what_a_segment_holds_besides_spans_is_bounded() {
    let segments_of = |traces: usize, hold: fn(u32) -> Option<usize>| {
        let mut log = Log::new(1 << 20, Compression::None);
        for number in 0..u32::try_from(traces).unwrap() {
            let stretch = begun(log.append(None, number, b"tiny"));
            log.note_scope(stretch, number, |_| hold(number));
        }
        let full = log.segments.values_mut().filter(|one| one.runs.len() > 1).count();
        (full, log.allocated())
    };
    assert_eq!(segments_of(3 * MAX_RUNS, |_| None).0, 3);
    assert_eq!(segments_of(3 * MAX_SCOPES, |_| Some(0)).0, 3);
    let (segments, allocated) = segments_of(96, |_| Some(32 << 10));
    assert_eq!(segments, 3);
    assert!(allocated < (1 << 20) + 10_000, "{allocated}: two gave back what was not needed");
}

#[test]
fn packing_lets_go_of_scopes_too() {
    let mut log = Log::new(10_000, Compression::None);
    let traces: Vec<StretchId> = (0..25)
        .map(|number| {
            let stretch = begun(log.append(None, number % 24, &[7; 500]));
            log.note_scope(stretch, number % 24, |_| Some(0));
            stretch
        })
        .collect();
    // Of the first segment the last is left.
    traces[..19].iter().for_each(|id| {
        log.release_early(*id);
    });
    log.upkeep(10_000);
    let mut freed: Vec<u32> = std::iter::from_fn(|| log.take_freed_scope()).collect();
    freed.sort_unstable();
    assert!(freed.into_iter().eq(0..19));
    assert_eq!(read(&log, traces[19]), [7; 500]);
}

#[test]
fn what_is_let_go_while_its_segment_is_packed_has_it_packed_again() {
    let mut log = Log::new(10_000, Compression::None);
    let traces: Vec<_> = (0..20).map(|_| begun(log.append(None, 0, &[7; 500]))).collect();
    log.append(None, 0, &[7; 500]);
    for id in &traces[..11] {
        log.release_early(*id);
    }
    log.upkeep(1000);
    assert!(log.rewriting.is_some());
    for id in &traces[11..19] {
        log.release_early(*id);
    }
    while log.rewriting.is_some() {
        log.upkeep(500);
    }
    assert_eq!(log.backlog(), 1, "it is hollow again");
    log.upkeep(10_000);
    log.drop_spares();
    assert_eq!(log.backlog(), 0);
    assert_eq!(read(&log, traces[19]), [7; 500]);
    assert!(log.allocated() < 10_000 + 3000, "{}: little but the other segment", log.allocated());
}

#[test]
fn what_was_let_go_before_its_segment_was_full_is_packed_then() {
    let mut log = Log::new(10_000, Compression::None);
    for number in 0..20 {
        let stretch = begun(log.append(None, 0, &[7; 500]));
        if number % 5 > 0 {
            log.release_early(stretch);
        }
    }
    assert_eq!(log.backlog(), 0);
    log.append(None, 0, &[7; 500]);
    assert_eq!(log.backlog(), 1);
    log.upkeep(10_000);
    log.drop_spares();
    assert!(log.allocated() < 10_000 + 3000, "{}", log.allocated());
}
