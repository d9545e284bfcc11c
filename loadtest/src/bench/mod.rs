//! `loadtest bench`: what any OTLP gateway costs for fixed work, alone or beside another.
//!
//! ```text
//! requests, made once ─→ loader ─→ gateway ─→ sinks ─→ gate: did the work get done?
//!                                   │ /proc
//!                                   └─→ CPU, memory, switches ─→ results.json, table, plots
//! ```
//! Gateways are black boxes: a command that is told where to listen and where to send to. Two of
//! them work in turns, A B, then B A, and what is compared are rounds that followed each other, since
//! the machine's own speed changes by more than most gateways differ. A round counts only if the
//! work was done: every span arrived once, unchanged, and each trace at one place.

mod case;
mod chart;
mod cli;
mod content;
pub mod cpu;
mod deployment;
mod gateway;
pub mod growth;
pub mod latency;
mod limits;
mod loader;
mod machine;
mod manifest;
mod memory;
mod open_loop;
mod panel;
mod payload;
pub mod plot;
pub mod results;
mod round;
mod sinks;
pub(crate) mod spread;
mod summary;
mod table;
mod tally;
mod template;
mod tree;
pub mod yardstick;

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

pub use cli::BenchCommand;

use crate::progress::say;
use crate::testbed::TestbedError;
use crate::testbed::binaries::Binaries;
use crate::testbed::cores::Cores;
use case::Bench;
use cli::{BackendArguments, EdgeArguments, RunArguments, SideArguments, TiersArguments};
use deployment::Plan;
use gateway::{Part, Role};
use panel::Setup;
use results::{Gateway, Layout, Results, Side, Subject};

/// Measures, or draws what was measured; true when every round counts.
///
/// # Errors
/// When something cannot be started, or the results cannot be written.
pub async fn run(command: BenchCommand, stop: CancellationToken) -> Result<bool, TestbedError> {
    match command {
        BenchCommand::Edge(arguments) => compare(prepare_edge(arguments), stop).await,
        BenchCommand::Backend(arguments) => compare(prepare_backend(arguments), stop).await,
        BenchCommand::Tiers(arguments) => compare(prepare_tiers(arguments), stop).await,
        BenchCommand::Growth(arguments) => growth::run(arguments, stop).await,
        BenchCommand::Plot(arguments) => plot::run(&arguments),
    }
}

/// Measures what is being prepared, and writes down what came of it.
async fn compare(
    prepared: impl Future<Output = Result<Prepared, TestbedError>>,
    stop: CancellationToken,
) -> Result<bool, TestbedError> {
    let started = now();
    tokio::select! {
        results = measure(prepared, started) => {
            let (results, folder) = results?;
            write_json(&folder.join("results.json"), &results)?;
            plot::draw(&results, &folder)?;
            table::print(&results);
            say(&format!("results and plots are in {}", folder.display()));
            Ok(results.is_valid())
        }
        () = stop.cancelled() => Ok(false),
    }
}

/// The time to the second.
fn now() -> String {
    shared::clock::rfc3339(shared::clock::unix_ns() / 1_000_000_000 * 1_000_000_000)
}

async fn measure(
    prepared: impl Future<Output = Result<Prepared, TestbedError>>,
    started: String,
) -> Result<(Results, PathBuf), TestbedError> {
    let (bench, setups, layouts, output) = prepared.await?;
    let folder = folder(output.as_deref(), &started)?;
    let machine = machine::describe()?;
    let mut gateways = Vec::new();
    for plan in &bench.plans {
        let mut programs = Vec::new();
        for part in plan.parts() {
            programs.push(part.describe().await);
        }
        gateways.push(Gateway { side: plan.side, name: plan.name.clone(), programs });
    }
    let mut cases = Vec::new();
    for setup in &setups {
        for layout in &layouts {
            cases.push(bench.case(setup, *layout).await?);
        }
    }
    let results = Results {
        format: results::FORMAT,
        started,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: std::env::args().collect(),
        subject: bench.subject,
        seed: bench.seed,
        machine,
        gateways,
        cases,
    };
    Ok((results, folder))
}

/// A bench, and which cases it is for.
type Prepared = (Bench, Vec<Setup>, Vec<Layout>, Option<PathBuf>);

async fn prepare_edge(arguments: EdgeArguments) -> Result<Prepared, TestbedError> {
    let EdgeArguments { sides, run, panel, spans, backends } = arguments;
    let mut plans = Vec::new();
    for (side, part, name) in parts(&sides, Role::Edge).await? {
        let sinks = usize::from(backends);
        plans.push(Plan { side, name, edges: Some((part, 1)), backends: None, sinks });
    }
    let wait = std::time::Duration::ZERO;
    finish(Subject::Edge, plans, (spans, wait), run, Setup::of_edges(&panel))
}

