use std::collections::HashMap;
use std::time::Duration;

use super::super::testing::{named_policies, policies, seen};
use super::super::{Compat, Decision, Names, Terms, Threshold};
use super::*;
use crate::tail_sampling::evaluate::Policies;
use crate::tail_sampling::tier::TierSize;
use crate::tail_sampling::trace::Trace;
use shared::telemetry::expiring::Local;

const SECOND: Duration = Duration::from_secs(1);

/// Trace ids that are random, the same in each run.
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> [u8; 16] {
        let mut half = || {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        };
        (u128::from(half()) << 64 | u128::from(half())).to_be_bytes()
    }
}

/// Spans that arrived and were kept in one second, of all keys.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    arrived: u32,
    kept: u32,
}

/// Runs policies for some seconds. `traces` gives the traces of a second, each as a key and a number
/// of spans; they come evenly spread over the second.
fn run(
    policies: &Policies,
    seconds: u32,
    mut traces: impl FnMut(u32) -> Vec<(String, u32)>,
) -> Vec<HashMap<String, Kept>> {
    let (mut ids, begun) = (Ids(1), shared::clock::now());
    let mut shown: HashMap<String, Trace> = HashMap::new();
    let mut judge = |key: &str, spans: u32, now| {
        let seen = shown
            .entry(key.to_owned())
            .or_insert_with(|| seen(policies, &format!("1..2 route={key}")));
        let mut due = Trace::new(ids.next(), now);
        (due.seen, due.notes) = (seen.seen, seen.notes.clone());
        due.summary.spans = spans;
        let verdicts = policies.judge(&[due], now, &mut policies.tallies(), || now);
        verdicts[0].decision == Decision::Sampled
    };
    let second = |second: u32| {
        let mut tally: HashMap<String, Kept> = HashMap::new();
        let traces = traces(second);
        let count = u32::try_from(traces.len()).unwrap();
        for (number, (key, spans)) in (0..).zip(traces) {
            let now = begun + SECOND * second + SECOND * number / count;
            let kept = judge(&key, spans, now);
            let tally = tally.entry(key).or_default();
            tally.arrived += spans;
            tally.kept += if kept { spans } else { 0 };
        }
        tally
    };
    (0..seconds).map(second).collect()
}

fn sum(seconds: &[HashMap<String, Kept>]) -> Kept {
    seconds.iter().flat_map(HashMap::values).fold(Kept::default(), |sum, kept| Kept {
        arrived: sum.arrived + kept.arrived,
        kept: sum.kept + kept.kept,
    })
}

/// A second's traces: for each key how many, with how many spans, shuffled evenly.
fn mixed(keys: &[(&str, u32, u32)]) -> Vec<(String, u32)> {
    let mut traces: Vec<(f64, String, u32)> = Vec::new();
    for (key, count, spans) in keys {
        let place = |number| (f64::from(number) + 0.5) / f64::from(*count);
        traces.extend((0..*count).map(|number| (place(number), (*key).to_owned(), *spans)));
    }
    traces.sort_by(|a, b| a.0.total_cmp(&b.0));
    traces.into_iter().map(|(_, key, spans)| (key, spans)).collect()
}

/// Keys by how many traces a second each has, with spans a trace.
const EVEN: &[(&str, u32, u32)] = &[("a", 50, 5), ("b", 50, 5), ("c", 50, 5), ("d", 50, 5)];
const STEEP: &[(&str, u32, u32)] = &[("a", 500, 2), ("b", 50, 2), ("c", 5, 2), ("d", 1, 2)];
const ONE: &[(&str, u32, u32)] = &[("a", 400, 3)];

#[test]
fn a_goal_throughput_is_met_within_a_few_intervals() {
    for policy in [
        "{type: ema_throughput, ema_throughput: {goal_throughput: 100, \
         adjustment_interval: 5s, fingerprint_attributes: [route]}}",
        "{type: windowed_throughput, windowed_throughput: {goal_throughput: 100, \
         fingerprint_attributes: [route]}}",
    ] {
        for keys in [EVEN, STEEP, ONE] {
            let seconds = run(&policies(&[policy]), 40, |_| mixed(keys));
            // The first interval is at the initial rate, the second at one from what was seen.
            let kept = sum(&seconds[5..]).kept;
            let expected = 100 * 35;
            assert!(
                kept.abs_diff(expected) < expected / 15,
                "{policy} kept {kept} of {keys:?}, not {expected}"
            );
        }
    }
}

#[test]
fn a_goal_percentage_is_met_and_rare_keys_are_kept() {
    let policy = "{type: ema_dynamic, ema_dynamic: {goal_percentage: 5, \
                  adjustment_interval: 5s, fingerprint_attributes: [route]}}";
    for keys in [EVEN, STEEP, ONE] {
        let seconds = run(&policies(&[policy]), 40, |_| mixed(keys));
        let Kept { arrived, kept } = sum(&seconds[5..]);
        let share = f64::from(kept) / f64::from(arrived);
        assert!((0.046..=0.054).contains(&share), "{share} of {keys:?}");
        for second in seconds.iter().skip(5).filter(|second| second.contains_key("d")) {
            if keys == STEEP {
                assert_eq!(second["d"].kept, second["d"].arrived);
            }
        }
    }
}

