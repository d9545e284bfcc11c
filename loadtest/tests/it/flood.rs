//! Floods, in a short form of `loadtest flood`.
//!
//! The claims are about whether the well-behaved client got through and how much memory the edge
//! used, never about time.

use std::time::Duration;

use loadtest::flood::{Flood, Options, run};

use crate::common::binaries;

async fn check(floods: Vec<Flood>) {
    let options = Options {
        floods,
        connections: 1_000,
        hold: Duration::from_secs(3),
        requests: 10_000,
        resets: 20_000,
        bombs: 200,
        rate: 500,
        memory_limit_mib: 256,
        settings: Vec::new(),
        binaries: binaries().await,
    };
    let report = run(options).await.unwrap();
    report.print();
    assert!(report.holds(), "{} claims do not hold, see above", report.failures());
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_connections_do_not_disturb_a_client_that_behaves() {
    check(vec![Flood::Slow]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_requests_and_frames_do_not_disturb_a_client_that_behaves() {
    check(vec![Flood::OneSpan, Flood::Resets, Flood::Bombs]).await;
}
