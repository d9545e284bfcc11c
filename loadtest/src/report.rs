//! The end of a run, to be read by people: plain, aligned, and the same in a pipe.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use hdrhistogram::Histogram;

/// What a run found.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<Line>,
    failures: usize,
}

#[derive(Debug)]
enum Line {
    Section(String),
    Row(String, String, String),
    Check(bool, String, String),
    Note(String),
}

impl Report {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a section.
    pub fn section(&mut self, title: impl Into<String>) {
        self.lines.push(Line::Section(title.into()));
    }

    /// A figure, and what there is to say of it.
    pub fn row(
        &mut self,
        label: impl Into<String>,
        value: impl Into<String>,
        note: impl Into<String>,
    ) {
        self.lines.push(Line::Row(label.into(), value.into(), note.into()));
    }

    /// A claim, whether it holds, and the figures.
    pub fn check(&mut self, holds: bool, claim: impl Into<String>, figures: impl Into<String>) {
        self.failures += usize::from(!holds);
        self.lines.push(Line::Check(holds, claim.into(), figures.into()));
    }

    /// A claim that two counts are the same.
    pub fn check_equal(&mut self, claim: impl Into<String>, found: u64, expected: u64) {
        let figures = match found == expected {
            true => thousands(found),
            false => format!("{}, not {}", thousands(found), thousands(expected)),
        };
        self.check(found == expected, claim, figures);
    }

    /// A line of text.
    pub fn note(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Note(text.into()));
    }

    /// Whether every claim holds.
    pub fn holds(&self) -> bool {
        self.failures == 0
    }

    /// Number of claims that do not hold.
    pub fn failures(&self) -> usize {
        self.failures
    }

    /// The claims that do not hold.
    pub fn failed(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| match line {
            Line::Check(false, claim, _) => Some(claim.as_str()),
            _ => None,
        })
    }

    /// All of it, without colours.
    pub fn text(&self) -> String {
        self.render(false)
    }

    /// Writes it to standard output.
    pub fn print(&self) {
        let text = self.render(std::io::stdout().is_terminal());
        // A closed pipe is no reason to fail: the exit code says what matters.
        drop(std::io::stdout().write_all(text.as_bytes()));
    }

    fn render(&self, colours: bool) -> String {
        let paint = |code: &str, text: &str| match colours {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        };
        let width = |of: fn(&Line) -> Option<&str>| {
            self.lines.iter().filter_map(of).map(|text| text.chars().count()).max().unwrap_or(0)
        };
        let labels = width(|line| match line {
            Line::Row(label, ..) => Some(label),
            _ => None,
        });
        let values = width(|line| match line {
            Line::Row(_, value, _) => Some(value),
            _ => None,
        });
        let claims = width(|line| match line {
            Line::Check(_, claim, _) => Some(claim),
            _ => None,
        });
        let mut text = String::new();
        for line in &self.lines {
            let line = match line {
                Line::Section(title) => format!("\n{}", paint("1", title)),
                Line::Row(label, value, note) => {
                    format!("  {label:<labels$}  {value:>values$}  {note}")
                }
                Line::Check(true, claim, figures) => {
                    format!("  {}  {claim:<claims$}  {figures}", paint("32", "ok    "))
                }
                Line::Check(false, claim, figures) => {
                    format!("  {}  {claim:<claims$}  {figures}", paint("1;31", "FAILED"))
                }
                Line::Note(note) => format!("  {note}"),
            };
            writeln!(text, "{}", line.trim_end()).expect("a string takes any text");
        }
        text
    }
}

/// 1234567 as 1,234,567.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as MiB.
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// How many there were in a second.
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub fn per_second(count: u64, elapsed: Duration) -> u64 {
    crate::testbed::page::whole(count as f64 / elapsed.as_secs_f64().max(1e-9))
}

/// CPU-seconds that a million spans took.
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub fn per_million(cpu: Duration, spans: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / (spans.max(1) as f64)
}

/// The usual quantiles of a histogram of microseconds, in milliseconds.
pub fn latency(histogram: &Histogram<u64>) -> String {
    let at = |quantile: f64| {
        let micros = histogram.value_at_quantile(quantile);
        format!("{}.{:02}", micros / 1000, micros % 1000 / 10)
    };
    let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
    format!("p50 {p50}, p99 {p99}, p99.9 {p999}, max {} ms", at(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_threes() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn columns_are_aligned_and_a_failure_is_seen() {
        let mut report = Report::new();
        report.section("Load");
        report.row("spans", "12", "in all");
        report.row("requests", "3", "");
        report.check_equal("all arrived", 12, 12);
        report.check_equal("none twice", 1, 0);
        assert_eq!(
            report.text(),
            "\nLoad\n  spans     12  in all\n  requests   3\n  \
             ok      all arrived  12\n  FAILED  none twice   1, not 0\n"
        );
        assert_eq!(report.failed().collect::<Vec<_>>(), ["none twice"]);
        assert!(!report.holds());
    }
}
