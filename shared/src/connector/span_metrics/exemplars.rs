//! Exemplars: a few of the spans that a data point counts, each as likely to be chosen.

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

/// What was chosen since the last flush.
#[derive(Debug, Default)]
pub(crate) struct Reservoir {
    offered: u64,
    kept: Vec<Exemplar>,
}

impl Reservoir {
    /// Keeps `exemplar`, or not, so that all that were offered are equally likely to be among at
    /// most `limit`.
    pub(crate) fn offer(&mut self, exemplar: Exemplar, limit: usize, random: &mut Random) {
        self.offered += 1;
        if self.kept.len() < limit {
            if self.kept.is_empty() {
                self.kept.reserve_exact(limit);
            }
            return self.kept.push(exemplar);
        }
        let place = usize::try_from(random.below(self.offered)).unwrap_or(usize::MAX);
        if let Some(kept) = self.kept.get_mut(place) {
            *kept = exemplar;
        }
    }

    /// What is kept.
    pub(crate) fn kept(&self) -> &[Exemplar] {
        &self.kept
    }

    /// Bytes that it takes, without what it is embedded in.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.kept.capacity() * size_of::<Exemplar>()
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
            assert_eq!(reservoir.kept().len(), 3);
            for exemplar in reservoir.kept() {
                kept[usize::try_from(exemplar.nanos).unwrap()] += 1;
            }
        }
        assert!(kept.iter().all(|count| (1_350..1_650).contains(count)), "{kept:?}");
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
