//! One backend that takes in, keeps, judges and exports a part.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{CORE, Prepared, closed_loop, end, median, prepare, real};
use crate::audit::BackendFlow;
use crate::cli::{MeasureArguments, PolicySet};
use crate::generate::draft::Status;
use crate::ledger::Detail;
use crate::oracle::{DEFAULT_SALT, Policies, Policy};
use crate::progress::say;
use crate::report::{Report, mebibytes, per_million, thousands};
use crate::send::{Counts, Replay};
use crate::sink::Sink;
use crate::testbed::binaries::workspace;
use crate::testbed::cluster::until;
use crate::testbed::process::{GRPC, Launch, Process, Tier};
use crate::testbed::usage::Usage;
use crate::testbed::{TestbedError, address};

/// Long enough that everything is held at the end of a round's load.
const DECISION_WAIT: Duration = Duration::from_secs(8);
/// When memory is looked at after the release.
const AFTER_RELEASE: Duration = Duration::from_secs(5);

impl PolicySet {
    /// What the policies keep. The others of the ten find nothing, which is what costs most: they
    /// look at every span to the end.
    pub(crate) fn oracle(self) -> Policies {
        let (errors, slow) = (Policy::StatusCode(Status::Error), Policy::Latency(1000));
        let some = Policy::Probabilistic(1.0, DEFAULT_SALT.into());
        match self {
            PolicySet::Three => Policies::new(vec![errors, slow, some]),
            PolicySet::Ten => {
                let checkout =
                    Policy::StringAttribute("service.name".into(), vec!["checkout".into()]);
                let share = Policy::Probabilistic(1.0, "checkout".into());
                Policies::new(vec![errors, slow, some, Policy::And(vec![checkout, share])])
            }
        }
    }

    /// The policies as a configuration has them: JSON, which is YAML too.
    pub(crate) fn json(self) -> &'static str {
        match self {
            PolicySet::Three => include_str!("../../bench/policies-three.json"),
            PolicySet::Ten => include_str!("../../bench/policies-ten.json"),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            PolicySet::Three => "three",
            PolicySet::Ten => "ten",
        }
    }
}

/// What one round showed.
struct Round {
    /// CPU-seconds a million spans, from the first request to the last export.
    cpu: f64,
    /// Of that, until the last acknowledgement.
    intake: f64,
    /// Spans a second while taking in.
    rate: f64,
    /// Growth of resident memory by each span held, in bytes.
    bytes_held: f64,
    /// Resident memory some seconds after everything was released, above the start's, in MiB.
    left: f64,
    /// Time that judging and letting go took, in milliseconds a million spans.
    judging: f64,
    /// Share of spans that were exported.
    exported: f64,
}

/// A backend and where it exports to.
pub(super) struct Bench {
    pub(super) backend: Process,
    pub(super) sink: Sink,
    policies: PolicySet,
}

/// Starts a backend that keeps traces so long.
pub(super) async fn start(
    arguments: &MeasureArguments,
    decision_wait: Duration,
    logs: &Path,
) -> Result<Bench, TestbedError> {
    let binaries = arguments.binaries.clone().find().await?;
    let sink = Sink::start(SocketAddr::from((address::unique(), GRPC)), Detail::Counts).await?;
    let mut launch = Launch::sample(Tier::Backend, 0, address::unique())
        .env("TAILRACE_DESTINATION", sink.address().to_string())
        .env("TAILRACE_DECISION_WAIT", format!("{}s", decision_wait.as_secs()))
        .env("TAILRACE_BUFFER_COMPRESSION", if arguments.sealed { "lz4" } else { "none" })
        .env("TAILRACE_POLICIES", arguments.policies.json())
        .on_core(CORE);
    launch.config = Some(workspace().join("loadtest/src/measure/backend.yaml"));
    let backend = launch.start(&binaries, logs).await?;
    Ok(Bench { backend, sink, policies: arguments.policies })
}

pub(super) async fn measure(arguments: MeasureArguments) -> Result<Report, TestbedError> {
    let logs = tempfile::tempdir().map_err(|error| TestbedError::new(error.to_string()))?;
    let bench = start(&arguments, DECISION_WAIT, logs.path()).await?;

    say(&format!("warming up, then {} rounds", arguments.rounds));
    let warm_up = prepare(&arguments, 1, arguments.spans / 5, arguments.policies.oracle()).await;
    bench.round(&arguments, &warm_up).await?;
    drop(warm_up);
    let oracle = || arguments.policies.oracle();
    let mut rounds = Vec::new();
    let mut bytes = 0;
    for number in 1..=arguments.rounds {
        // Ids of their own, or they would be late spans of the round before.
        let prepared = prepare(&arguments, 1 + u64::from(number), arguments.spans, oracle()).await;
        bytes = prepared.truth.bytes / prepared.truth.spans.max(1);
        let round = bench.round(&arguments, &prepared).await?;
        say(&format!(
            "round {number}: {:.3} CPU-s a million spans, {:.0} B a span held",
            round.cpu, round.bytes_held
        ));
        rounds.push(round);
    }
    let mut report = Report::new();
    describe(&mut report, &arguments, bytes, &rounds, bench.backend.usage()?);
    let flow = bench.flow().await?;
    report.check(flow.is_conserved(), "every span is accounted for", flow.sum());
    report.check_equal(
        "kept spans received by the sink",
        bench.sink.ledger().spans(),
        flow.forwarded,
    );
    end(bench.backend, &mut report).await;
    Ok(report)
}

