//! What goes wrong around an edge, in a short form of `loadtest scenario`.
//!
//! The claims are about where every span is, never about time. With `RUN_SLOW_TESTS=1` most
//! faults last longer.

use std::path::Path;
use std::time::Duration;

use loadtest::report::Report;
use loadtest::scenario::{Mode, Options, Scenario, run};

use crate::common::binaries;

async fn options(settings: &[&str]) -> Options {
    let slow = std::env::var_os("RUN_SLOW_TESTS").is_some();
    Options {
        before: Duration::from_secs(1),
        fault: Duration::from_secs(if slow { 12 } else { 4 }),
        after: Duration::from_secs(1),
        rate: 400,
        spans_per_request: 8,
        clients: 8,
        edges: 1,
        dns_interval: Duration::from_millis(200),
        edge_settings: settings.iter().map(ToString::to_string).collect(),
        program: Path::new(env!("CARGO_BIN_EXE_loadtest")).to_owned(),
        binaries: binaries().await,
    }
}

/// Runs a scenario with both ways to acknowledge, side by side; every claim must hold.
async fn check(scenario: Scenario, settings: &[&str]) {
    let mut direct = options(settings).await;
    if scenario == Scenario::Hang {
        // Longer than an attempt, which no pause of a busy machine is.
        direct.fault = Duration::from_secs(12);
    }
    let mut queued = direct.clone();
    queued.edge_settings.push(
        "exporters::loadbalancing::protocol::otlp::retry_on_failure::initial_interval=250ms"
            .to_owned(),
    );
    let (direct, queued) =
        tokio::join!(run(scenario, Mode::EndToEnd, &direct), run(scenario, Mode::Queue, &queued));
    for findings in [direct, queued] {
        let mut report = Report::new();
        findings.unwrap().report(&mut report);
        assert!(report.holds(), "{}", report.text());
    }
}

#[tokio::test]
async fn an_edge_that_gives_up_what_it_acknowledged_is_found_out() {
    let no_retry = "exporters::loadbalancing::protocol::otlp::retry_on_failure::enabled=false";
    let options = options(&[no_retry]).await;
    let mut report = Report::new();
    run(Scenario::Unavailable, Mode::Queue, &options).await.unwrap().report(&mut report);
    let failed: Vec<_> = report.failed().collect();
    assert_eq!(failed, ["acknowledged spans that are lost"], "{}", report.text());
}

#[tokio::test]
async fn a_killed_backend_loses_nothing_that_was_acknowledged() {
    check(Scenario::Kill, &[]).await;
}

#[tokio::test]
async fn a_stopped_backend_makes_duplicates_of_what_it_had_not_answered_only() {
    check(Scenario::Hang, &[]).await;
}

#[tokio::test]
async fn a_slow_backend_gets_everything_once() {
    // No pause of a busy machine is to be as long as an attempt, so slow as the backend is already.
    check(Scenario::Slow, &["exporters::loadbalancing::protocol::otlp::timeout=30s"]).await;
}

#[tokio::test]
async fn an_unavailable_backend_makes_no_duplicates() {
    check(Scenario::Unavailable, &[]).await;
}

#[tokio::test]
async fn an_exhausted_backend_is_given_the_time_it_asks_for() {
    check(Scenario::Exhausted, &[]).await;
}

#[tokio::test]
async fn what_a_backend_leaves_out_is_counted() {
    check(Scenario::Partial, &[]).await;
}

#[tokio::test]
async fn lost_answers_explain_every_duplicate() {
    check(Scenario::LostAnswers, &[]).await;
}

#[tokio::test]
async fn connections_that_break_off_lose_nothing() {
    check(Scenario::Reset, &[]).await;
}

#[tokio::test]
async fn a_poisoned_span_spoils_nothing_that_was_acknowledged() {
    check(Scenario::Poison, &[]).await;
}

/// On a busy machine an answer may stay for several looks at it.
const UNHURRIED: &str = "exporters::loadbalancing::resolver::dns::misses_before_removal=8";

#[tokio::test]
async fn dns_that_flaps_moves_no_key() {
    check(Scenario::DnsFlap, &[UNHURRIED]).await;
}

#[tokio::test]
async fn dns_that_is_empty_moves_no_key() {
    check(Scenario::DnsEmpty, &[]).await;
}

#[tokio::test]
async fn dns_that_is_incomplete_moves_no_key() {
    check(Scenario::DnsPartial, &[]).await;
}

#[tokio::test]
async fn three_hundred_backends_get_everything_once() {
    check(Scenario::Dns300, &[]).await;
}

#[tokio::test]
async fn five_backends_become_eight_and_three_without_loss() {
    // From 8 to 3 is a large shrink, which waits.
    check(Scenario::Scale, &["exporters::loadbalancing::resolver::dns::shrink_hold=1s"]).await;
}

#[tokio::test]
async fn backends_that_are_all_away_find_everything_when_they_are_back() {
    check(Scenario::AllAway, &[]).await;
}
