use super::super::deadlines::Cause;
use super::super::inscription::RecordPolicy;
use super::super::policy::Decision;
use super::super::policy::testing::policies;
use super::super::sighting::show_again;
use super::super::testing::{TestSpan, batch, read, trace_id};
use super::*;

const ERRORS: &str = "{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}";
const ALL: &str = "{name: all, type: always_sample}";
const WAIT: Duration = Duration::from_secs(10);

pub(in crate::tail_sampling) fn settings() -> Settings {
    Settings {
        decision_wait: WAIT,
        wait_after_root: None,
        wait_after_idle: None,
        decision_after_spans: 0,
        decision_after_bytes: 0,
        max_trace_bytes: u64::MAX,
        num_traces: 1000,
        max_bytes: usize::MAX,
        sampled_cache: 1000,
        not_sampled_cache: 1000,
        dry_run: false,
        early_release: false,
        by_piece: false,
        compression: Compression::None,
        block_on_overflow: false,
        segment_bytes: 4096,
        inscription: Inscription::NOTHING,
        request: RequestSize { spans: 100, bytes: 10_000, max_bytes: 20_000 },
    }
}

/// A shard and its clock.
struct Bench {
    shard: Shard,
    now: Instant,
}

impl Bench {
    fn new(policy: &str, settings: Settings) -> Self {
        let now = clock();
        Self { shard: Shard::new(settings, Arc::new(policies(&[policy])), 1, now), now }
    }