async fn prepare_backend(arguments: BackendArguments) -> Result<Prepared, TestbedError> {
    let BackendArguments { sides, run, panel, spans, decision_wait } = arguments;
    let mut plans = Vec::new();
    for (side, part, name) in parts(&sides, Role::Backend).await? {
        plans.push(Plan { side, name, edges: None, backends: Some((part, 1)), sinks: 1 });
    }
    let setups = Setup::of_backends(&panel);
    finish(Subject::Backend, plans, (spans, decision_wait), run, setups)
}

async fn prepare_tiers(arguments: TiersArguments) -> Result<Prepared, TestbedError> {
    let TiersArguments { sides, run, panel, spans, decision_wait, .. } = arguments.clone();
    let edges = parts(&sides, Role::Edge).await?;
    let backends = SideArguments {
        sut: arguments.sut_backend,
        sut_config: arguments.sut_backend_config,
        peer: arguments.peer_backend,
        peer_config: arguments.peer_backend_config,
        ..sides
    };
    if edges.len() == 2 && backends.peer.is_none() {
        return Err(TestbedError::new("--peer needs --peer-backend: both tiers are measured"));
    }
    let backends = parts(&backends, Role::Backend).await?;
    let mut plans = Vec::new();
    for ((side, edge, name), (_, backend, _)) in edges.into_iter().zip(backends) {
        plans.push(Plan {
            side,
            name,
            edges: Some((edge, usize::from(arguments.edges))),
            backends: Some((backend, usize::from(arguments.backends))),
            sinks: 1,
        });
    }
    let setups = Setup::of_backends(&panel);
    finish(Subject::Tiers, plans, (spans, decision_wait), run, setups)
}

fn finish(
    subject: Subject,
    mut plans: Vec<Plan>,
    (spans, decision_wait): (u64, std::time::Duration),
    run: RunArguments,
    setups: Vec<Setup>,
) -> Result<Prepared, TestbedError> {
    if let [sut, peer] = &mut plans[..]
        && sut.name == peer.name
    {
        peer.name.push_str(" (peer)");
    }
    let folder = tempfile::tempdir()
        .map_err(|error| TestbedError::new(format!("no folder for logs: {error}")))?;
    let bench = Bench {
        subject,
        plans,
        spans,
        decision_wait,
        rounds: run.rounds,
        clients: run.clients as usize,
        concurrency: run.concurrency as usize,
        warm_up: run.warm_up,
        patience: run.patience,
        yardsticks: run.yardsticks,
        latency: run.latency,
        idle: run.idle,
        seed: run.seed,
        requests: run.requests,
        cores: Cores::available()?,
        folder,
    };
    let mut layouts = Vec::new();
    for layout in run.layout {
        if !layouts.contains(&layout) {
            case::split(layout, bench.cores)?;
            layouts.push(layout);
        }
    }
    Ok((bench, setups, layouts, run.output))
}

/// The parts of this role, with their names.
async fn parts(
    sides: &SideArguments,
    role: Role,
) -> Result<Vec<(Side, Part, String)>, TestbedError> {
    let sut = match &sides.sut {
        Some(command) => Part::new(role, command, sides.sut_config.as_deref())?,
        None => {
            let Binaries { edge, backend } = sides.binaries.clone().find().await?;
            let binary = if role == Role::Edge { edge } else { backend };
            Part::own(role, &binary, sides.sut_config.as_deref())?
        }
    };
    let name = match (&sides.sut_name, &sides.sut) {
        (Some(name), _) => name.clone(),
        (None, None) => "tailrace".to_owned(),
        (None, Some(_)) => sut.program_name(),
    };
    let mut parts = vec![(Side::Sut, sut, name)];
    if let Some(command) = &sides.peer {
        let peer = Part::new(role, command, sides.peer_config.as_deref())?;
        let name = sides.peer_name.clone().unwrap_or_else(|| peer.program_name());
        parts.push((Side::Peer, peer, name));
    }
    Ok(parts)
}

/// The folder that was asked for, or one that is called by the time; it is there afterwards.
pub(crate) fn folder(output: Option<&Path>, started: &str) -> Result<PathBuf, TestbedError> {
    let folder = match output {
        Some(folder) => folder.to_owned(),
        // Colons are no good in names of files.
        None => Path::new("bench-results").join(started.replace(':', "-")),
    };
    std::fs::create_dir_all(&folder)
        .map_err(|error| TestbedError::new(format!("cannot make {}: {error}", folder.display())))?;
    Ok(folder)
}

/// Writes a value as JSON for people and programs.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), TestbedError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| TestbedError::new(format!("cannot write results: {error}")))?;
    std::fs::write(path, text + "\n")
        .map_err(|error| TestbedError::new(format!("cannot write {}: {error}", path.display())))
}
