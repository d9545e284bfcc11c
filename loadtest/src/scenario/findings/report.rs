//! Findings as people and programs read them, and the claims that they are judged by.

use serde_json::json;

use super::Findings;
use super::latency::{Latency, Window};
use crate::report::{Report, thousands};

impl Findings {
    fn duplicates(&self) -> u64 {
        self.delivery.duplicates.iter().sum()
    }

    /// Writes every figure, and every claim with whether it holds.
    pub fn report(&self, report: &mut Report) {
        let (client, delivery, edge) = (&self.client, &self.delivery, &self.edge);
        report.section(format!("{}, {}", self.scenario.name(), self.mode.name()));
        report.note(self.scenario.about());
        let count = |report: &mut Report, label: &str, number: u64, note: String| {
            report.row(label, thousands(number), note);
        };
        count(report, "spans sent", client.spans, format!("{} retries", thousands(client.retries)));
        count(report, "acknowledged", client.acknowledged, String::new());
        let refused = format!("and {} given up", thousands(client.given_up));
        count(report, "rejected for good", client.rejected, refused);
        count(report, "delivered once", delivery.once, String::new());
        count(report, "duplicates", self.duplicates(), format!("{:?}", delivery.duplicates));
        self.report_latency(report);

        report.check_equal("acknowledged spans that are lost", delivery.lost, 0);
        report.check_equal("unacknowledged spans given up", client.given_up, 0);
        report.check_equal("spans rejected for no fault of their request", delivery.innocent, 0);
        report.check_equal("duplicates though no answer was lost", delivery.needless, 0);
        report.check_equal("duplicates because a client had to send again", delivery.resent, 0);
        match edge.possible_duplicates {
            None => report.note("this edge does not count possible duplicates"),
            Some(possible) => {
                let figures = format!("{} ≤ {}", thousands(self.duplicates()), thousands(possible));
                report.check(
                    self.duplicates() <= possible,
                    "the edges count them as possible duplicates",
                    figures,
                );
            }
        }
        report.check(edge.adds_up() && edge.held == 0, "the edges' counters add up", edge.sum());
        let certain = delivery.arrivals - delivery.in_doubt;
        report.check(
            (certain..=delivery.arrivals).contains(&edge.sent),
            "sent by the edges, arrived at the backends",
            format!(
                "{} of {}, {} in doubt",
                thousands(edge.sent),
                thousands(delivery.arrivals),
                thousands(delivery.in_doubt)
            ),
        );
        report.check(
            delivery.rejected <= edge.failed,
            "acknowledged spans that a backend rejected count as failed",
            format!("{} ≤ {}", thousands(delivery.rejected), thousands(edge.failed)),
        );
        if self.scenario.moves_no_key() {
            report.check_equal("spans that left their key's backend", delivery.moved, 0);
        }
        report.check(self.clean_exit, "the edges stop cleanly", "");
    }

    fn report_latency(&self, report: &mut Report) {
        for (label, latency) in [("healthy", &self.healthy), ("faulty", &self.faulty)] {
            if latency.before.all.is_empty() {
                continue;
            }
            let note = match latency.ratio().zip(latency.typical_ratio()) {
                Some((ratio, typical)) => format!(
                    "p99 {ratio:.2} × that before the fault, {typical:.2} × in a typical second"
                ),
                None => "nothing was due during the fault".to_owned(),
            };
            let [before, during] = [&latency.before, &latency.during].map(|window| {
                let p50 = window.all.value_at_quantile(0.5);
                format!("{}/{}", milliseconds(p50), milliseconds(window.p99()))
            });
            let label = format!("keys of {label} backends");
            report.row(label, format!("{before} → {during} ms"), format!("p50/p99; {note}"));
        }
        let after = |ns: Option<u64>| match ns {
            Some(ns) => format!("{} ms", thousands(ns / 1_000_000)),
            None => "never".to_owned(),
        };
        if !self.faulty.before.all.is_empty() {
            report.row("served elsewhere after", after(self.out_ns), "the fault began");
            report.row("served at home after", after(self.back_ns), "it ended");
        }
    }

    /// All figures.
    pub fn json(&self, holds: bool) -> serde_json::Value {
        let (client, delivery, edge) = (&self.client, &self.delivery, &self.edge);
        let latency = |latency: &Latency| {
            let quantiles = |window: &Window| {
                json!({
                    "spans": window.all.len(),
                    "p50_us": window.all.value_at_quantile(0.5),
                    "p99_us": window.p99(),
                    "typical_p99_us": window.typical_p99(),
                })
            };
            json!({
                "before": quantiles(&latency.before),
                "during": quantiles(&latency.during),
                "p99_ratio": latency.ratio(),
                "typical_p99_ratio": latency.typical_ratio(),
            })
        };
        json!({
            "scenario": self.scenario.name(),
            "mode": self.mode.name(),
            "holds": holds,
            "client": {
                "spans": client.spans,
                "acknowledged": client.acknowledged,
                "rejected": client.rejected,
                "given_up": client.given_up,
                "retries": client.retries,
                "unanswered": client.unanswered,
            },
            "delivery": {
                "once": delivery.once,
                "duplicates": delivery.duplicates,
                "needless_duplicates": delivery.needless,
                "resent_duplicates": delivery.resent,
                "arrivals": delivery.arrivals,
                "in_doubt": delivery.in_doubt,
                "lost": delivery.lost,
                "rejected": delivery.rejected,
                "innocent_rejected": delivery.innocent,
                "moved": delivery.moved,
            },
            "edge": {
                "accepted": edge.accepted,
                "refused": edge.refused,
                "sent": edge.sent,
                "failed": edge.failed,
                "not_admitted": edge.not_admitted,
                "held": edge.held,
                "possible_duplicates": edge.possible_duplicates,
                "adds_up": edge.adds_up(),
                "clean_exit": self.clean_exit,
            },
            "latency": { "healthy": latency(&self.healthy), "faulty": latency(&self.faulty) },
            "out_of_rotation_ms": self.out_ns.map(|ns| ns / 1_000_000),
            "back_in_rotation_ms": self.back_ns.map(|ns| ns / 1_000_000),
        })
    }
}

fn milliseconds(micros: u64) -> String {
    format!("{}.{}", micros / 1_000, micros % 1_000 / 100)
}
