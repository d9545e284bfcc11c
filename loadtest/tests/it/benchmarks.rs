//! `loadtest bench`: it measures gateways that do their work, and is not fooled by others.

use std::path::{Path, PathBuf};

use loadtest::bench::results::{Fidelity, Layout, Results, Side};
use loadtest::testbed::binaries::workspace;
use tempfile::TempDir;

use crate::common::binaries;

/// What a run said: its exit code's verdict, and its results.
struct Run {
    is_valid: bool,
    results: Results,
    said: String,
}

/// Runs `loadtest bench` with little work.
async fn bench(folder: &TempDir, arguments: &[&str]) -> Run {
    let output = folder.path().join("results");
    let ended = tokio::process::Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg("bench")
        .args(arguments)
        .args(["--layout", "shared", "--idle", "0s"])
        .arg("--requests")
        .arg(folder.path().join("requests"))
        .arg("--output")
        .arg(&output)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = [ended.stderr, ended.stdout].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let json = std::fs::read(output.join("results.json"));
    let json = json.unwrap_or_else(|error| panic!("{error}\n{said}"));
    let results = serde_json::from_slice(&json).unwrap();
    Run { is_valid: ended.status.success(), results, said }
}

fn template(name: &str) -> PathBuf {
    workspace().join("loadtest/bench").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn command(binary: &Path) -> String {
    format!("'{}' --config {{config}}", text(binary))
}

#[tokio::test]
async fn a_benchmark_compares_an_edge_with_itself_under_the_collectors_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let edge = command(&binaries().await.edge);
    let (ours, theirs) = (template("tailrace-edge.yaml"), template("otelcol-edge.yaml"));
    let sut = ["--sut", &edge, "--sut-config", text(&ours), "--sut-name", "ours"];
    let peer = ["--peer", &edge, "--peer-config", text(&theirs), "--peer-name", "theirs"];
    let work =
        ["--spans", "3000", "--rounds", "2", "--panel", "collector-order", "--panel", "gzip"];
    let Run { is_valid, results, said } =
        bench(&folder, &[&["edge"][..], &sut, &peer, &work].concat()).await;
    assert!(is_valid && results.is_valid(), "{said}");
    assert_eq!(results.cases.len(), 2);
    for case in &results.cases {
        assert_eq!(case.layout, Layout::Shared);
        let order: Vec<(Side, usize)> = case.rounds.iter().map(|r| (r.side, r.pair)).collect();
        let expected = [(Side::Sut, 0), (Side::Peer, 0), (Side::Peer, 1), (Side::Sut, 1)];
        assert_eq!(order, expected);
        for round in &case.rounds {
            assert_eq!(round.gate.fidelity, Fidelity::Bytes);
            assert_eq!(round.gate.received_spans, round.spans);
            assert_eq!(round.inbound.requests, 6);
            assert!(round.spans >= 3000 && round.outbound.requests >= 5);
            assert!(round.usage.cpu_seconds() > 0.0 && round.usage.peak_rss_bytes > 1 << 20);
            let is_packed = case.panel == "gzip";
            assert_eq!(round.inbound.wire_bytes < round.inbound.bytes, is_packed);
            assert_eq!(round.outbound.wire_bytes < round.outbound.bytes, is_packed);
        }
        assert_eq!(case.comparison.as_ref().unwrap().cpu_pairs.len(), 2);
        assert_eq!(case.summaries[0].rounds, 2);
    }
    assert!(results.gateways.iter().all(|gateway| gateway.programs[0].version.contains("edge")));
    assert!(said.contains("theirs : ours"), "{said}");
}

#[tokio::test]
async fn a_gateway_that_cheats_is_voided() {
    let folder = tempfile::tempdir().unwrap();
    let edge = command(&binaries().await.edge);
    let honest = std::fs::read_to_string(template("tailrace-edge.yaml")).unwrap();
    let drops = honest
        .replace(
            "\nexporters:",
            "\nprocessors: {filter: {traces: {span: ['kind.string == \"Server\"']}}}\n\nexporters:",
        )
        .replace("receivers: [otlp]\n", "receivers: [otlp]\n      processors: [filter]\n");
    let splits = honest.replace("routing_key: traceID", "routing_key: service");
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (drops, splits) = (write("drops.yaml", drops), write("splits.yaml", splits));
    let sut = ["--sut", &edge, "--sut-config", text(&drops), "--sut-name", "dropper"];
    let peer = ["--peer", &edge, "--peer-config", text(&splits), "--peer-name", "splitter"];
    // So many backends that services are spread over them, wherever they are.
    let work = ["--spans", "2000", "--rounds", "1", "--patience", "1s", "--backends", "12"];
    let Run { is_valid, results, said } =
        bench(&folder, &[&["edge"][..], &sut, &peer, &work].concat()).await;
    assert!(!is_valid && !results.is_valid(), "{said}");
    let case = &results.cases[0];
    assert!(case.comparison.is_none() && case.summaries.iter().all(|side| side.rounds == 0));
    let dropped = case.rounds[0].gate.failures[0].as_str();
    assert!(dropped.contains("spans arrived, not 2,"), "{dropped}");
    let split = case.rounds[1].gate.failures[0].as_str();
    assert!(split.starts_with("traces were split: "), "{split}");
    assert!(said.contains("VOID  dropper: no round counts"), "{said}");
}

/// Runs `loadtest bench` with policies. Backends judge by the clock: on a machine so slow that the
/// load outlasts the wait, once more with a longer one.
async fn bench_with_policies(folder: &TempDir, arguments: &[&str]) -> Run {
    for (wait, seconds) in [("1500ms", 1.5), ("20s", 20.0)] {
        let work = ["--spans", "3000", "--rounds", "1", "--decision-wait", wait];
        let run = bench(folder, &[arguments, &work].concat()).await;
        if run.results.cases[0].rounds[0].seconds < seconds {
            return run;
        }
    }
    panic!("3,000 spans took 20 s");
}

#[tokio::test]
async fn both_tiers_are_measured_as_one_against_the_oracle() {
    let folder = tempfile::tempdir().unwrap();
    let found = binaries().await;
    let (edge, backend) = (command(&found.edge), command(&found.backend));
    let sut = ["tiers", "--sut", &edge, "--sut-backend", &backend];
    let shape = ["--backends", "2", "--panel", "ten"];
    let Run { is_valid, results, said } =
        bench_with_policies(&folder, &[&sut[..], &shape].concat()).await;
    assert!(is_valid, "{said}");
    let round = &results.cases[0].rounds[0];
    assert_eq!(round.gate.fidelity, Fidelity::Bytes);
    assert!(round.gate.received_spans > 0 && round.gate.received_spans < round.spans / 4);
    assert_eq!(round.usage.held_bytes_per_span, None, "it is that of a backend alone");
    assert_eq!(results.gateways[0].programs.len(), 2);
}

#[tokio::test]
async fn a_backend_keeps_what_the_oracle_says_under_the_collectors_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let backend = command(&binaries().await.backend);
    let theirs = template("otelcol-backend.yaml");
    let sut = ["backend", "--sut", &backend, "--sut-config", text(&theirs)];
    let Run { is_valid, results, said } =
        bench_with_policies(&folder, &[&sut[..], &["--panel", "span-metrics"]].concat()).await;
    assert!(is_valid, "{said}");
    let round = &results.cases[0].rounds[0];
    assert_eq!(round.gate.received_traces, round.gate.expected_traces);
    assert!(round.usage.held_bytes_per_span.is_some_and(|held| held > 100.0), "{round:?}");
    assert!(!round.memory.is_empty());
}
