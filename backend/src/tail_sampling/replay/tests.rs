use std::time::Duration;

use serde_json::{Value, json};

use super::super::policy::testing::named_policies;
use super::super::testing::{TestSpan, batch};
use super::*;

const ERRORS: &str = "{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}";
const ALL: &str = "{name: all, type: always_sample}";
const LIMIT: &str = "{name: limit, type: rate_limiting, \
    rate_limiting: {spans_per_second: 1, burst_capacity: 1}}";

fn config(policies: &[&str]) -> TailSamplingConfig {
    TailSamplingConfig {
        decision_wait: Duration::from_secs(10),
        policies: named_policies(policies),
        max_buffer_bytes: Some(1 << 30),
        ..TailSamplingConfig::default()
    }
}

/// A span of this trace that ended so many seconds into the recording.
fn at(seconds: u64, trace: u64) -> TestSpan {
    TestSpan::new(trace, seconds * 1_000_000_000)
}

fn failed(span: TestSpan) -> TestSpan {
    TestSpan { error: true, ..span }
}

/// The report after requests of one span each.
fn report(mut replay: Replay, spans: &[TestSpan]) -> Value {
    for span in spans {
        replay.feed(&batch(&[*span]));
    }
    replay.finish();
    serde_json::from_str(&replay.report(Format::Json, &["before", "after"])).unwrap()
}

/// How many traces are kept, of requests of one span each.
fn kept(config: &TailSamplingConfig, spans: &[TestSpan]) -> Value {
    report(Replay::of(config), spans)["results"][0]["sampled"].take()
}

#[test]
fn it_tells_what_each_policy_keeps_and_what_no_other_would() {
    let spans = [failed(at(0, 1)), at(1, 1), at(1, 2), failed(at(2, 3))];
    let dry = "{name: dry, dry_run: true, type: always_sample}";
    let report = report(Replay::of(&config(&[ERRORS, dry])), &spans);
    assert_eq!(report["input"]["spans"], 4);
    assert_eq!(report["input"]["traffic_seconds"], 2.0);
    let result = &report["results"][0];
    assert_eq!([&result["config"], &result["traces"]], [&json!("before"), &json!(3)]);
    assert_eq!([&result["sampled"], &result["kept_spans"]], [2, 3]);
    assert_eq!(result["kept_share_of_spans"], 0.75);
    let (kept, read) = (result["kept_bytes"].as_u64(), report["input"]["bytes"].as_u64());
    assert!(kept > Some(0) && kept < read, "{kept:?} of {read:?}");
    let [errors, dry] = [&result["policies"][0], &result["policies"][1]];
    assert_eq!([&errors["sampled"]["traces"], &errors["sampled"]["spans"]], [2, 3]);
    assert_eq!([&errors["exclusive"]["traces"], &errors["not_sampled"]["traces"]], [2, 1]);
    assert_eq!([&dry["dry_run"], &dry["would_change"]["traces"]], [&json!(true), &json!(1)]);
}

#[test]
fn time_is_that_of_the_spans() {
    // When the error comes the trace was judged, or still waits.
    let spans = [at(0, 1), failed(at(11, 1))];
    let patient =
        TailSamplingConfig { decision_wait: Duration::from_secs(12), ..config(&[ERRORS]) };
    assert_eq!([kept(&config(&[ERRORS]), &spans), kept(&patient, &spans)], [0, 1]);
    // A budget is filled again as time passes, at the moment at which a trace is due.
    assert_eq!(kept(&config(&[LIMIT]), &[at(0, 1), at(0, 2)]), 1);
    assert_eq!(kept(&config(&[LIMIT]), &[at(0, 1), at(5, 2)]), 2);
    assert_eq!(kept(&config(&[LIMIT]), &[at(0, 1), at(5, 2), at(1_000_000, 3)]), 3);
}

#[test]
fn one_wrong_time_moves_nothing_and_time_never_goes_back() {
    let mut replay = Replay::of(&config(&[ERRORS]));
    replay.feed(&batch(&[at(100, 1), at(100, 2), at(1_000_000, 3)]));
    replay.feed(&batch(&[at(3, 1)]));
    assert_eq!(replay.input().traffic_ns, 0);
    replay.feed(&batch(&[at(104, 1)]));
    assert_eq!(replay.input().traffic_ns, 4_000_000_000);
}

