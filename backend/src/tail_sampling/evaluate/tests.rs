use super::super::policy::testing::policies;
use super::super::policy::{Ballot, Case, Marks};
use super::super::tally::Amount;
use super::*;

fn traces(count: usize) -> Vec<Trace> {
    let now = shared::clock::now();
    (0..count).map(|_| Trace::new([1; 16], now)).collect()
}

/// What was decided, with sampled, not sampled and failed votes of each policy.
fn judge(policies: &Policies, count: usize) -> (Vec<Decision>, Vec<(u64, u64, u64)>) {
    let (now, mut tallies) = (shared::clock::now(), policies.tallies());
    let verdicts = policies.judge(&traces(count), now, &mut tallies, shared::clock::now);
    let counts = |tally: &PolicyTally| (tally.votes[0].traces, tally.votes[1].traces, tally.errors);
    let decisions = verdicts.iter().map(|verdict| verdict.decision).collect();
    (decisions, tallies.iter().map(counts).collect())
}

const NONE: &str = "{name: none, type: latency, latency: {threshold_ms: 1000}}";
const ALL: &str = "{name: all, type: always_sample}";

#[test]
fn one_vote_is_enough_and_every_policy_votes() {
    let policies = policies(&[NONE, ALL, NONE]);
    let (decisions, counts) = judge(&policies, 3);
    assert_eq!(decisions, [Decision::Sampled; 3]);
    assert_eq!(counts, [(0, 3, 0), (3, 0, 0), (0, 3, 0)]);
}

#[test]
fn the_first_match_ends_the_voting_if_asked_for() {
    let policies = Policies { first_match: true, ..policies(&[NONE, ALL, NONE]) };
    assert_eq!(judge(&policies, 2).1, [(0, 2, 0), (2, 0, 0), (0, 0, 0)]);
}

struct Broken;

impl Policy for Broken {
    fn marks(&self) -> u8 {
        1
    }
    fn observe(&self, _: &Sight<'_>) -> Marks {
        panic!("a broken policy")
    }
    fn evaluate(&self, _: Marks, _: &Case<'_>) -> Ballot {
        panic!("a broken policy")
    }
}

#[test]
fn a_policy_that_panics_is_counted_and_passed_over() {
    let mut names = Names::default();
    let mut builder = Builder::new(&mut names, Terms::default());
    let broken = builder.branch("broken", |builder| builder.policy(Broken));
    let watch = builder.finish();
    let mut policies = policies(&[ALL]);
    policies.rules.insert(0, broken);
    policies.watchers = watch.watchers;
    let (entry, scope) = (ResourceEntry { content: &[] }, ScopeEntry { content: &[] });
    let mut trace = traces(1).remove(0);
    policies.observe(&mut trace, &policies.read(&[]), (entry, entry.resource(), scope));
    assert_eq!((trace.seen, policies.take_panics()), (Seen::default(), 1));
    let (decisions, counts) = judge(&policies, 2);
    assert_eq!(decisions, [Decision::Sampled; 2]);
    assert_eq!(counts, [(0, 0, 2), (2, 0, 0)]);
}

/// Traces of 1, 2, 3 … spans, of which the odd ones failed.
fn sized_traces(policies: &Policies, count: u32) -> Vec<Trace> {
    let mut traces = traces(count as usize);
    for (spans, trace) in (1..).zip(&mut traces) {
        // A status whose field `code` has the value 2.
        let read = policies.read(if spans % 2 == 1 { &[0x7a, 2, 0x18, 2] } else { &[] });
        let (entry, scope) = (ResourceEntry { content: &[] }, ScopeEntry { content: &[] });
        for _ in 0..spans {
            trace.summary.add(&read.span, 10);
            policies.observe(trace, &read, (entry, entry.resource(), scope));
        }
    }
    traces
}

/// The names of the policies with what is alone of each, after five such traces.
fn alone(policies: &Policies) -> Vec<(&str, Amount)> {
    let (now, mut tallies) = (shared::clock::now(), policies.tallies());
    policies.judge(&sized_traces(policies, 5), now, &mut tallies, shared::clock::now);
    let alone = tallies.iter().map(|tally| tally.alone);
    policies.standings().map(|(name, _)| name).zip(alone).collect()
}

/// The traces of these sizes.
fn amount(sizes: &[u64]) -> Amount {
    let spans = sizes.iter().sum();
    Amount { traces: sizes.len() as u64, spans, bytes: 10 * spans }
}

const ERRORS: &str = "{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}";
const OTHERS: &str = "{name: others, type: status_code, status_code: {status_codes: [UNSET]}}";

#[test]
fn votes_are_counted_in_traces_spans_and_bytes() {
    let policies = policies(&[ERRORS]);
    let (now, mut tallies) = (shared::clock::now(), policies.tallies());
    policies.judge(&sized_traces(&policies, 5), now, &mut tallies, shared::clock::now);
    assert_eq!(tallies[0].votes, [amount(&[1, 3, 5]), amount(&[2, 4]), Amount::default()]);
}

#[test]
fn what_only_one_policy_keeps_is_counted_for_it() {
    let of = |entries: &[&str]| alone(&policies(entries)).iter().map(|of| of.1).collect::<Vec<_>>();
    assert_eq!(of(&[ERRORS, NONE]), [amount(&[1, 3, 5]), amount(&[])]);
    assert_eq!(of(&[ERRORS, OTHERS]), [amount(&[1, 3, 5]), amount(&[2, 4])]);
    assert_eq!(of(&[ERRORS, ALL]), [amount(&[]), amount(&[2, 4])]);
    assert_eq!(of(&[ALL, ERRORS, ALL]), [amount(&[]); 3]);
}

fn in_dry_run(policy: &str) -> String {
    policy.replacen('{', "{dry_run: true, ", 1)
}

#[test]
fn a_policy_in_dry_run_votes_on_everything_and_changes_nothing() {
    let rehearsed = &in_dry_run(OTHERS);
    let policies = policies(&[rehearsed, ERRORS]);
    assert_eq!(alone(&policies), [("errors", amount(&[1, 3, 5])), ("others", amount(&[2, 4]))]);
    let (now, mut tallies) = (shared::clock::now(), policies.tallies());
    let verdicts =
        policies.judge(&sized_traces(&policies, 5), now, &mut tallies, shared::clock::now);
    let kept: Vec<bool> = verdicts.iter().map(|of| of.decision == Decision::Sampled).collect();
    assert_eq!(kept, [true, false, true, false, true]);
    assert_eq!(tallies[1].votes, [amount(&[2, 4]), amount(&[1, 3, 5]), Amount::default()]);
}

#[test]
fn a_policy_in_dry_run_is_asked_behind_a_first_match_too() {
    let rehearsed = in_dry_run(OTHERS);
    let policies = Policies { first_match: true, ..policies(&[&rehearsed, ALL]) };
    let standings: Vec<_> = policies.standings().collect();
    assert_eq!(standings, [("all", Standing::FirstMatch), ("others", Standing::DryRun)]);
    assert_eq!(alone(&policies)[1], ("others", amount(&[])), "all are kept anyway");
    assert_eq!(judge(&policies, 2).1, [(2, 0, 0), (0, 2, 0)]);
}
