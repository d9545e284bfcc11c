//! `loadtest bench plot`: draws the charts of a results file, which holds all that they need.
//!
//! - `cpu.svg`: CPU by panel, the system under test and its peer beside each other, with the
//!   yardsticks across them;
//! - `latency-PANEL-LAYOUT.svg`: latency by rate, of cases that have an open loop;
//! - `memory-PANEL-LAYOUT.svg`: memory over the time of a round;
//! - `growth-DIMENSION.svg` and `growth-DIMENSION-memory.svg`, of `loadtest bench growth`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::chart::{Axis, Bar, BarChart, Dash, Group, LineChart, Mark, Point, Series};
use super::growth::{self, Growth};
use super::results::{Case, Results, Round, Side};
use super::spread::real;
use super::yardstick::Yardstick;
use crate::progress::say;
use crate::testbed::TestbedError;

/// `loadtest bench plot`.
#[derive(Debug, Clone, Args)]
pub struct PlotArguments {
    /// Results of an earlier run: results.json or growth.json
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// Folder for the plots; without it the folder of the results
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// Draws what the file has.
///
/// # Errors
/// When the file cannot be read, or a plot cannot be written.
pub fn run(arguments: &PlotArguments) -> Result<bool, TestbedError> {
    let PlotArguments { from, output } = arguments;
    let folder = output.as_deref().or(from.parent()).unwrap_or(Path::new("."));
    let failed = |error: &dyn std::fmt::Display| {
        TestbedError::new(format!("cannot read {}: {error}", from.display()))
    };
    let text = std::fs::read_to_string(from).map_err(|error| failed(&error))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| failed(&error))?;
    std::fs::create_dir_all(folder)
        .map_err(|error| TestbedError::new(format!("cannot make {}: {error}", folder.display())))?;
    let files = match value.get("growth") {
        Some(_) => {
            let growth = serde_json::from_value(value).map_err(|error| failed(&error))?;
            draw_growth(&growth, folder)?
        }
        None => {
            let results = serde_json::from_value(value).map_err(|error| failed(&error))?;
            draw(&results, folder)?
        }
    };
    for file in files {
        say(&file.display().to_string());
    }
    Ok(true)
}

/// Draws all charts of a comparison into `folder`; their files.
///
/// # Errors
/// When a file cannot be written.
pub fn draw(results: &Results, folder: &Path) -> Result<Vec<PathBuf>, TestbedError> {
    let mut files = vec![write(folder, "cpu.svg", &cpu(results).svg())?];
    for case in &results.cases {
        let place = format!("{}-{}", file_name(&case.panel), case.layout.name());
        if !case.latency.is_empty() {
            let chart = latency(results, case);
            files.push(write(folder, &format!("latency-{place}.svg"), &chart.svg())?);
        }
        if case.rounds.iter().any(|round| !round.memory.is_empty()) {
            let chart = memory(results, case);
            files.push(write(folder, &format!("memory-{place}.svg"), &chart.svg())?);
        }
    }
    Ok(files)
}

/// Draws all charts of a growth into `folder`; their files.
///
/// # Errors
/// When a file cannot be written.
pub fn draw_growth(growth: &Growth, folder: &Path) -> Result<Vec<PathBuf>, TestbedError> {
    let mut files = Vec::new();
    for curve in &growth.growth {
        for (name, chart) in growth::charts(curve, growth) {
            files.push(write(folder, &name, &chart.svg())?);
        }
    }
    Ok(files)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, TestbedError> {
    let file = folder.join(name);
    match std::fs::write(&file, text) {
        Ok(()) => Ok(file),
        Err(error) => Err(TestbedError::new(format!("cannot write {}: {error}", file.display()))),
    }
}

/// The text with nothing but letters, digits and hyphens.
fn file_name(text: &str) -> String {
    text.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '-' }).collect()
}

