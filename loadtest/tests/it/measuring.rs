//! `loadtest measure`, with little work.
//!
//! The claims are about what was sent, judged and exported, never about time.

use std::process::Output;

use crate::common::binaries;

/// Runs `loadtest measure`; what it said, and whether it counts.
async fn measure(arguments: &[&str]) -> (bool, String) {
    let found = binaries().await;
    let Output { status, stdout, stderr } =
        tokio::process::Command::new(env!("CARGO_BIN_EXE_loadtest"))
            .arg("measure")
            .args(arguments)
            .arg("--edge-bin")
            .arg(found.edge)
            .arg("--backend-bin")
            .arg(found.backend)
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
    (status.success(), String::from_utf8_lossy(&[stderr, stdout].concat()).into_owned())
}

/// The value in the report's row of this label.
fn value<'r>(report: &'r str, label: &str) -> &'r str {
    let mut rows = report.lines().map(str::trim);
    let row = rows.find_map(|line| line.strip_prefix(label));
    row.unwrap_or_else(|| panic!("no {label:?} in {report}")).trim()
}

#[tokio::test]
async fn a_steady_backend_is_measured_while_it_judges_and_against_the_oracle() {
    let work = ["backend", "--steady", "--spans", "10000", "--rounds", "2"];
    let (mut is_good, mut said) = measure(&work).await;
    if std::thread::available_parallelism().unwrap().get() == 1 {
        assert!(!is_good && said.contains("measuring needs two cores"), "{said}");
        return;
    }
    // The backend judges by the clock: on a machine that stood still for two seconds a trace was
    // judged on a part of it, and the measurement says so.
    for _ in 0..2 {
        if said.contains("the measurement does not count") {
            (is_good, said) = measure(&work).await;
        }
    }
    assert!(is_good, "{said}");
    assert!(said.contains("three policies, 512 spans") && said.contains("judging after 2 s"));
    for round in ["round 1: ", "round 2: "] {
        assert!(value(&said, round).contains("CPU-s a million spans"), "{said}");
    }
    assert!(value(&said, "exported").ends_with("as the oracle says"), "{said}");
    assert!(value(&said, "rounds").starts_with('2'), "{said}");
    // Three rounds' worth ahead of the two; requests are whole, so a few spans more.
    let sum = value(&said, "ok      every span is accounted for");
    let sent: u64 = sum.split(' ').next().unwrap().replace(',', "").parse().unwrap();
    assert!((50_000..60_000).contains(&sent), "{said}");
    assert!(sum.ends_with("+ 0 lost + 0 held"), "{said}");
}

#[tokio::test]
async fn only_a_backend_can_be_measured_while_it_judges() {
    let (is_good, said) = measure(&["edge", "--steady"]).await;
    assert!(!is_good && said.contains("--steady is for the backend only"), "{said}");
}