#[test]
fn changed_traces_are_listed_with_the_votes_that_changed() {
    let (before, after) = (config(&[ERRORS, LIMIT]), config(&[ERRORS, ALL]));
    let spans = [failed(at(0, 1)), at(0, 2), at(0, 3), at(0, 4)];
    let report = report(Replay::comparing(&before, &after, 1), &spans);
    let changes = &report["changes"];
    assert_eq!([&changes["compared"], &changes["uncompared"]], [4, 0]);
    // The first takes the budget, which the second and the third miss.
    assert_eq!([&changes["gained"]["traces"], &changes["lost"]["traces"]], [3, 0]);
    let kind = json!({
        "before": "wanted by no policy", "after": "kept by all",
        "traces": 3, "spans": 3, "bytes": changes["gained"]["bytes"],
    });
    assert_eq!(changes["kinds"], json!([kind]));
    assert_eq!(changes["listed"].as_array().map(Vec::len), Some(1));
    let listed = &changes["listed"][0];
    assert_eq!(listed["trace_id"], format!("{:032x}", 2));
    let votes = json!([
        {"policy": "limit", "before": "not_sampled", "after": null},
        {"policy": "all", "before": null, "after": "sampled"},
    ]);
    assert_eq!(listed["votes"], votes);
}

#[test]
fn traces_that_wait_unequally_long_are_compared_all_the_same() {
    let before = config(&[ERRORS]);
    let after = TailSamplingConfig { decision_wait: Duration::from_secs(1), ..config(&[ERRORS]) };
    let spans = [at(0, 1), at(3, 2), failed(at(4, 1)), failed(at(20, 3))];
    let report = report(Replay::comparing(&before, &after, 9), &spans);
    assert_eq!([&report["changes"]["compared"], &report["changes"]["lost"]["traces"]], [3, 1]);
    assert_eq!(report["changes"]["listed"][0]["after"], "wanted by no policy");
}

#[test]
fn every_decision_is_noted_on_demand() {
    let mut replay = Replay::of(&config(&[ERRORS]));
    replay.keep_journal();
    assert!(replay.feed(&batch(&[failed(at(0, 1)), at(0, 2)])).is_empty());
    let decided: Vec<_> =
        replay.feed(&batch(&[at(30, 3)])).into_iter().chain(replay.finish()).collect();
    let decided: Vec<_> = decided
        .iter()
        .map(|of| (of.trace_id.as_str(), of.decision, of.policy.as_deref()))
        .collect();
    let ids = [1, 2, 3].map(|id| format!("{id:032x}"));
    let expected = [
        (ids[0].as_str(), "sampled", Some("errors")),
        (ids[1].as_str(), "not_sampled", None),
        (ids[2].as_str(), "not_sampled", None),
    ];
    assert_eq!(decided, expected);
}

#[test]
fn the_page_for_people_has_a_line_for_each_policy() {
    let mut replay = Replay::comparing(&config(&[ERRORS]), &config(&[ALL]), 0);
    replay.feed(&batch(&[failed(at(0, 1)), at(0, 2)]));
    replay.finish();
    let page = replay.report(Format::Text, &["tail_sampling", "new.yaml"]);
    for line in [
        "1 requests, 2 spans, ",
        "tail_sampling",
        "  keeps 1 of 2 traces (50.00 %)",
        "  errors          1          1 ",
        "1 of 2 traces change",
        "          1  wanted by no policy -> kept by all",
        "and 1 more; list more of them with --limit",
    ] {
        assert!(page.lines().any(|other| other.starts_with(line)), "{line:?} is not in:\n{page}");
    }
}

#[test]
fn nothing_read_is_a_report_too() {
    let report = report(Replay::of(&config(&[ALL])), &[]);
    assert_eq!([&report["results"][0]["traces"], &report["input"]["requests"]], [0, 0]);
}