/// CPU by panel.
fn cpu(results: &Results) -> BarChart {
    let one_layout = results.cases.windows(2).all(|pair| pair[0].layout == pair[1].layout);
    let group = |case: &Case| {
        let bars = case.summaries.iter().filter(|summary| summary.rounds > 0);
        let bars = bars.map(|summary| Bar {
            name: place_of(results, summary.side),
            value: summary.cpu.median,
            range: Some((summary.cpu.min, summary.cpu.max)),
        });
        let marks = Yardstick::ALL.into_iter().enumerate().filter_map(|(name, yardstick)| {
            let limit = case.limits.iter().find(|limit| limit.yardstick == yardstick)?;
            Some(Mark { name, value: limit.cpu_seconds_per_million_spans })
        });
        let label = match one_layout {
            true => case.panel.clone(),
            false => format!("{}, {}", case.panel, case.layout.name()),
        };
        Group { label, bars: bars.collect(), marks: marks.collect() }
    };
    let has_limits = results.cases.iter().any(|case| !case.limits.is_empty());
    let marks = Yardstick::ALL.iter().map(|yardstick| yardstick.name().to_owned());
    BarChart {
        title: "CPU by panel".to_owned(),
        notes: vec![
            "medians over rounds that count, with least and most; shorter is better".to_owned(),
            setting(results),
        ],
        axis: "CPU-seconds a million spans".to_owned(),
        names: results.gateways.iter().map(|gateway| gateway.name.clone()).collect(),
        marks: if has_limits { marks.collect() } else { Vec::new() },
        groups: results.cases.iter().map(group).collect(),
    }
}

/// Latency by rate: three quantiles of each side.
fn latency(results: &Results, case: &Case) -> LineChart {
    let mut series = Vec::new();
    for (place, gateway) in results.gateways.iter().enumerate() {
        let mut runs: Vec<_> =
            case.latency.iter().filter(|of| of.side == gateway.side).map(|of| &of.run).collect();
        if runs.is_empty() {
            continue;
        }
        runs.sort_by_key(|run| run.rate);
        let quantiles = [("p50", Dash::Solid), ("p99", Dash::Dashed), ("p99.9", Dash::Dotted)];
        for (index, (quantile, dash)) in quantiles.into_iter().enumerate() {
            let points = runs.iter().map(|run| {
                let micros = [run.p50_us, run.p99_us, run.p999_us][index];
                Point {
                    void: !run.void.is_empty(),
                    ..Point::new(real(run.rate), real(micros) / 1000.0)
                }
            });
            series.push(Series {
                name: format!("{}, {quantile}", gateway.name),
                colour: place,
                dash,
                points: points.collect(),
                marked: true,
            });
        }
    }
    LineChart {
        title: format!("Latency by rate: {}", case.panel),
        notes: vec![
            "open loop: from when a request was due to its acknowledgement".to_owned(),
            setting(results),
        ],
        x: Axis::linear("spans a second"),
        y: Axis::logarithmic("milliseconds"),
        series,
    }
}

/// Memory over the time of a round: of each side the one whose peak is the median.
fn memory(results: &Results, case: &Case) -> LineChart {
    let series = results.gateways.iter().enumerate().filter_map(|(colour, gateway)| {
        let round = typical(case, gateway.side)?;
        let points = round.memory.iter().map(|sample| {
            Point::new(real(sample.at_ms) / 1000.0, real(sample.rss_bytes) / 1_048_576.0)
        });
        Some(Series {
            name: gateway.name.clone(),
            colour,
            dash: Dash::Solid,
            points: points.collect(),
            marked: false,
        })
    });
    LineChart {
        title: format!("Memory over time: {}", case.panel),
        notes: vec!["of each the round whose peak is the median".to_owned(), setting(results)],
        x: Axis::linear("seconds since the first request of the round"),
        y: Axis::linear("resident memory, MiB"),
        series: series.collect(),
    }
}

/// The round with samples whose peak is the median.
fn typical(case: &Case, side: Side) -> Option<&Round> {
    let rounds = case.rounds.iter().filter(|round| round.side == side);
    let mut rounds: Vec<_> = rounds.filter(|round| !round.memory.is_empty()).collect();
    rounds.sort_by_key(|round| round.usage.peak_rss_bytes);
    rounds.get(rounds.len() / 2).copied()
}

/// Where and when it was measured.
fn setting(results: &Results) -> String {
    format!("{}, {}, {}", results.started, results.machine.cpu, results.machine.kernel)
}

/// The place of a side among the gateways, which is its colour.
fn place_of(results: &Results, side: Side) -> usize {
    results.gateways.iter().position(|gateway| gateway.side == side).unwrap_or(0)
}

#[cfg(test)]
mod tests;