#[test]
fn a_throughput_holds_when_traffic_grows_tenfold() {
    let grown = |second| {
        let factor = if second < 20 { 1 } else { 10 };
        let keys = EVEN.iter().map(|(key, count, spans)| (*key, count * factor, *spans));
        mixed(&keys.collect::<Vec<_>>())
    };
    for (policy, settled) in [
        (
            "{type: ema_throughput, ema_throughput: {goal_throughput: 100, \
             adjustment_interval: 5s, fingerprint_attributes: [route]}}",
            45,
        ),
        (
            "{type: windowed_throughput, windowed_throughput: {goal_throughput: 100, \
             lookback_frequency: 5s, fingerprint_attributes: [route]}}",
            26,
        ),
    ] {
        let seconds = run(&policies(&[policy]), 60, grown);
        let kept = sum(&seconds[settled..]).kept;
        let expected = 100 * u32::try_from(60 - settled).unwrap();
        assert!(kept.abs_diff(expected) < expected / 10, "{policy}: {kept}, not {expected}");
    }
}

/// Half of the traffic is of keys that never come again.
#[test]
fn unique_keys_neither_grow_the_table_nor_break_the_goal() {
    for (policy, label) in [
        (
            "{name: attacked-ema, type: ema_throughput, ema_throughput: {goal_throughput: 100, \
             adjustment_interval: 5s, max_keys: 50, fingerprint_attributes: [route]}}",
            "attacked-ema",
        ),
        (
            "{name: attacked-window, type: windowed_throughput, windowed_throughput: \
             {goal_throughput: 100, max_keys: 50, fingerprint_attributes: [route]}}",
            "attacked-window",
        ),
    ] {
        let local = Local::default();
        let entered = local.enter();
        let policies = policies(&[policy]);
        drop(entered);
        let mut unique = 0;
        let seconds = run(&policies, 40, |_| {
            let honest = mixed(EVEN).into_iter();
            let mut attack = || {
                unique += 1;
                (format!("unique{unique}"), 5)
            };
            honest.flat_map(|honest| [honest, attack()]).collect()
        });
        let (kept, expected) = (sum(&seconds[10..]).kept, 100 * 30);
        assert!(kept.abs_diff(expected) < expected / 10, "{label}: {kept}, not {expected}");
        let honest: u32 = seconds[10..].iter().map(|second| second["a"].kept).sum();
        assert!(honest > 0, "{label}");
        let page = local.render();
        let value = |metric: &str| -> f64 {
            let series =
                format!("otelcol_processor_tail_sampling_adaptive_{metric}{{policy=\"{label}\"}} ");
            let line = page.lines().find_map(|line| line.strip_prefix(&series));
            line.unwrap_or_else(|| panic!("{series}is not in {page}")).parse().unwrap()
        };
        assert!(value("keys") <= 50.0, "{page}");
        assert!(value("traces_over_max_keys") > 7_000.0, "{page}");
        assert!((19.0..21.0).contains(&value("sample_rate")), "{page}");
    }
}

#[test]
fn to_peek_counts_nothing_and_nothing_is_foregone() {
    let policy = "{type: ema_throughput, ema_throughput: {goal_throughput: 1, \
                  adjustment_interval: 1s, fingerprint_attributes: [route]}}";
    let mut names = Names::default();
    let mut builder = Builder::new(&mut names, Terms::default());
    let rule = named_policies(&[policy])[0].build(&mut builder).rule;
    let mut due = seen(&policies(&[policy]), "1..2 route=a");
    due.summary.trace_id = [0xff; 16];
    due.summary.spans = 1000;
    let begun = shared::clock::now();
    let before = rule.peek(&due.case(begun));
    assert_eq!(rule.peek(&due.case(begun + 10 * SECOND)), before);
    rule.evaluate(&due.case(begun + 20 * SECOND)).unwrap();
    let after = rule.evaluate(&due.case(begun + 30 * SECOND)).unwrap();
    // 1000 spans of which 1 is wanted: peeking began no interval.
    assert_eq!(after.threshold, Threshold::keeping(1.0 / 1000.0));
    assert_eq!(rule.peek(&due.case(begun + 99 * SECOND)), Ok(after));
    assert_eq!(rule.foregone(&due.case(begun)), None);
    assert!(!rule.is_pure());
}

#[test]
fn a_tier_shares_a_throughput() {
    for policy in ["ema_throughput", "windowed_throughput"] {
        let policy = format!(
            "{{type: {policy}, {policy}: {{goal_throughput: 100, cluster: true, \
             fingerprint_attributes: [route]}}}}"
        );
        let config = named_policies(&[&policy]);
        let terms = Terms::new(Compat::V0156, TierSize::new(4));
        let mut names = Names::default();
        let rule = config[0].build(&mut Builder::new(&mut names, terms)).rule;
        let mut due = seen(&policies(&[&policy]), "1..2 route=a");
        due.summary.trace_id = [0xff; 16];
        due.summary.spans = 3000;
        let begun = shared::clock::now();
        rule.evaluate(&due.case(begun)).unwrap();
        let vote = rule.evaluate(&due.case(begun + 15 * SECOND)).unwrap();
        assert_eq!(vote.threshold, Threshold::keeping(15.0 * 25.0 / 3000.0), "{policy}");
    }
}
