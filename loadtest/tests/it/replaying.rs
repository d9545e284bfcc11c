//! What `backend replay` makes of recorded traffic.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use loadtest::ledger::Detail;
use loadtest::oracle::Policies;
use loadtest::plan::Plan;
use loadtest::sink::Sink;
use loadtest::tape::Tape;
use loadtest::testbed::address;
use loadtest::testbed::binaries::workspace;
use loadtest::testbed::cluster::{Shape, client};
use loadtest::testbed::process::GRPC;
use serde_json::Value;
use shared::config::Compression;

use crate::common::{binaries, load, send, settle, start, stop};

/// Far longer than sending takes on a busy machine: no span may come late.
const WAIT: Duration = Duration::from_secs(20);

async fn record(file: &Path, plan: Plan, policies: Policies) {
    let tape = Tape::create(file).unwrap();
    let listen = (address::unique(), GRPC).into();
    let sink = Sink::record(listen, Detail::Traces, &tape).await.unwrap();
    let target = client(sink.address(), Compression::None).unwrap();
    send(load(vec![target]), plan, policies).await;
    sink.stop().await;
    assert!(tape.finish().unwrap().0 > 0);
}

async fn replay(arguments: &[&str]) -> Output {
    let config = workspace().join("deploy/config/backend.yaml");
    let mut command = tokio::process::Command::new(binaries().await.backend);
    command.arg("replay").arg("--config").arg(config).args(arguments);
    command.arg(format!("--set=processors::tail_sampling::decision_wait={}s", WAIT.as_secs()));
    command.output().await.unwrap()
}

#[track_caller]
fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn hex(id: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

#[tokio::test]
async fn a_replay_decides_as_the_live_run_did() {
    let (plan, policies) = (Plan::new(71, 500), Policies::of_sample_config());
    let cluster = start(Shape { decision_wait: WAIT, ..Shape::unique(0, 1) }).await;
    let target = client(cluster.backends[0].at(GRPC), Compression::None).unwrap();
    let truth = send(load(vec![target]), plan.clone(), policies.clone()).await;
    settle(&cluster).await;
    let live: BTreeSet<String> = cluster.sink.ledger().traces().into_keys().map(hex).collect();
    stop(cluster).await;

    let directory = tempfile::tempdir().unwrap();
    let [file, verdicts] = ["all.otlp.gz", "verdicts.json"].map(|name| directory.path().join(name));
    record(&file, plan, policies.clone()).await;
    let [file, verdicts] = [file.to_str().unwrap(), verdicts.to_str().unwrap()];
    let output = replay(&["--input", file, "--verdicts", verdicts, "--format", "json"]).await;
    let replayed = report(&output);
    let kept: BTreeSet<String> = std::fs::read_to_string(verdicts)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|verdict| verdict["decision"] == "sampled")
        .map(|verdict| verdict["trace_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kept, live);
    assert_eq!(replayed["input"]["spans"], truth.spans);
    assert_eq!(replayed["results"][0]["traces"], truth.traces.len());
    assert_eq!(replayed["results"][0]["sampled"], live.len());

    // Without any policy but the errors', what the others kept is lost, and nothing else changes.
    let errors = "yaml:{receivers: {otlp: {protocols: {grpc: {}}}}, exporters: {debug: {}}, \
        processors: {tail_sampling: {decision_wait: 20s, policies: [{name: errors, \
        type: status_code, status_code: {status_codes: [ERROR]}}]}}, \
        service: {pipelines: {traces: {receivers: [otlp], processors: [tail_sampling], \
        exporters: [debug]}}}}";
    let compared =
        report(&replay(&["--input", file, "--compare", errors, "--format", "json"]).await);
    let failed = &compared["results"][1]["sampled"];
    assert_eq!(*failed, compared["results"][0]["policies"][0]["sampled"]["traces"]);
    let changes = &compared["changes"];
    assert_eq!(changes["compared"], truth.traces.len());
    assert_eq!(changes["gained"]["traces"], 0);
    let lost = live.len() as u64 - failed.as_u64().unwrap();
    assert_eq!(changes["lost"]["traces"], lost);
    assert_eq!(changes["listed"].as_array().map(Vec::len), Some(lost.min(20) as usize));
    assert_eq!(changes["listed"][0]["after"], "wanted by no policy");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("broken.json");
    std::fs::write(&file, "{\"resourceSpans\":[]}\n{\"resourceSpans\":7}\n").unwrap();
    let output = replay(&["--input", file.to_str().unwrap()]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("broken.json: message 2 is no OTLP/JSON: "), "{said}");
}
