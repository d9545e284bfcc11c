use super::edge::EdgeTotals;
use super::findings::{Evidence, Findings};
use super::sender::{Fate, Sent};
use super::*;
use crate::faulty::record::{Entry, Kind, SpanRef};

const SECOND: u64 = 1_000_000_000;

/// A record of one request: taken, and answered a second later if it was.
fn taken(request: u64, span: u64, answered: bool) -> Vec<Entry> {
    let entry = |kind, time_ns, items| Entry { kind, request, time_ns, connection: 1, items };
    let items = vec![SpanRef { key: sender::key_of(span), span }];
    let mut entries = vec![entry(Kind::Taken, 10 * SECOND, items)];
    if answered {
        entries.push(entry(Kind::Answered, 11 * SECOND, Vec::new()));
    }
    entries
}

/// What the findings of the poison scenario complain of when these spans were acknowledged, and
/// rejected by a backend.
fn complaint_of_rejection(spans: std::ops::Range<u64>) -> String {
    let count = spans.end - spans.start;
    let items = spans.clone().map(|span| SpanRef { key: sender::key_of(span), span }).collect();
    let rejected =
        Entry { kind: Kind::Rejected, request: 1, time_ns: 150 * SECOND, connection: 1, items };
    let fate = Fate::Acknowledged(150 * SECOND);
    let findings = Findings::of(&Evidence {
        scenario: Scenario::Poison,
        mode: Mode::Queue,
        sent: &[Sent { spans, due_ns: 149 * SECOND, retries: 0, unanswered: 0, fate }],
        records: &[vec![rejected]],
        edge: EdgeTotals { accepted: count, failed: count, ..EdgeTotals::default() },
        clean_exit: true,
        phases: [0, 100 * SECOND, 200 * SECOND],
    });
    let mut report = Report::new();
    findings.report(&mut report);
    report.failed().collect::<Vec<_>>().join("; ")
}

#[test]
fn a_poisoned_span_takes_its_own_request_with_it_and_no_other() {
    assert_eq!(complaint_of_rejection(990..998), "");
    let innocent = "spans rejected for no fault of their request";
    assert_eq!(complaint_of_rejection(998..1_006), innocent);
}

/// What the findings complain of when span 1 was acknowledged after `retries`, and this is in
/// the records of two backends.
fn complaint(scenario: Scenario, retries: u32, records: &[Vec<Entry>; 2]) -> String {
    let arrivals = records.iter().flatten().filter(|entry| entry.kind == Kind::Taken).count();
    let sent = arrivals as u64;
    let fate = Fate::Acknowledged(12 * SECOND);
    let requests = [Sent { spans: 1..2, due_ns: 9 * SECOND, retries, unanswered: 0, fate }];
    let findings = Findings::of(&Evidence {
        scenario,
        mode: Mode::EndToEnd,
        sent: &requests,
        records,
        edge: EdgeTotals { accepted: sent, sent, ..EdgeTotals::default() },
        clean_exit: true,
        phases: [0, 100 * SECOND, 200 * SECOND],
    });
    let mut report = Report::new();
    findings.report(&mut report);
    report.failed().collect::<Vec<_>>().join("; ")
}

#[test]
fn one_arrival_is_what_is_wanted() {
    let records = [taken(1, 1, true), Vec::new()];
    assert_eq!(complaint(Scenario::Slow, 0, &records), "");
}

#[test]
fn an_acknowledged_span_that_nobody_has_is_lost() {
    let records = [Vec::new(), Vec::new()];
    assert_eq!(complaint(Scenario::Slow, 0, &records), "acknowledged spans that are lost");
}

#[test]
fn a_duplicate_needs_a_lost_answer() {
    let twice = |answered| [taken(1, 1, answered), taken(1, 1, true)];
    assert_eq!(complaint(Scenario::Slow, 0, &twice(false)), "");
    let needless = "duplicates though no answer was lost";
    assert_eq!(complaint(Scenario::Slow, 0, &twice(true)), needless);
    let resent = "duplicates because a client had to send again";
    assert_eq!(complaint(Scenario::Slow, 1, &twice(true)), resent);
}

#[test]
fn an_answer_may_be_lost_with_its_connection() {
    let cut = |time_ns, connection| {
        let mut first = taken(1, 1, true);
        first.push(Entry { kind: Kind::Cut, request: 0, time_ns, connection, items: Vec::new() });
        complaint(Scenario::Reset, 0, &[first, taken(1, 1, true)])
    };
    assert_eq!(cut(12 * SECOND, 1), "");
    let needless = "duplicates though no answer was lost";
    assert_eq!(cut(13 * SECOND, 1), needless);
    assert_eq!(cut(12 * SECOND, 2), needless);
}

#[test]
fn every_scenario_has_a_name_and_says_what_it_does() {
    for scenario in Scenario::value_variants() {
        assert!(!scenario.name().is_empty() && !scenario.about().is_empty());
    }
    assert_eq!(scenarios("dns-300").unwrap().0, [Scenario::Dns300]);
    assert_eq!(scenarios("all").unwrap().0, Scenario::value_variants());
    assert!(scenarios("dns").unwrap_err().starts_with("there are: all, kill, hang"));
}
