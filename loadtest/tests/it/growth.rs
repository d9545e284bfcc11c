//! `loadtest bench growth`, `bench plot`, and the open loop of `bench edge`, each with little work.
//!
//! The claims are about what was sent, what arrived and what was drawn, never about time.

use std::path::Path;

use loadtest::bench::growth::{Dimension, Growth};
use loadtest::bench::results::{Results, Side};
use loadtest::bench::yardstick::Yardstick;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::common::binaries;

/// Runs `loadtest bench` to a good end.
async fn bench(arguments: &[&str]) -> String {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg("bench")
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn read<T: DeserializeOwned>(file: &Path) -> T {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn place(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

fn drawings(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter(|name| name.rsplit('.').next() == Some("svg")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn growth_is_measured_step_by_step_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let found = binaries().await;
    let (edge, backend) = (found.edge.to_str().unwrap(), found.backend.to_str().unwrap());
    let output = place(&folder, "growth");
    let own = ["growth", "--edge-bin", edge, "--backend-bin", backend, "--output", &output];
    let work = ["--spans", "2000", "--rounds", "2", "--most", "10"];
    let only = ["--only", "clients", "--only", "live-traces", "--only", "services"];
    let said = bench(&[&own[..], &work, &only].concat()).await;
    let growth: Growth = read(&folder.path().join("growth/growth.json"));
    let steps: Vec<(Dimension, Vec<u64>)> = growth
        .growth
        .iter()
        .map(|curve| (curve.dimension, curve.steps.iter().map(|step| step.count).collect()))
        .collect();
    let expected = [
        (Dimension::Clients, vec![1, 10]),
        // The first step is measured however many there are at it.
        (Dimension::LiveTraces, vec![1_000]),
        (Dimension::Services, vec![16]),
    ];
    assert_eq!(steps, expected, "{said}");
    for step in growth.growth.iter().flat_map(|curve| &curve.steps) {
        assert!(step.cpu.min > 0.0 && step.cpu.min <= step.cpu.max, "{step:?}");
        assert!(step.start_rss_bytes > 1 << 20 && step.rss_bytes > 1 << 20, "{step:?}");
    }
    let plots = drawings(Path::new(&output));
    let names = ["clients", "live-traces", "services"];
    let expected =
        names.map(|name| [format!("growth-{name}-memory.svg"), format!("growth-{name}.svg")]);
    assert_eq!(plots, expected.concat(), "{said}");
}

#[tokio::test]
async fn an_edge_has_its_latency_and_its_limits_and_both_are_drawn_again() {
    let folder = tempfile::tempdir().unwrap();
    let found = binaries().await;
    let (edge, backend) = (found.edge.to_str().unwrap(), found.backend.to_str().unwrap());
    let (output, requests) = (place(&folder, "results"), place(&folder, "requests"));
    let own = ["edge", "--edge-bin", edge, "--backend-bin", backend];
    let work = ["--spans", "2000", "--rounds", "1", "--yardsticks", "1", "--layout", "shared"];
    let open_loop = ["--rate", "20000", "--rate", "10000", "--window", "400ms"];
    let places = ["--idle", "0s", "--output", &output, "--requests", &requests];
    let said = bench(&[&own[..], &work, &open_loop, &places].concat()).await;
    let file = folder.path().join("results/results.json");
    let results: Results = read(&file);
    let case = &results.cases[0];
    let rates: Vec<u64> = case.latency.iter().map(|of| of.run.rate).collect();
    assert_eq!(rates, [10_000, 20_000], "{said}");
    for of in &case.latency {
        assert_eq!((of.side, of.run.failed), (Side::Sut, 0), "{said}");
        assert!(of.run.requests > 0 && of.run.p50_us <= of.run.max_us, "{said}");
        // A busy machine makes the loader late, and nothing else may be wrong.
        let is_lateness = |reason: &String| reason.ends_with("after their time");
        assert!(of.run.void.iter().all(is_lateness), "{said}");
    }
    let yardsticks: Vec<Yardstick> = case.limits.iter().map(|limit| limit.yardstick).collect();
    assert_eq!(yardsticks, Yardstick::ALL, "{said}");
    assert!(said.contains("times raw TCP, "), "{said}");
    let plots = ["cpu.svg", "latency-512-shared.svg", "memory-512-shared.svg"];
    assert_eq!(drawings(Path::new(&output)), plots, "{said}");

    let again = place(&folder, "again");
    bench(&["plot", "--from", file.to_str().unwrap(), "--output", &again]).await;
    assert_eq!(drawings(Path::new(&again)), plots);
    let drawn = |folder: &str| std::fs::read(Path::new(folder).join("cpu.svg")).unwrap();
    assert_eq!(drawn(&output), drawn(&again));
}
