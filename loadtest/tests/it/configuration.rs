//! What `validate` accepts and what it says of mistakes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use loadtest::testbed::binaries::workspace;
use loadtest::testbed::process::Tier;

use crate::common::binaries;

/// Exit code and standard error of `validate` for configurations that lie over each other.
async fn validate(tier: Tier, configs: &[&Path]) -> (Option<i32>, String) {
    let binaries = binaries().await;
    let binary = match tier {
        Tier::Edge => binaries.edge,
        Tier::Backend => binaries.backend,
    };
    let output = tokio::process::Command::new(binary)
        .arg("validate")
        .args(configs.iter().flat_map(|config| [Path::new("--config"), config]))
        .env("TAILRACE_HOST", "127.0.0.1")
        .env("TAILRACE_ADMIN_HOST", "127.0.0.1")
        .env("TAILRACE_DESTINATION", "127.0.0.1:4317")
        .env("TAILRACE_DECISION_WAIT", "1s")
        .env("TAILRACE_POLICIES", include_str!("../../bench/policies-ten.json"))
        .env("TAILRACE_BUFFER_COMPRESSION", "lz4")
        .env("TAILRACE_MAX_BUFFER_BYTES", "1000000")
        .env("TAILRACE_FLUSH_INTERVAL", "2s")
        .env("TAILRACE_METRICS_TO", "prometheus")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn five_mistakes_get_five_errors_in_one_run() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("edge.yaml");
    let text = "\
receivers:
  otlp:
    protocols:
      grpc:
        max_recv_msg_size_mb: 16
exporters:
  loadbalancing:
    routing_key: trace
    protocol:
      otlp:
        timeout: 5 parsecs
    resolver:
      dns:
        port: 4317
service:
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [loadbalancer]
";
    std::fs::write(&config, text).unwrap();
    let (code, errors) = validate(Tier::Edge, &[&config]).await;
    assert_eq!(code, Some(64), "{errors}");
    for (path, line) in [
        ("receivers::otlp::protocols::grpc::max_recv_msg_size_mb", 5),
        ("exporters::loadbalancing::routing_key", 8),
        ("exporters::loadbalancing::protocol::otlp::timeout", 11),
        ("exporters::loadbalancing::resolver::dns", 13),
        ("service::pipelines::traces", 19),
    ] {
        let error = errors.lines().find(|error| error.contains(path));
        let error = error.unwrap_or_else(|| panic!("nothing is said of {path}:\n{errors}"));
        assert!(error.contains(&format!(":{line}")), "{error}");
    }
}

#[tokio::test]
async fn every_configuration_of_ours_is_valid() {
    let at = |path: &str| -> PathBuf { workspace().join(path) };
    for (tier, path) in [
        (Tier::Edge, at("deploy/config/edge.yaml")),
        (Tier::Backend, at("deploy/config/backend.yaml")),
        (Tier::Edge, at("deploy/config/edge-span-metrics.yaml")),
        (Tier::Backend, at("deploy/config/backend-span-metrics.yaml")),
        (Tier::Backend, at("loadtest/src/measure/backend.yaml")),
        (Tier::Backend, at("loadtest/src/measure/plain.yaml")),
        (Tier::Backend, at("loadtest/src/measure/span-metrics.yaml")),
        (Tier::Backend, at("loadtest/src/soak/backend.yaml")),
    ] {
        let (code, errors) = validate(tier, &[&path]).await;
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{}", path.display());
    }
}

#[tokio::test]
async fn every_sample_of_the_documentation_fits_into_our_configuration() {
    let directory = tempfile::tempdir().unwrap();
    for (tier, base, page) in [
        (Tier::Edge, "edge", "configuration"),
        (Tier::Edge, "edge", "load-balancing"),
        (Tier::Edge, "edge", "authentication"),
        (Tier::Backend, "backend", "tail-sampling"),
        (Tier::Backend, "backend", "span-metrics"),
        (Tier::Backend, "backend-span-metrics", "fleet-metrics"),
        (Tier::Edge, "edge-span-metrics", "connectors"),
        (Tier::Backend, "backend", "connectors"),
        (Tier::Backend, "backend", "prometheus"),
    ] {
        let base = workspace().join(format!("deploy/config/{base}.yaml"));
        let text = std::fs::read_to_string(workspace().join(format!("docs/{page}.md"))).unwrap();
        let samples: Vec<&str> = text
            .split("```yaml\n")
            .skip(1)
            .map(|behind| behind.split("```").next().unwrap_or_default())
            .collect();
        assert!(!samples.is_empty(), "{page} has no sample");
        for (number, sample) in samples.iter().enumerate() {
            let config = directory.path().join(format!("{page}-{number}.yaml"));
            std::fs::write(&config, sample).unwrap();
            let (code, errors) = validate(tier, &[&base, &config]).await;
            assert_eq!((code, errors.as_str()), (Some(0), ""), "{page}");
        }
    }
}