    fn admit(&mut self, spans: &[TestSpan]) {
        self.shard.admit(&batch(spans), self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// How many traces were judged for each cause.
    fn causes(&mut self) -> Vec<(Cause, u64)> {
        let tally = self.shard.take_tally();
        Cause::ALL.into_iter().zip(tally.causes).filter(|(_, count)| *count > 0).collect()
    }

    /// Judges all that is due and takes everything out: the numbers of the spans, in order.
    #[track_caller]
    fn forwarded(&mut self) -> Vec<u64> {
        let mut numbers = Vec::new();
        loop {
            let judged = self.shard.judge(self.now, 16, clock);
            while let Some(batch) = self.shard.take(Take::Any) {
                numbers.extend(read(&batch).0.iter().map(|span| span.number));
            }
            if judged == 0 {
                return numbers;
            }
        }
    }
}

fn clock() -> Instant {
    shared::clock::now()
}

fn failed(trace: u64, number: u64) -> TestSpan {
    TestSpan { error: true, ..TestSpan::new(trace, number) }
}

#[test]
fn a_trace_waits_from_its_first_span_and_is_judged_whole() {
    let mut bench = Bench::new(ERRORS, settings());
    bench.admit(&[TestSpan::new(1, 1), TestSpan::new(2, 2)]);
    bench.pass(WAIT / 2);
    bench.admit(&[TestSpan::new(1, 3), failed(1, 4)]);
    bench.pass((WAIT / 2).saturating_sub(Duration::from_nanos(1)));
    assert!(bench.forwarded().is_empty());
    assert_eq!(bench.shard.held().spans, 4);
    bench.pass(Duration::from_nanos(1));
    assert_eq!(bench.forwarded(), [1, 3, 4]);
    assert_eq!((bench.shard.held().spans, bench.shard.held().traces), (0, 0));
    let tally = bench.shard.take_tally();
    assert_eq!(tally.decisions, [1, 1, 0]);
    assert_eq!((tally.received_spans, tally.sampled_out_spans, tally.new_traces), (4, 1, 2));
    assert_eq!(tally.removal_ages.iter().collect::<Vec<_>>(), [(10, 2)]);
}

#[test]
fn late_spans_follow_the_verdict() {
    let mut bench = Bench::new(ERRORS, settings());
    bench.admit(&[failed(1, 1), TestSpan::new(2, 2)]);
    bench.pass(WAIT);
    assert_eq!(bench.forwarded(), [1]);
    bench.pass(Duration::from_secs(3));
    bench.admit(&[TestSpan::new(1, 3), TestSpan::new(1, 4), failed(2, 5)]);
    assert_eq!(bench.forwarded(), [3, 4]);
    let tally = bench.shard.take_tally();
    assert_eq!((tally.forwarded_late_spans, tally.sampled_out_late_spans), (2, 1));
    assert_eq!(tally.late_ages.iter().collect::<Vec<_>>(), [(3, 2)], "once a piece");
    assert_eq!((tally.new_traces, bench.shard.held().spans), (2, 0));
}

#[test]
fn late_spans_say_who_kept_their_trace_and_that_it_was_remembered() {
    let inscription = Inscription { policy: RecordPolicy::Span, threshold: true };
    let settings = Settings { inscription, early_release: true, ..settings() };
    let mut bench = Bench::new(ERRORS, settings);
    let told = |bench: &mut Bench| -> Vec<String> {
        while bench.shard.judge(bench.now, 16, clock) > 0 {}
        let Some(batch) = bench.shard.take(Take::Any) else { return Vec::new() };
        let entries = shared::wire::resources(batch.bytes());
        let scopes = entries.flat_map(shared::wire::ResourceEntry::scopes);
        let spans =
            scopes.flat_map(shared::wire::ScopeEntry::records).map(shared::wire::Span::read);
        let texts = spans.map(|span| {
            let policy = span.attribute(b"tailsampling.policy");
            let remembered = span.attribute(b"tailsampling.cached_decision").is_some();
            let state = std::str::from_utf8(span.trace_state).unwrap();
            let is_ours = policy == Some(shared::wire::AnyValue::String(b"errors"));
            format!("{state} {is_ours} {remembered}")
        });
        texts.collect()
    };
    bench.admit(&[failed(1, 1)]);
    assert_eq!(told(&mut bench), [""; 0], "what is to be written down does not leave early");
    bench.pass(WAIT);
    assert_eq!(told(&mut bench), ["ot=th:0 true false"]);
    bench.admit(&[TestSpan::new(1, 2)]);
    assert_eq!(told(&mut bench), ["ot=th:0 true true"]);
}

#[test]
fn changed_waits_hold_for_traces_that_wait_already() {
    let second = Duration::from_secs(1);
    let waits = |root: u32, idle: u32, decision_wait: Duration| Settings {
        wait_after_root: Some(root * second),
        wait_after_idle: Some(idle * second),
        decision_wait,
        ..settings()
    };
    let mut bench = Bench::new(ALL, waits(6, 7, WAIT));
    let change = |bench: &mut Bench, settings: Settings| {
        bench.shard.change(Arc::new(policies(&[ALL])), settings);
    };
    let root = TestSpan { root: true, ..TestSpan::new(1, 1) };
    bench.admit(&[root, TestSpan::new(2, 2), TestSpan::new(3, 3)]);
    bench.pass(second);
    change(&mut bench, waits(2, 3, WAIT));
    bench.admit(&[TestSpan::new(3, 4)]);
    assert!(bench.forwarded().is_empty());
    bench.pass(second + Duration::from_millis(20));
    assert_eq!(bench.forwarded(), [1], "two seconds after its root");
    bench.pass(second);
    assert_eq!(bench.forwarded(), [2], "three seconds after its last span");
    change(&mut bench, waits(2, 3, 2 * second));
    assert_eq!(bench.forwarded(), [3, 4], "the wait of all is over");
}

#[test]
fn without_a_cache_a_late_span_begins_a_trace() {
    let off = Settings { sampled_cache: 0, not_sampled_cache: 0, ..settings() };
    let mut bench = Bench::new(ERRORS, off);
    bench.admit(&[failed(1, 1)]);
    bench.pass(WAIT);
    assert_eq!(bench.forwarded(), [1]);
    bench.admit(&[TestSpan::new(1, 2)]);
    assert_eq!(bench.shard.held().traces, 1);
}

#[test]
fn the_oldest_trace_is_judged_early_when_there_are_too_many() {
    let mut bench = Bench::new(ALL, Settings { num_traces: 2, ..settings() });
    bench.admit(&[1, 2, 3, 4, 1].map(|trace| TestSpan::new(trace, trace)));
    assert!(bench.shard.is_over_limit());
    assert_eq!(bench.forwarded(), [1, 1, 2]);
    assert_eq!(bench.shard.held().traces, 2);
    assert_eq!(bench.causes(), [(Cause::NumTraces, 2)]);
}

#[test]
fn the_oldest_traces_are_judged_early_when_they_take_too_much_room() {
    let limit = 200_000;
    let mut bench = Bench::new(ALL, Settings { max_bytes: limit, ..settings() });
    let mut forwarded = 0;
    for number in 1..=1000 {
        bench.admit(&[TestSpan { padding: 900, ..TestSpan::new(number, number) }]);
        forwarded += bench.forwarded().len();
        assert!(bench.shard.held().bytes <= limit, "{:?}", bench.shard.held());
    }
    assert_eq!(bench.causes(), [(Cause::Bytes, forwarded as u64)]);
    assert!((700..900).contains(&forwarded), "{forwarded} of 1000 spans of 1 kB left early");
    assert_eq!(bench.shard.held().spans, 1000 - forwarded);
}

#[test]
fn a_root_may_bring_the_decision_forward_but_never_back() {
    let wait_after_root = Some(Duration::from_secs(2));
    let mut bench = Bench::new(ALL, Settings { wait_after_root, ..settings() });
    bench.admit(&[TestSpan::new(1, 1), TestSpan::new(2, 2), TestSpan::new(3, 3)]);
    bench.pass(Duration::from_secs(1));
    bench.admit(&[TestSpan { root: true, ..TestSpan::new(2, 4) }]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.forwarded(), [2, 4]);
    bench.pass(Duration::from_millis(6500));
    bench.admit(&[TestSpan { root: true, ..TestSpan::new(1, 5) }]);
    bench.pass(Duration::from_millis(500));
    assert_eq!(bench.forwarded(), [1, 5, 3]);
    bench.pass(WAIT);
    assert!(bench.forwarded().is_empty());
    assert_eq!(bench.causes(), [(Cause::Wait, 2), (Cause::Root, 1)]);
}

#[test]
fn a_trace_is_judged_when_nothing_more_comes() {
    let wait_after_idle = Some(Duration::from_secs(3));
    let mut bench = Bench::new(ALL, Settings { wait_after_idle, ..settings() });
    bench.admit(&[TestSpan::new(1, 1), TestSpan::new(2, 2)]);
    bench.pass(Duration::from_secs(2));
    bench.admit(&[TestSpan::new(2, 3)]);
    bench.pass(Duration::from_millis(990));
    assert!(bench.forwarded().is_empty());
    bench.pass(Duration::from_millis(10));
    assert_eq!(bench.forwarded(), [1]);
    bench.pass(Duration::from_millis(1995));
    assert!(bench.forwarded().is_empty());
    bench.pass(Duration::from_millis(5));
    assert_eq!(bench.forwarded(), [2, 3]);
    assert_eq!(bench.causes(), [(Cause::Idle, 2)]);
    // One that is never idle is judged when its wait is over.
    for number in 10..15 {
        bench.admit(&[TestSpan::new(3, number)]);
        bench.pass(WAIT / 5);
        bench.shard.trim();
    }
    assert_eq!(bench.forwarded(), [10, 11, 12, 13, 14]);
    assert_eq!(bench.causes(), [(Cause::Wait, 1)]);
}

#[test]
fn a_large_trace_is_judged_at_once_and_its_later_spans_follow() {
    for limit in [
        Settings { decision_after_spans: 3, ..settings() },
        Settings { decision_after_bytes: 200, ..settings() },
    ] {
        let mut bench = Bench::new(ERRORS, limit);
        bench.admit(&[failed(1, 1), TestSpan::new(2, 2), TestSpan::new(1, 3)]);
        assert!(!bench.shard.is_over_limit());
        bench.admit(&[TestSpan::new(1, 4)]);
        assert!(bench.shard.is_over_limit());
        assert_eq!(bench.forwarded(), [1, 3, 4]);
        bench.admit(&[TestSpan::new(1, 5)]);
        assert_eq!((bench.forwarded(), bench.shard.held().traces), (vec![5], 1));
        assert_eq!(bench.causes(), [(Cause::Size, 1)]);
    }
}

#[test]
fn a_trace_that_is_too_large_is_not_kept() {
    let mut bench = Bench::new(ALL, Settings { max_trace_bytes: 200, ..settings() });
    bench.admit(&[TestSpan::new(1, 1), TestSpan::new(2, 2), TestSpan::new(1, 3)]);
    assert!(bench.forwarded().is_empty());
    bench.admit(&[TestSpan::new(1, 4), TestSpan::new(1, 5)]);
    assert!(bench.forwarded().is_empty());
    bench.admit(&[TestSpan::new(1, 6)]);
    bench.pass(WAIT);
    assert_eq!(bench.forwarded(), [2]);
    let tally = &bench.shard.tally;
    assert_eq!((tally.too_large_spans, tally.sampled_out_late_spans), (4, 1));
    assert_eq!(tally.decisions, [1, 0, 0], "as in the Collector it is not among the decisions");
    assert_eq!(bench.causes(), [(Cause::Wait, 1), (Cause::TooLarge, 1)]);
}

#[test]
fn spans_without_a_trace_id_are_judged_at_once_each_by_itself() {
    let mut bench = Bench::new(ERRORS, settings());
    bench.admit(&[failed(0, 1), TestSpan::new(0, 2), failed(0, 3), TestSpan::new(7, 4)]);
    assert_eq!(bench.forwarded(), [1, 3]);
    let tally = bench.shard.take_tally();
    assert_eq!((tally.spans_without_trace_id, tally.sampled_out_spans), (3, 1));
    assert_eq!((tally.new_traces, bench.shard.held().traces), (1, 1));
}

#[test]
fn a_stop_judges_what_is_there() {
    let mut bench = Bench::new(ERRORS, settings());
    bench.admit(&[failed(1, 1), TestSpan::new(2, 2)]);
    bench.shard.close();
    assert_eq!(bench.forwarded(), [1]);
    assert_eq!(bench.shard.tally.sampled_out_spans, 1);
    assert_eq!(bench.causes(), [(Cause::Shutdown, 2)]);
    assert_eq!(bench.shard.held().spans, 0);
}

#[test]
fn a_stop_may_throw_away_what_waits() {
    let mut bench = Bench::new(ERRORS, settings());
    bench.admit(&[failed(1, 1), TestSpan::new(2, 2)]);
    bench.shard.discard();
    bench.shard.close();
    assert!(bench.forwarded().is_empty());
    assert_eq!(bench.shard.take_tally().discarded_spans, 2);
    assert_eq!(bench.shard.held().spans, 0);
}

#[test]
fn requests_join_traces_by_resource_and_keep_to_a_size() {
    let mut bench = Bench::new(ALL, settings());
    for number in 0..250 {
        bench.admit(&[TestSpan { service: number % 3, ..TestSpan::new(number + 1, number) }]);
    }
    bench.pass(WAIT);
    while bench.shard.judge(bench.now, 64, clock) > 0 {}
    let mut sizes = Vec::new();
    while let Some(batch) = bench.shard.take(Take::Full) {
        let (spans, entries) = read(&batch);
        sizes.push((spans.len(), entries));
    }
    assert_eq!(sizes, [(100, 3), (100, 3)]);
    assert_eq!(bench.shard.take(Take::Any).map(|batch| batch.items()), Some(50));
    assert_eq!(bench.shard.take(Take::Any), None);
}

#[test]
fn a_trace_larger_than_a_request_is_split() {
    let mut bench = Bench::new(ALL, settings());
    let spans: Vec<TestSpan> =
        (0..40).map(|number| TestSpan { padding: 900, ..TestSpan::new(1, number) }).collect();
    for span in &spans {
        bench.admit(&[*span]);
        bench.admit(&[TestSpan::new(2, 100 + span.number)]);
    }
    bench.pass(WAIT);
    bench.shard.judge(bench.now, 64, clock);
    let mut received = Vec::new();
    while let Some(batch) = bench.shard.take(Take::Any) {
        assert!(batch.bytes().len() < 14_000, "{} bytes", batch.bytes().len());
        received.extend(read(&batch).0);
    }
    received.retain(|span| span.trace == 1);
    assert_eq!(received, spans, "in their order");
}

#[test]
fn memory_is_given_back_after_a_burst() {
    let mut bench = Bench::new(ALL, Settings { num_traces: 100_000, ..settings() });
    let idle = bench.shard.held().bytes;
    for number in 0..20_000 {
        bench.admit(&[TestSpan { service: number % 500, ..TestSpan::new(number + 1, number) }]);
    }
    assert!(bench.shard.held().bytes > 2_000_000);
    bench.pass(WAIT);
    assert_eq!(bench.forwarded().len(), 20_000);
    (0..12).for_each(|_| bench.shard.trim());
    let held = bench.shard.held().bytes;
    assert!(held <= idle + 32 * 1024, "{held} bytes are still held, {idle} were at first");
}

#[test]
fn new_policies_judge_what_waits() {
    let mut bench = Bench::new(ERRORS, settings());
    bench.admit(&[
        TestSpan { service: 3, ..TestSpan::new(1, 1) },
        failed(2, 2),
        TestSpan { service: 3, ..TestSpan::new(3, 3) },
        TestSpan::new(4, 4),
    ]);
    let tally = bench.shard.set_policies(Arc::new(policies(&[
        "{name: s3, type: string_attribute, string_attribute: {key: service.name, values: [s3]}}",
        "{name: long, type: latency, latency: {threshold_ms: 1000}}",
    ])));
    assert_eq!((tally.received_spans, tally.policies.len()), (4, 1));
    // One that hears of it by its next span, which is not under the resource that counts.
    bench.admit(&[TestSpan::new(3, 5), TestSpan { service: 3, ..TestSpan::new(5, 6) }]);
    bench.pass(WAIT);
    let mut forwarded = bench.forwarded();
    forwarded.sort_unstable();
    assert_eq!(forwarded, [1, 3, 5, 6]);
    let tally = bench.shard.take_tally();
    assert_eq!((tally.received_spans, tally.decisions), (2, [3, 2, 0]));
    assert_eq!(tally.policies[0].votes.map(|amount| amount.traces), [3, 2, 0]);
    // What was decided stands.
    bench.shard.set_policies(Arc::new(policies(&[ALL])));
    bench.admit(&[TestSpan::new(2, 7), TestSpan::new(1, 8)]);
    assert_eq!(bench.forwarded(), [8]);
}

#[test]
fn showing_a_trace_again_leaves_what_its_arrival_left() {
    let both = [ERRORS, "{name: long, type: latency, latency: {threshold_ms: 1}}"];
    let now = clock();
    let mut shard = Shard::new(settings(), Arc::new(policies(&both)), 1, now);
    let spans = [failed(1, 1), TestSpan { service: 2, ..TestSpan::new(1, 2) }, TestSpan::new(1, 3)];
    shard.admit(&batch(&spans), now);
    shard.admit(&batch(&spans[1..]), now);
    let before = shard.traces.front().map(|(_, trace)| (trace.seen, trace.summary)).unwrap();
    let mut trace = shard.traces.remove(0).unwrap();
    show_again(&mut trace, &shard.buffer, &shard.policies);
    assert_eq!((trace.seen, trace.summary), before);
}

#[test]
fn in_dry_run_everything_is_kept_and_the_decisions_are_counted() {
    let mut bench = Bench::new(ERRORS, Settings { dry_run: true, ..settings() });
    bench.admit(&[failed(1, 1), TestSpan::new(2, 2), TestSpan::new(3, 3)]);
    bench.pass(WAIT);
    let mut forwarded = bench.forwarded();
    forwarded.sort_unstable();
    assert_eq!(forwarded, [1, 2, 3]);
    bench.admit(&[TestSpan::new(2, 4)]);
    assert_eq!(bench.forwarded(), [4], "late spans are kept too");
    let tally = bench.shard.take_tally();
    assert_eq!((tally.decisions, tally.rehearsed), ([3, 0, 0], [1, 2, 0]));
}

#[test]
fn what_is_certain_is_held_no_longer_and_judged_when_due() {
    let mut bench = Bench::new(ERRORS, Settings { early_release: true, ..settings() });
    bench.admit(&[TestSpan::new(1, 1), TestSpan::new(2, 2)]);
    assert!(bench.forwarded().is_empty());
    bench.admit(&[failed(1, 3), TestSpan::new(1, 4)]);
    assert_eq!(bench.forwarded(), [1, 3, 4]);
    bench.admit(&[TestSpan::new(1, 5)]);
    assert_eq!(bench.forwarded(), [5]);
    assert_eq!((bench.shard.held().spans, bench.shard.held().traces), (1, 2));
    assert_eq!(bench.shard.tally.decisions, [0; 3], "it is not due");
    bench.pass(WAIT);
    assert!(bench.forwarded().is_empty());
    let tally = bench.shard.take_tally();
    assert_eq!((tally.decisions, tally.certain), ([1, 1, 0], [1, 0]));
    assert_eq!(tally.policies[0].votes[0].spans, 4, "the vote is about all its spans");
}

#[test]
fn what_is_certainly_not_kept_is_let_go() {
    let none = "{name: none, type: probabilistic, probabilistic: {sampling_percentage: 0}}";
    let mut bench = Bench::new(none, Settings { early_release: true, ..settings() });
    bench.admit(&[TestSpan::new(1, 1), TestSpan::new(1, 2)]);
    let held = bench.shard.held();
    assert_eq!((held.spans, held.traces), (0, 1));
    assert_eq!(bench.shard.tally.sampled_out_spans, 2);
    bench.pass(WAIT);
    bench.forwarded();
    assert_eq!(bench.shard.take_tally().decisions, [0, 1, 0]);
}

#[test]
fn a_trace_that_may_become_too_large_does_not_leave_early() {
    let limit = Settings { early_release: true, max_trace_bytes: 200, ..settings() };
    let mut bench = Bench::new(ALL, limit);
    bench.admit(&[TestSpan::new(1, 1)]);
    assert!(bench.forwarded().is_empty());
}

#[test]
fn an_outcome_that_has_begun_survives_a_change_of_policies() {
    let mut bench = Bench::new(ERRORS, Settings { early_release: true, ..settings() });
    bench.admit(&[failed(1, 1), TestSpan::new(2, 2)]);
    assert_eq!(bench.forwarded(), [1]);
    let by = bench.shard.policies.rules()[0].id;
    let none = "{name: none, type: latency, latency: {threshold_ms: 100000}}";
    bench.shard.set_policies(Arc::new(policies(&[none])));
    bench.admit(&[TestSpan::new(1, 3), failed(2, 4)]);
    assert_eq!(bench.forwarded(), [3]);
    bench.pass(WAIT);
    assert!(bench.forwarded().is_empty());
    let tally = bench.shard.take_tally();
    assert_eq!((tally.decisions, tally.contradictions), ([1, 1, 0], 0));
    let (verdict, _) =
        bench.shard.decided.find(bench.shard.traces.key(trace_id(1)), bench.now).unwrap();
    assert_eq!((verdict.decision, verdict.by), (Decision::Sampled, Some(by)));
}

#[test]
fn who_blocks_on_overflow_judges_nothing_early() {
    let limit = Settings { num_traces: 2, block_on_overflow: true, ..settings() };
    let mut bench = Bench::new(ALL, limit);
    bench.admit(&[1, 2].map(|trace| TestSpan::new(trace, trace)));
    assert!(!bench.shard.is_full());
    bench.admit(&[TestSpan::new(3, 3)]);
    assert!(bench.shard.is_full() && !bench.shard.is_over_limit());
    assert!(bench.forwarded().is_empty());
    bench.pass(WAIT);
    assert_eq!(bench.forwarded(), [1, 2, 3]);
    assert!(!bench.shard.is_full());
    assert_eq!(bench.causes(), [(Cause::Wait, 3)]);
}

#[test]
fn what_policies_write_is_held_memory() {
    let sampler = "{name: rate, type: ema_dynamic, \
                   ema_dynamic: {fingerprint_attributes: [padding]}}";
    let plain = |policy: &str| {
        let mut bench = Bench::new(policy, settings());
        for number in 0..50 {
            let padding = usize::try_from(number).unwrap();
            bench.admit(&[TestSpan { padding, ..TestSpan::new(1, number) }]);
        }
        bench
    };
    let (mut with, without) = (plain(sampler), plain(ERRORS));
    let notes = with.shard.held().bytes - without.shard.held().bytes;
    assert!(notes >= 50 * 16, "{notes}");
    with.pass(WAIT);
    with.forwarded();
    assert_eq!(with.shard.note_bytes, 0);
}

#[test]
fn others_see_which_traces_are_kept() {
    let kept = Arc::new(KeptTraces::default());
    kept.want();
    let mut bench = Bench::new(ERRORS, settings());
    bench.shard.announce_kept(Arc::clone(&kept));
    bench.admit(&[failed(1, 1), TestSpan::new(2, 2)]);
    assert!(!kept.contains(&trace_id(1)), "not decided yet");
    bench.pass(WAIT);
    bench.forwarded();
    assert!(kept.contains(&trace_id(1)) && !kept.contains(&trace_id(2)));
}

#[test]
fn a_giant_leaves_or_is_let_go_a_little_at_a_time_and_all_of_it() {
    // Two traces by turns, so that each span is a run by itself, in many small segments.
    let spans: Vec<_> = (0..20_000).map(|number| TestSpan::new(1 + number % 2, number)).collect();
    for (policy, kept) in [(ALL, spans.len()), (ERRORS, 0)] {
        let mut bench = Bench::new(policy, settings());
        bench.admit(&spans);
        bench.pass(WAIT);
        let (mut slices, mut left) = (0, spans.len());
        while bench.shard.judge(bench.now, 1, clock) > 0 {
            slices += 1;
            let (before, leaving) = (left, bench.shard.outgoing.spans());
            left = bench.shard.held().spans - leaving;
            assert!(before - left <= 5000, "{} spans at once", before - left);
        }
        assert!(left == 0 && slices >= 6, "{left} spans are left after {slices} slices");
        let numbers = bench.forwarded();
        assert_eq!(numbers.iter().collect::<std::collections::BTreeSet<_>>().len(), kept);
        assert_eq!(bench.shard.held().spans, 0);
    }
}

#[test]
fn a_large_trace_that_is_gone_holds_nothing_up() {
    let settings = Settings { decision_after_spans: 2, ..settings() };
    // Judged as it came in, or due by its age when it grows large.
    let mut by_piece = Bench::new(ALL, Settings { by_piece: true, ..settings.clone() });
    by_piece.admit(&[1, 2, 3].map(|number| TestSpan::new(1, number)));
    let mut aged = Bench::new(ALL, settings);
    aged.admit(&[TestSpan::new(1, 1)]);
    aged.pass(WAIT);
    aged.admit(&[2, 3].map(|number| TestSpan::new(1, number)));
    for mut bench in [by_piece, aged] {
        assert!(bench.shard.deadlines.has_large());
        assert_eq!(bench.forwarded(), [1, 2, 3]);
        assert!(!bench.shard.is_over_limit());
    }
}

#[test]
fn traces_under_many_headers_are_let_go_a_little_at_a_time_and_all_of_it() {
    for traces in [1, 200] {
        let settings = Settings { segment_bytes: 1 << 20, ..settings() };
        let mut bench = Bench::new(ERRORS, settings);
        // In five segments, each with 4,096 headers and spans of all traces.
        let spans: Vec<_> = (0..20_000)
            .map(|number| TestSpan {
                service: number,
                ..TestSpan::new(1 + number % traces, number)
            })
            .collect();
        bench.admit(&spans);
        bench.pass(WAIT);
        let (mut headers, mut slices) = (bench.shard.buffer.headers.allocated(), 0);
        let of_each = headers / spans.len();
        while bench.shard.judge(bench.now, 256, clock) > 0 {
            let left = bench.shard.buffer.headers.allocated();
            assert!(headers - left <= 1100 * of_each, "{} bytes at once", headers - left);
            (headers, slices) = (left, slices + 1);
        }
        assert_eq!((headers, bench.shard.held().spans), (0, 0));
        assert!(slices >= 18, "{slices}");
        assert!(!bench.shard.is_over_limit());
    }
}

#[test]
fn a_request_under_many_headers_leaves_most_of_them_to_the_slices_after_it() {
    let request = RequestSize { spans: 4000, bytes: 1 << 20, max_bytes: 1 << 20 };
    let mut bench = Bench::new(ALL, Settings { segment_bytes: 1 << 20, request, ..settings() });
    let spans: Vec<_> =
        (0..4000).map(|number| TestSpan { service: number, ..TestSpan::new(0, number) }).collect();
    bench.admit(&spans);
    while bench.shard.judge(bench.now, 256, clock) > 0 {}
    let headers = bench.shard.buffer.headers.allocated();
    assert_eq!(bench.shard.take(Take::Any).unwrap().items(), spans.len());
    let left = bench.shard.buffer.headers.allocated();
    assert!(left > headers / 2, "{left} of {headers}");
    assert!(bench.shard.is_over_limit());
    while bench.shard.judge(bench.now, 256, clock) > 0 {}
    assert_eq!(bench.shard.buffer.headers.allocated(), 0);
}
