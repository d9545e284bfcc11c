//! `loadtest bench growth`: how the cost of a span grows with what a tier has to deal with.
//!
//! One dimension at a time: backends behind the edge, connections in front of it, services,
//! policies and live traces of the backend. Each step of a dimension is a process of its own, all
//! on the same core, and all are measured in turns, a short piece of work each, so that a machine
//! that becomes slower does so for every step. Loader and destinations have the other cores.
//! Only the tiers of this build can be measured: other products have no such settings in common.

mod bed;
mod feed;
mod steps;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::chart::{Axis, Dash, LineChart, Point, Series};
use super::results::Spread;
use super::spread::real;
use crate::cli::BinaryArguments;
use crate::progress::say;
use crate::report::{Report, mebibytes, thousands};
use crate::testbed::TestbedError;
use crate::testbed::binaries::Binaries;
use bed::Bed;

/// `loadtest bench growth`.
#[derive(Debug, Clone, Args)]
pub struct GrowthArguments {
    /// Only this dimension; may be given several times
    #[arg(long, value_enum, value_name = "DIMENSION")]
    pub only: Vec<Dimension>,
    /// Rounds of each step, of which the medians are shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// Spans in a round of a step
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    pub spans: u64,
    /// No step above this count; the first one is always measured
    #[arg(long, value_name = "COUNT")]
    pub most: Option<u64>,
    /// Also ten million live traces, which need about 6 GiB and a minute more
    #[arg(long)]
    pub ten_million_traces: bool,
    /// Folder for the results; without it bench-results/growth- and the time
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) binaries: BinaryArguments,
}

/// What there is more and more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Backends behind the edge
    Backends,
    /// Connections to the edge, of which few are busy at a time
    Clients,
    /// Services whose spans a backend samples and counts
    Services,
    /// Policies that look at every span and find nothing
    Policies,
    /// Traces that a backend holds while it takes in more spans of them
    LiveTraces,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Backends, Self::Clients, Self::Services, Self::Policies, Self::LiveTraces];

    /// As in the options and in names of files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backends => "backends",
            Self::Clients => "clients",
            Self::Services => "services",
            Self::Policies => "policies",
            Self::LiveTraces => "live-traces",
        }
    }

    /// What is counted.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Backends => "backends",
            Self::Clients => "client connections",
            Self::Services => "services",
            Self::Policies => "policies",
            Self::LiveTraces => "live traces",
        }
    }

    /// How it is measured, in a sentence.
    pub fn note(self) -> &'static str {
        match self {
            Self::Backends => "edge, 512 spans a request, 8 on their way over 2 connections",
            Self::Clients => {
                "edge, 5 backends, 512 spans a request, 32 on their way over all connections in turns"
            }
            Self::Services => {
                "backend with tail sampling and span metrics, 16 resources and 512 spans a request, \
                 nothing decided"
            }
            Self::Policies => {
                "backend, 512 spans a request, from the first span to the last decision, nothing kept"
            }
            Self::LiveTraces => {
                "backend, 512 small spans a request, each of a live trace at random, nothing decided"
            }
        }
    }

    /// Where it is looked at.
    fn counts(self, arguments: &GrowthArguments) -> Vec<u64> {
        let counts: &[u64] = match self {
            Self::Backends => &[1, 3, 10, 30, 100, 300],
            Self::Clients => &[1, 10, 100, 1_000],
            Self::Services => &[16, 100, 1_000, 10_000],
            Self::Policies => &[1, 5, 10, 20, 50],
            Self::LiveTraces if arguments.ten_million_traces => {
                &[1_000, 10_000, 100_000, 1_000_000, 10_000_000]
            }
            Self::LiveTraces => &[1_000, 10_000, 100_000, 1_000_000],
        };
        let most = arguments.most.unwrap_or(u64::MAX).max(counts[0]);
        counts.iter().copied().filter(|count| *count <= most).collect()
    }
}

/// What a run found, as it stands in its JSON file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// When it began, in UTC.
    pub started: String,
    /// Version of the loadtest that measured.
    pub version: String,
    /// Spans in a round of a step.
    pub spans: u64,
    /// Rounds of each step.
    pub rounds: u32,
    /// One entry for each dimension.
    pub growth: Vec<Curve>,
}

