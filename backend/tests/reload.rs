//! The real binary changes its policies while traces wait.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal as UnixSignal, kill};
use nix::unistd::Pid;
use shared::config::{ClientTlsConfig, GrpcClientConfig};
use shared::otlp::recorded::Recorded;
use shared::queue::Sender as _;
use shared::service::Commons;
use shared::transport::grpc::client::GrpcClient;
use shared::wire::{ResourceEntry, ScopeEntry, Span, Writer, resources};
use shared::{Batch, Signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

const SLOW: &str = "{name: slow, type: latency, latency: {threshold_ms: 1000000}}";
const ALL: &str = "{name: all, type: always_sample}";

struct Backend {
    directory: tempfile::TempDir,
    process: Child,
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Backend {
    /// A backend that keeps what takes 1000 seconds, and writes it into a file.
    async fn start(watch: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.yaml"), "").unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        configure(directory.path(), "1h", SLOW);
        let process = Command::new(env!("CARGO_BIN_EXE_backend"))
            .current_dir(directory.path())
            .args(["--config=config.yaml", "--ports-file=ports", "--watch-config", watch])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let backend = Self { directory, process };
        backend.until("it is ready", |backend| backend.path("ports").exists()).await;
        backend
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn signal(&self, signal: UnixSignal) {
        kill(Pid::from_raw(self.process.id().try_into().unwrap()), signal).unwrap();
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let log = std::fs::read_to_string(self.path("log")).unwrap();
            panic!("waited in vain until {what}\n{log}");
        }
    }

    /// Waits until a line of the log has this text.
    async fn until_logged(&self, text: &str) {
        let logged =
            |backend: &Self| std::fs::read_to_string(backend.path("log")).unwrap().contains(text);
        self.until(text, logged).await;
    }

    fn address(&self, component: &str) -> String {
        let ports = std::fs::read_to_string(self.path("ports")).unwrap();
        let ports: serde_json::Value = serde_json::from_str(&ports).unwrap();
        ports[component][0].as_str().unwrap().to_owned()
    }

    /// What the port of the metrics answers, head and all.
    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address("service::telemetry")).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Sends traces of one span, each with a number.
    async fn send(&self, numbers: std::ops::Range<u8>) {
        let tls = ClientTlsConfig { insecure: true, ..ClientTlsConfig::default() };
        let config = GrpcClientConfig { tls, ..GrpcClientConfig::default() };
        let endpoint = self.address("receivers::otlp");
        let client = GrpcClient::new(&config, &endpoint, &Commons::default()).unwrap();
        let mut writer = Writer::new();
        writer.message(1, |entry| {
            entry.message(2, |scope| {
                for number in numbers {
                    scope.message(2, |span| {
                        span.bytes(1, &[number; 16]);
                        span.bytes(2, &[number; 8]);
                    });
                }
            });
        });
        let batch = Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap();
        client.send(batch).await.unwrap();
    }

    /// The numbers of all spans in the file, none of them twice.
    fn kept(&self) -> BTreeSet<u8> {
        let mut kept = BTreeSet::new();
        // The last message may be half written.
        let whole = Recorded::open(&self.path("spans.otlp"), Signal::Traces).unwrap();
        for batch in whole.map_while(Result::ok) {
            let scopes = resources(batch.bytes()).flat_map(ResourceEntry::scopes);
            for span in scopes.flat_map(ScopeEntry::records).map(Span::read) {
                assert!(kept.insert(span.trace_id[0]), "{kept:?} and again");
            }
        }
        kept
    }
}

fn configure(directory: &Path, wait: &str, policy: &str) {
    let config = format!(
        "
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: 127.0.0.1:0}}}}}}}}
processors: {{tail_sampling: {{decision_wait: {wait}, policies: [{policy}]}}}}
exporters: {{file: {{path: spans.otlp, format: proto, flush_interval: 50ms}}}}
service:
  telemetry:
    metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: 0}}}}}}}}]}}
  pipelines: {{traces: {{receivers: [otlp], processors: [tail_sampling], exporters: [file]}}}}
"
    );
    std::fs::write(directory.join("config.yaml"), config).unwrap();
}

#[tokio::test]
async fn buffered_traces_are_judged_by_the_policies_that_sighup_brings() {
    let mut backend = Backend::start("0s").await;
    backend.send(1..40).await;

    configure(backend.directory.path(), "1s", "{name: all, type: always_simple}");
    backend.signal(UnixSignal::SIGHUP);
    backend.until_logged("the new configuration was not put in force, nothing changed").await;
    backend.until_logged("processors::tail_sampling::policies::0::type").await;

    let told = backend.get("/api/config/reload").await;
    assert!(told.contains("\"outcome\": \"invalid\"") && told.contains("always_simple"), "{told}");
    let page = backend.get("/metrics").await;
    assert!(page.contains("otelcol_config_reloads{outcome=\"invalid\"} 1"), "{page}");
    assert!(page.contains("otelcol_config_last_reload_successful 0"), "{page}");

    configure(backend.directory.path(), "100ms, num_traces: 0", ALL);
    backend.signal(UnixSignal::SIGHUP);
    backend.until_logged("processors::tail_sampling::num_traces: must be above 0").await;

    configure(backend.directory.path(), "100ms, dry_run: true", ALL);
    backend.signal(UnixSignal::SIGHUP);
    backend.until_logged("the new configuration needs a restart, nothing changed").await;
    backend.send(40..50).await;
    assert_eq!(backend.kept(), BTreeSet::new());

    configure(backend.directory.path(), "100ms", ALL);
    backend.signal(UnixSignal::SIGHUP);
    backend.until_logged("the new configuration is in force").await;
    backend.until("buffered traces are kept", |backend| backend.kept().len() == 49).await;
    assert_eq!(backend.kept(), (1..50).collect());

    // And back, for traces that come then.
    configure(backend.directory.path(), "1h", SLOW);
    backend.signal(UnixSignal::SIGHUP);
    let in_force = "the new configuration is in force";
    let twice = |backend: &Backend| {
        std::fs::read_to_string(backend.path("log")).unwrap().matches(in_force).count() == 2
    };
    backend.until("the second change is in force", twice).await;
    backend.send(50..60).await;
    backend.signal(UnixSignal::SIGTERM);
    assert!(backend.process.wait().unwrap().success());
    assert_eq!(backend.kept(), (1..50).collect());
}

#[tokio::test]
async fn an_edited_file_is_put_in_force_without_a_signal() {
    let backend = Backend::start("50ms").await;
    backend.send(1..5).await;
    configure(backend.directory.path(), "100ms", ALL);
    backend.until("buffered traces are kept", |backend| backend.kept().len() == 4).await;
    assert_eq!(backend.kept(), (1..5).collect());
}
