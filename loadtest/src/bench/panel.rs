//! What is sent, and what the gateway is asked to do with it.

use clap::ValueEnum;
use shared::config::Compression;

use crate::cli::PolicySet;
use crate::plan::{FieldOrder, Look};

/// Loads of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EdgePanel {
    /// Every one of these
    All,
    /// 512 spans of 8 services in a request
    #[value(name = "512")]
    Spans512,
    /// 100 spans of 4 services in a request
    #[value(name = "100")]
    Spans100,
    /// 8,192 spans of 20 services in a request
    #[value(name = "8192")]
    Spans8192,
    /// 512 spans of one service in a request, as an SDK sends them
    OneService,
    /// 512 spans without attributes, events and links in a request
    Tiny,
    /// 32 spans with 20 attributes of 5,000 bytes in a request, a fiftieth of the spans in a round
    Fat,
    /// 512 spans with fields in descending order in a request, as a Collector sends them
    CollectorOrder,
    /// 512 spans, gzip towards the edge
    GzipIn,
    /// 512 spans, gzip on both sides of the edge
    Gzip,
    /// The same, ours at level 1, where the template has {level}
    GzipFast,
    /// 512 spans, zstd towards the edge
    ZstdIn,
    /// 512 spans, zstd on both sides of the edge
    Zstd,
}

/// Work of a backend, always with 512 spans of 8 services in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendPanel {
    /// Every one of these
    All,
    /// Three policies, which keep 11 % of the spans
    Three,
    /// Ten policies, which keep about the same
    Ten,
    /// Ten policies, and span metrics with four dimensions
    SpanMetrics,
    /// Ten policies and a buffer that is sealed with LZ4, where the template has {seal}
    Sealed,
}

/// A panel, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setup {
    /// As in the options.
    pub(super) name: String,
    pub(super) sent: Sent,
    pub(super) inbound: Compression,
    pub(super) outbound: Compression,
    /// Level of what is sent; 0 is the default.
    pub(super) level: u8,
    /// One in so many of the spans in a round is enough, since each is so large.
    pub(super) divisor: u64,
    /// What backends judge by.
    pub(super) policies: PolicySet,
    pub(super) span_metrics: bool,
    pub(super) sealed: bool,
}

/// What requests are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) spans_per_request: usize,
    pub(super) services: usize,
    pub(super) look: Look,
    pub(super) field_order: FieldOrder,
}

impl Setup {
    /// 512 spans as they come from SDKs.
    fn plain(name: String) -> Self {
        let (look, field_order) = (Look::Plain, FieldOrder::Sdk);
        Self {
            name,
            sent: Sent { spans_per_request: 512, services: 8, look, field_order },
            inbound: Compression::None,
            outbound: Compression::None,
            level: 0,
            divisor: 1,
            policies: PolicySet::Three,
            span_metrics: false,
            sealed: false,
        }
    }

    fn sized(mut self, spans_per_request: usize, services: usize) -> Self {
        (self.sent.spans_per_request, self.sent.services) = (spans_per_request, services);
        self
    }

    fn compressed(mut self, inbound: Compression, outbound: Compression) -> Self {
        (self.inbound, self.outbound) = (inbound, outbound);
        self
    }

    /// The setups of these panels, each once, in the order of the list of panels for `All`.
    pub(super) fn of_edges(panels: &[EdgePanel]) -> Vec<Self> {
        each_once(panels, EdgePanel::All).into_iter().map(Self::of_edge).collect()
    }

    /// The same for backends.
    pub(super) fn of_backends(panels: &[BackendPanel]) -> Vec<Self> {
        each_once(panels, BackendPanel::All).into_iter().map(Self::of_backend).collect()
    }

    fn of_edge(panel: EdgePanel) -> Self {
        use Compression::{Gzip, None, Zstd};
        let mut plain = Self::plain(name(&panel));
        match panel {
            EdgePanel::All | EdgePanel::Spans512 => plain,
            EdgePanel::Spans100 => plain.sized(100, 4),
            EdgePanel::Spans8192 => plain.sized(8_192, 20),
            EdgePanel::OneService => plain.sized(512, 1),
            EdgePanel::Tiny => {
                plain.sent.look = Look::Tiny;
                plain
            }
            EdgePanel::Fat => {
                (plain.sent.look, plain.divisor) = (Look::Fat, 50);
                plain.sized(32, 8)
            }
            EdgePanel::CollectorOrder => {
                plain.sent.field_order = FieldOrder::Collector;
                plain
            }
            EdgePanel::GzipIn => plain.compressed(Gzip, None),
            EdgePanel::Gzip => plain.compressed(Gzip, Gzip),
            EdgePanel::GzipFast => Self { level: 1, ..plain.compressed(Gzip, Gzip) },
            EdgePanel::ZstdIn => plain.compressed(Zstd, None),
            EdgePanel::Zstd => plain.compressed(Zstd, Zstd),
        }
    }

    fn of_backend(panel: BackendPanel) -> Self {
        let plain = Self::plain(name(&panel));
        let ten = |plain| Self { policies: PolicySet::Ten, ..plain };
        match panel {
            BackendPanel::All | BackendPanel::Three => plain,
            BackendPanel::Ten => ten(plain),
            BackendPanel::SpanMetrics => Self { span_metrics: true, ..ten(plain) },
            BackendPanel::Sealed => Self { sealed: true, ..ten(plain) },
        }
    }
}

fn name(panel: &impl ValueEnum) -> String {
    panel.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn each_once<T: ValueEnum + Copy + PartialEq>(asked: &[T], all: T) -> Vec<T> {
    let asked = if asked.contains(&all) { T::value_variants() } else { asked };
    let mut panels = Vec::new();
    for panel in asked {
        if *panel != all && !panels.contains(panel) {
            panels.push(*panel);
        }
    }
    panels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_means_every_panel_once() {
        let setups = Setup::of_edges(&[EdgePanel::Spans100, EdgePanel::All]);
        assert_eq!(setups.len(), EdgePanel::value_variants().len() - 1);
        assert_eq!(setups[1].name, "100");
        for (index, setup) in setups.iter().enumerate() {
            assert!(!setups[..index].iter().any(|other| other.sent == setup.sent
                && (other.inbound, other.outbound, other.level)
                    == (setup.inbound, setup.outbound, setup.level)));
        }
        assert_eq!(Setup::of_backends(&[BackendPanel::All]).len(), 4);
        assert_eq!(Setup::of_edges(&[EdgePanel::Fat, EdgePanel::Fat]).len(), 1);
    }
}