/// How the cost grows along a dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Which one.
    pub dimension: Dimension,
    /// The steps, the smallest first.
    pub steps: Vec<Step>,
}

/// A step of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// How many there were.
    pub count: u64,
    /// CPU-seconds a million spans.
    pub cpu: Spread,
    /// Resident memory when everything was in place and the process was warm, in bytes; of live
    /// traces when they were there, before the rounds.
    pub rss_bytes: u64,
    /// Resident memory when the process had just started, in bytes.
    pub start_rss_bytes: u64,
}

impl Curve {
    /// How many times the cost of the first step the last one has; none without two.
    pub fn factor(&self) -> Option<f64> {
        match self.steps.as_slice() {
            [first, .., last] if first.cpu.median > 0.0 => Some(last.cpu.median / first.cpu.median),
            _ => None,
        }
    }

    /// By how many bytes memory grows with each more, from the first step to the last.
    pub fn bytes_each(&self) -> Option<f64> {
        let [first, .., last] = self.steps.as_slice() else { return None };
        let more = real(last.rss_bytes) - real(first.rss_bytes);
        Some(more / real(last.count.saturating_sub(first.count).max(1)))
    }
}

/// Measures; true when all of it could be.
///
/// # Errors
/// When something cannot be started, spans are lost, or the machine has only one core.
pub async fn run(
    arguments: GrowthArguments,
    stop: CancellationToken,
) -> Result<bool, TestbedError> {
    crate::measure::leave_core_alone()?;
    let binaries = arguments.binaries.clone().find().await?;
    let started = super::now();
    let folder = super::folder(arguments.output.as_deref(), &format!("growth-{started}"))?;
    tokio::select! {
        growth = measure(&arguments, &binaries, started) => {
            let growth = growth?;
            super::write_json(&folder.join("growth.json"), &growth)?;
            super::plot::draw_growth(&growth, &folder)?;
            report(&growth).print();
            say(&format!("results and plots are in {}", folder.display()));
            Ok(true)
        }
        () = stop.cancelled() => Ok(false),
    }
}

async fn measure(
    arguments: &GrowthArguments,
    binaries: &Binaries,
    started: String,
) -> Result<Growth, TestbedError> {
    let dimensions = match arguments.only.as_slice() {
        [] => &Dimension::ALL[..],
        only => only,
    };
    let mut growth = Growth {
        started,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        spans: arguments.spans,
        rounds: arguments.rounds,
        growth: Vec::new(),
    };
    for dimension in dimensions {
        growth.growth.push(follow(*dimension, arguments, binaries).await?);
    }
    Ok(growth)
}

/// Measures along one dimension.
async fn follow(
    dimension: Dimension,
    arguments: &GrowthArguments,
    binaries: &Binaries,
) -> Result<Curve, TestbedError> {
    let mut beds = Vec::new();
    for count in dimension.counts(arguments) {
        say(&format!("{}: starting {}", dimension.unit(), thousands(count)));
        let mut bed = Bed::start(dimension, count, binaries).await?;
        bed.warm_up(arguments.spans).await?;
        beds.push((count, bed, Vec::new()));
    }
    for number in 1..=arguments.rounds {
        for (_, bed, costs) in &mut beds {
            costs.push(bed.round(arguments.spans).await?);
        }
        let costs: Vec<String> = beds
            .iter()
            .map(|(_, _, costs)| costs.last().map_or_else(String::new, |cost| format!("{cost:.3}")))
            .collect();
        say(&format!("{}: round {number}: {} CPU-s", dimension.unit(), costs.join(", ")));
    }
    let steps = beds.iter().map(|(count, bed, costs)| Step {
        count: *count,
        cpu: Spread::of(costs.iter().copied()),
        rss_bytes: bed.rss_bytes(),
        start_rss_bytes: bed.start_rss_bytes(),
    });
    let curve = Curve { dimension, steps: steps.collect() };
    for (_, bed, _) in beds {
        bed.stop().await;
    }
    Ok(curve)
}

