//! A process from its start to its end: signals, and new configurations.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::cli::App;
use super::model::Model;
use super::reload::Reloaded;
use super::run::{Outcome, Running};
use super::watch::Watch;
use crate::clock;
use crate::config::{Document, Problems};
use crate::metric_set;
use crate::telemetry::Identity;
use crate::telemetry::admin::{Answers, NoAnswer};
use crate::telemetry::metrics::Descriptor;

/// What is counted here.
pub const DESCRIPTORS: &[&[Descriptor]] = &[ReloadMetrics::DESCRIPTORS, LastReload::DESCRIPTORS];

metric_set! {
    /// New configurations.
    struct ReloadMetrics ["outcome"];
    /// Number of times that a new configuration was read while the process ran: it was put in force (applied), said nothing new (unchanged), differs in what only a restart can change (restart), or is wrong (invalid).
    reloads: Counter = "otelcol_config_reloads", "{reload}";
}

metric_set! {
    /// The configuration in force.
    struct LastReload [];
    /// 1 if the configuration in force is what its sources said when they were last read, else 0.
    successful: Gauge = "otelcol_config_last_reload_successful", "1";
}

/// What the command line says of the process.
pub(super) struct Options {
    /// How long what is held may take to be sent at the end.
    pub(super) shutdown_timeout: Duration,
    /// Where the bound addresses are written.
    pub(super) ports_file: Option<PathBuf>,
    /// Feature gates that were given and change nothing.
    pub(super) idle_gates: Vec<String>,
}

/// Runs `model` until a signal comes.
pub(super) async fn serve(
    app: &App,
    model: &Model,
    mut watch: Watch,
    options: &Options,
) -> Result<Outcome, String> {
    let mut signals =
        Signals::new().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let identity = Identity {
        name: app.name.to_owned(),
        version: app.version.to_owned(),
        instance: String::new(),
    };
    let mut running = Running::start(model, &identity, &app.descriptors)
        .await
        .map_err(|error| error.to_string())?;
    for gate in &options.idle_gates {
        info!(gate, "the feature gate changes nothing here");
    }
    if let Some(file) = &options.ports_file {
        write_ports(&running, file)
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    let reloads = Reloads::new(&running);
    info!("everything is ready");

    loop {
        let document = tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => break,
                Asked::Reload => watch.load().await,
            },
            document = watch.changed() => {
                info!("the configuration has changed");
                document
            }
        };
        reloads.reload(app, &mut running, document);
    }
    let deadline = clock::now() + options.shutdown_timeout;
    tokio::select! {
        outcome = running.stop(deadline) => Ok(outcome),
        () = signals.stop() => Err("a second signal came, what was held is lost".to_owned()),
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Stop,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    async fn next(&mut self) -> Asked {
        let (name, asked) = tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", Asked::Stop),
            _ = self.interrupt.recv() => ("SIGINT", Asked::Stop),
            _ = self.hang_up.recv() => ("SIGHUP", Asked::Reload),
        };
        info!(signal = name, "received signal from os");
        asked
    }

    /// Waits for the next request to stop.
    async fn stop(&mut self) {
        while self.next().await != Asked::Stop {}
    }
}

/// Puts new configurations in force, and counts them.
struct Reloads {
    applied: ReloadMetrics,
    unchanged: ReloadMetrics,
    needs_restart: ReloadMetrics,
    invalid: ReloadMetrics,
    last: LastReload,
    story: Arc<Story>,
    /// Answers operators for as long as it is held.
    _answers: Arc<dyn Answers>,
}

/// What became of the last new configuration, for operators.
#[derive(Default)]
struct Story(Mutex<Option<Value>>);

#[async_trait]
impl Answers for Story {
    async fn answer(&self, about: &str) -> Result<Value, NoAnswer> {
        match about {
            "reload" => {
                let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(last.clone().unwrap_or_else(|| json!({"outcome": "none"})))
            }
            _ => Err(NoAnswer::Malformed("only \"reload\" can be asked for".into())),
        }
    }
}

impl Reloads {
    fn new(running: &Running) -> Self {
        let story = Arc::<Story>::default();
        let answers: Arc<dyn Answers> = Arc::<Story>::clone(&story);
        running.admin().add("/api/config", &answers);
        let of = |outcome| ReloadMetrics::new(&[("outcome", outcome)]);
        let last = LastReload::new(&[]);
        last.successful.set(1.0);
        Self {
            applied: of("applied"),
            unchanged: of("unchanged"),
            needs_restart: of("restart"),
            invalid: of("invalid"),
            last,
            story,
            _answers: answers,
        }
    }

    /// Puts a configuration in force if it is right; tells of it in any case. Who sees the last log
    /// line finds the outcome in the metrics and in the answers about reloads.
    fn reload(&self, app: &App, running: &mut Running, document: Result<Document, Problems>) {
        let model = match document.and_then(|document| Model::read(document, &app.registry)) {
            Ok(model) => model,
            Err(problems) => {
                for problem in problems.errors() {
                    error!(%problem, "the new configuration is wrong");
                }
                let told: Vec<String> = problems.errors().iter().map(ToString::to_string).collect();
                self.note(&self.invalid, 0.0, json!({"outcome": "invalid", "problems": told}));
                let problems = problems.errors().len();
                error!(problems, "the new configuration was not put in force, nothing changed");
                return;
            }
        };
        match running.reload(&model) {
            Reloaded::Unchanged => {
                self.note(&self.unchanged, 1.0, json!({"outcome": "unchanged"}));
                info!("the configuration says what is in force already");
            }
            Reloaded::Applied(paths) => {
                for warning in &model.warnings {
                    warn!("{warning}");
                }
                self.note(&self.applied, 1.0, json!({"outcome": "applied", "changed": paths}));
                info!(changed = paths.join(" "), "the new configuration is in force");
            }
            Reloaded::NeedsRestart(paths) => {
                for path in &paths {
                    warn!(path, "cannot change while the process runs");
                }
                self.note(&self.needs_restart, 0.0, json!({"outcome": "restart", "fixed": paths}));
                warn!("the new configuration needs a restart, nothing changed");
            }
        }
    }

    fn note(&self, outcome: &ReloadMetrics, successful: f64, mut told: Value) {
        told["at"] = clock::rfc3339(clock::unix_ns()).into();
        *self.story.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        outcome.reloads.increment(1);
        self.last.successful.set(successful);
    }
}

/// Writes all bound addresses in one step, so that who waits for the file never sees half of it.
fn write_ports(running: &Running, file: &Path) -> std::io::Result<()> {
    let addresses: serde_json::Map<String, Value> = running
        .addresses()
        .into_iter()
        .map(|(path, bound)| (path, bound.iter().map(ToString::to_string).collect()))
        .collect();
    let unfinished = file.with_extension("tmp");
    std::fs::write(&unfinished, Value::from(addresses).to_string())?;
    std::fs::rename(&unfinished, file)
}
