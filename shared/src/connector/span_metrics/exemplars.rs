//! Exemplars: a few of the spans that a data point counts, each as likely to be chosen.

use std::sync::Arc;

use crate::service::KeptTraces;
use crate::wire::{Span, Writer};

use super::config::Unit;
use super::random::Random;
use super::units::in_unit;

/// A span that a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exemplar {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    /// When the span ended.
    time_ns: u64,
    /// The value.
    nanos: u64,
}

impl Exemplar {
    /// `span` with what was measured of it; nothing when it has no trace id.
    pub(crate) fn of(span: &Span<'_>, nanos: u64) -> Option<Self> {
        let trace_id: [u8; 16] = span.trace_id.try_into().ok()?;
        if trace_id == [0; 16] {
            return None;
        }
        let span_id = span.span_id.try_into().unwrap_or_default();
        Some(Self { trace_id, span_id, time_ns: span.end_ns, nanos })
    }

    /// Writes the fields of an `Exemplar`.
    pub(crate) fn write(&self, message: &mut Writer, unit: Unit) {
        message.fixed64(2, self.time_ns);
        message.double(3, in_unit(self.nanos.into(), unit));
        message.bytes(4, &self.span_id);
        message.bytes(5, &self.trace_id);
    }
}

/// What was chosen and not written yet.
#[derive(Debug, Default)]
pub(crate) struct Reservoir {
    offered: u64,
    chosen: Vec<Exemplar>,
    /// How many of them, from the first, the flush under way writes.
    ready: usize,
}

/// Which exemplars are written: those of traces that tail sampling kept.
pub(crate) struct KeptOnly {
    /// The traces that it kept.
    pub(crate) traces: Arc<KeptTraces>,
    /// How long a span waits for that to be known, from its end.
    pub(crate) wait_ns: u64,
}

impl Reservoir {
    /// Keeps `exemplar`, or not, so that all that were offered are equally likely to be among at
    /// most `limit`.
    pub(crate) fn offer(&mut self, exemplar: Exemplar, limit: usize, random: &mut Random) {
        self.offered += 1;
        if self.chosen.len() < limit {
            if self.chosen.is_empty() {
                self.chosen.reserve_exact(limit);
            }
            return self.chosen.push(exemplar);
        }
        let place = usize::try_from(random.below(self.offered)).unwrap_or(usize::MAX);
        if let Some(chosen) = self.chosen.get_mut(place) {
            *chosen = exemplar;
        }
    }

    /// Settles what the next flush writes: all, or what `only` allows; what has waited in vain is
    /// forgotten.
    pub(crate) fn settle(&mut self, only: Option<&KeptOnly>, now_ns: u64) {
        self.ready = self.chosen.len();
        let Some(KeptOnly { traces, wait_ns }) = only else { return };
        let is_kept = |exemplar: &Exemplar| traces.contains(&exemplar.trace_id);
        self.chosen.retain(|exemplar| {
            now_ns.saturating_sub(exemplar.time_ns) < *wait_ns || is_kept(exemplar)
        });
        self.ready = 0;
        for place in 0..self.chosen.len() {
            // Asked once each: more may be kept from one moment to the next.
            if self.chosen.get(place).is_some_and(is_kept) {
                self.chosen.swap(place, self.ready);
                self.ready += 1;
            }
        }
    }

    /// What the flush under way writes.
    pub(crate) fn ready(&self) -> &[Exemplar] {
        self.chosen.get(..self.ready).unwrap_or_default()
    }

    /// Forgets what was written. Whether nothing is left.
    pub(crate) fn forget_written(&mut self) -> bool {
        self.chosen.drain(..self.ready.min(self.chosen.len()));
        self.ready = 0;
        self.offered = self.chosen.len() as u64;
        self.chosen.is_empty()
    }

    /// Bytes that it takes, without what it is embedded in.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.chosen.capacity() * size_of::<Exemplar>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(nanos: u64) -> Exemplar {
        Exemplar { trace_id: [1; 16], span_id: [2; 8], time_ns: 3, nanos }
    }

    #[test]
    fn the_last_is_as_likely_to_be_kept_as_the_first() {
        let mut random = Random::new(11);
        let mut kept = [0_u32; 10];
        for _ in 0..5_000 {
            let mut reservoir = Reservoir::default();
            for nanos in 0..10 {
                reservoir.offer(exemplar(nanos), 3, &mut random);
            }
            reservoir.settle(None, 3);
            assert_eq!(reservoir.ready().len(), 3);
            for exemplar in reservoir.ready() {
                kept[usize::try_from(exemplar.nanos).unwrap()] += 1;
            }
        }
        assert!(kept.iter().all(|count| (1_350..1_650).contains(count)), "{kept:?}");
    }

    #[test]
    fn a_span_waits_until_its_trace_is_kept_but_not_for_ever() {
        let traces = Arc::new(KeptTraces::default());
        traces.want();
        let only = KeptOnly { traces: Arc::clone(&traces), wait_ns: 100 };
        let of = |trace: u8, time_ns| Exemplar { trace_id: [trace; 16], time_ns, ..exemplar(1) };
        let mut reservoir = Reservoir::default();
        let mut random = Random::new(1);
        for exemplar in [of(1, 0), of(2, 0), of(3, 90)] {
            reservoir.offer(exemplar, 5, &mut random);
        }
        reservoir.settle(Some(&only), 50);
        assert!(reservoir.ready().is_empty());
        assert!(!reservoir.forget_written());
        traces.note(&[2; 16]);
        reservoir.settle(Some(&only), 60);
        assert_eq!(reservoir.ready(), [of(2, 0)]);
        assert!(!reservoir.forget_written());
        // The first one has waited long enough, and a trace that is kept late still counts.
        traces.note(&[3; 16]);
        reservoir.settle(Some(&only), 100);
        assert_eq!(reservoir.ready(), [of(3, 90)]);
        assert!(reservoir.forget_written());
    }

    #[test]
    fn a_span_without_a_trace_id_is_no_exemplar() {
        for trace_id in [&[][..], &[0; 16], &[1; 8]] {
            assert_eq!(Exemplar::of(&Span { trace_id, ..Span::default() }, 1), None);
        }
        let span = Span { trace_id: &[1; 16], span_id: &[2; 8], end_ns: 3, ..Span::default() };
        assert_eq!(Exemplar::of(&span, 7), Some(exemplar(7)));
    }
}