impl Bench {
    pub(super) async fn flow(&self) -> Result<BackendFlow, TestbedError> {
        Ok(BackendFlow::of(&self.backend.telemetry().await?))
    }

    /// How many spans the oracle would export.
    pub(super) fn expected(&self, prepared: &Prepared) -> u64 {
        let oracle = self.policies.oracle();
        let kept = prepared.truth.traces.iter().filter(|trace| oracle.keeps(trace));
        kept.map(|trace| u64::from(trace.spans)).sum()
    }

    /// Milliseconds that rounds of decisions took so far: of the clock, on a core of its own.
    async fn judging(&self) -> Result<u64, TestbedError> {
        const NAME: &str = "otelcol_processor_tail_sampling_sampling_decision_timer_latency_sum";
        Ok(self.backend.telemetry().await?.sum(NAME))
    }

    async fn round(
        &self,
        arguments: &MeasureArguments,
        prepared: &Prepared,
    ) -> Result<Round, TestbedError> {
        let expected = self.expected(prepared);
        let judging_before = self.judging().await?;
        let sink_before = self.sink.ledger().spans();
        let before = self.backend.usage()?;
        let counts = Arc::new(Counts::default());
        let load = closed_loop(arguments, self.backend.at(GRPC))?;
        let source = Replay::new(Arc::clone(&prepared.requests), prepared.requests.len());
        let outcome = load.run(source, Arc::clone(&counts), CancellationToken::new()).await;
        let (loaded, loaded_at) = (self.backend.usage()?, shared::clock::now());
        let held = self.flow().await?.held;
        // Looking at the sink costs the backend nothing; its metrics page does.
        until("the kept spans are exported", async || {
            Ok(self.sink.ledger().spans() - sink_before >= expected)
        })
        .await?;
        // Until then there is nothing to see, and looking costs the backend a page each time.
        sleep(DECISION_WAIT.saturating_sub(loaded_at.elapsed())).await;
        until("the backend judged and exported every trace", async || {
            let flow = self.flow().await?;
            Ok(flow.held == 0 && flow.exported + flow.failed >= flow.forwarded)
        })
        .await?;
        let released = self.backend.usage()?;
        sleep(AFTER_RELEASE).await;
        let after = self.backend.usage()?;

        let (sent, exported) = (counts.sent(), self.sink.ledger().spans() - sink_before);
        if sent != prepared.spans || exported != expected {
            return Err(TestbedError::new(format!(
                "the round does not count: {sent} of {} spans acknowledged, {exported} exported \
                 where the oracle says {expected}",
                prepared.spans
            )));
        }
        Ok(Round {
            cpu: per_million(released.cpu.saturating_sub(before.cpu), sent),
            intake: per_million(loaded.cpu.saturating_sub(before.cpu), sent),
            rate: real(sent) / outcome.elapsed.as_secs_f64(),
            bytes_held: real(loaded.rss.saturating_sub(before.rss)) / real(held.max(1)),
            left: (real(after.rss) - real(before.rss)) / 1_048_576.0,
            judging: real(self.judging().await? - judging_before) * 1e6 / real(sent),
            exported: real(exported) / real(sent),
        })
    }
}

fn describe(
    report: &mut Report,
    arguments: &MeasureArguments,
    bytes: u64,
    rounds: &[Round],
    usage: Usage,
) {
    report.section(format!(
        "Backend on one core, {} policies, {} spans of {bytes} B in a request, buffer {}",
        arguments.policies.name(),
        arguments.spans_per_request,
        if arguments.sealed { "sealed" } else { "plain" }
    ));
    let of = |value: fn(&Round) -> f64| rounds.iter().map(value).collect::<Vec<_>>();
    let (share, range) = median(&of(|round| round.exported * 100.0), 1, "%");
    report.row("exported", share, range);
    let (cpu, range) = median(&of(|round| round.cpu), 3, "CPU-s");
    report.row("a million spans", cpu, range);
    let (cpu, range) = median(&of(|round| round.intake), 3, "CPU-s");
    report.row("… taking in only", cpu, range);
    let (rate, range) = median(&of(|round| round.rate / 1e6), 3, "M");
    report.row("spans a second", rate, range);
    let (held, range) = median(&of(|round| round.bytes_held), 0, "B");
    report.row("resident memory a held span", held, range);
    let wire = real(bytes);
    let ratios: Vec<f64> = rounds.iter().map(|round| round.bytes_held / wire).collect();
    let (ratio, range) = median(&ratios, 2, "×");
    report.row("… of its bytes on the wire", ratio, range);
    let (judging, range) = median(&of(|round| round.judging), 0, "ms");
    report.row("judging and letting go, a million spans", judging, range);
    let (left, range) = median(&of(|round| round.left), 1, "MiB");
    let when = AFTER_RELEASE.as_secs();
    report.row(
        "… kept after the release",
        left,
        format!("{range} {when} s later, above the start"),
    );
    report.row("peak resident memory", mebibytes(usage.peak_rss), "");
    let each = thousands(arguments.spans);
    report.row("rounds", thousands(rounds.len() as u64), format!("of {each} spans; medians"));
}