fn report(growth: &Growth) -> Report {
    let mut report = Report::new();
    for curve in &growth.growth {
        report.section(format!("By {}: {}", curve.dimension.unit(), curve.dimension.note()));
        for step in &curve.steps {
            let Spread { median, min, max } = step.cpu;
            report.row(
                thousands(step.count),
                format!("{median:.3} CPU-s"),
                format!("[{min:.3} – {max:.3}]  {}", mebibytes(step.rss_bytes)),
            );
        }
        if let (Some(factor), Some(bytes)) = (curve.factor(), curve.bytes_each()) {
            let note = format!("from the first to the last; {bytes:.0} B of memory each");
            report.row("growth", format!("{factor:.2} ×"), note);
        }
    }
    report.section("Rounds");
    let each = thousands(growth.spans);
    let rounds = thousands(growth.rounds.into());
    report.row("rounds", rounds, format!("of {each} spans each, a million spans' CPU shown"));
    report
}

/// The charts of a curve, with the names of their files: cost, then memory.
pub(super) fn charts(curve: &Curve, growth: &Growth) -> [(String, LineChart); 2] {
    let Curve { dimension, steps } = curve;
    let chart = |title: String, y: &str, points: Vec<Point>| LineChart {
        title,
        notes: vec![
            dimension.note().to_owned(),
            format!(
                "medians of {} rounds of {} spans, least and most; process on one core",
                growth.rounds,
                thousands(growth.spans)
            ),
        ],
        x: Axis::logarithmic(dimension.unit()),
        y: Axis::linear(y),
        series: vec![Series {
            name: "tailrace".to_owned(),
            colour: 0,
            dash: Dash::Solid,
            points,
            marked: true,
        }],
    };
    let cost = steps.iter().map(|step| Point {
        range: Some((step.cpu.min, step.cpu.max)),
        ..Point::new(real(step.count), step.cpu.median)
    });
    let memory =
        steps.iter().map(|step| Point::new(real(step.count), real(step.rss_bytes) / 1_048_576.0));
    let (name, unit) = (dimension.name(), dimension.unit());
    [
        (
            format!("growth-{name}.svg"),
            chart(format!("CPU by {unit}"), "CPU-seconds a million spans", cost.collect()),
        ),
        (
            format!("growth-{name}-memory.svg"),
            chart(format!("Memory by {unit}"), "resident memory, MiB", memory.collect()),
        ),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::bench) fn growth() -> Growth {
        let step = |count, cpu, rss_bytes| Step {
            count,
            cpu: Spread { median: cpu, min: cpu - 0.1, max: cpu + 0.1 },
            rss_bytes,
            start_rss_bytes: 10 << 20,
        };
        let steps =
            vec![step(1, 0.5, 20 << 20), step(10, 0.6, 21 << 20), step(1001, 0.75, 30 << 20)];
        Growth {
            started: "2026-11-26T05:00:00Z".to_owned(),
            version: "0.1.0".to_owned(),
            spans: 300_000,
            rounds: 3,
            growth: vec![Curve { dimension: Dimension::Clients, steps }],
        }
    }

    #[test]
    fn growth_is_told_by_its_factor_and_by_memory_each() {
        let text = report(&growth()).text();
        assert!(text.contains("1,001   0.750 CPU-s  [0.650 – 0.850]  30.0 MiB"), "{text}");
        assert!(
            text.contains("1.50 ×  from the first to the last; 10486 B of memory each"),
            "{text}"
        );
        let alone = Curve { steps: Vec::new(), ..growth().growth.remove(0) };
        assert_eq!((alone.factor(), alone.bytes_each()), (None, None));
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let text = serde_json::to_string(&growth()).unwrap();
        assert_eq!(serde_json::from_str::<Growth>(&text).unwrap(), growth());
    }

    #[test]
    fn charts_are_of_all_steps() {
        let growth = growth();
        let [(cost, chart), (memory, _)] = charts(&growth.growth[0], &growth);
        assert_eq!(
            (cost.as_str(), memory.as_str()),
            ("growth-clients.svg", "growth-clients-memory.svg")
        );
        let svg = chart.svg();
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains(">client connections</text>"), "{svg}");
    }
}
