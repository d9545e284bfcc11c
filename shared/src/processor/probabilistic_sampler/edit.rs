//! Reads what items say of sampling, and writes what they say from then on.

use super::ProbabilisticSampler;
use super::counts::Tally;
use super::sampler::{Carried, Item, Method, Priority};
use crate::processor::actions::{AttributeList, parse_double, text};
use crate::wire::text::put_text;
use crate::wire::trace_state::{Otel, put_randomness, put_threshold, randomness_in, threshold_of};
use crate::wire::{AnyValue, Change, Editor, Fields, LogRecord, Signal, Span, Value, Writer};

/// `Span.trace_state`.
const TRACE_STATE: u32 = 3;
/// `LogRecord.attributes`.
const ATTRIBUTES: u32 = 6;

/// Samples one batch.
pub(super) struct Edit<'a> {
    processor: &'a ProbabilisticSampler,
    signal: Signal,
    pub(super) tally: Tally,
    list: AttributeList<'a>,
    /// A trace state, or the text of an attribute.
    scratch: Vec<u8>,
}

impl<'a> Edit<'a> {
    pub(super) fn new(processor: &'a ProbabilisticSampler, signal: Signal) -> Self {
        let list = AttributeList::default();
        Self { processor, signal, tally: Tally::default(), list, scratch: Vec::new() }
    }

    fn span(&mut self, raw: &[u8], new: &mut Writer) -> Change {
        let span = Span::read(raw);
        let otel = Otel::read(span.trace_state);
        let carried =
            otel.map(|otel| Carried { randomness: otel.randomness, threshold: otel.threshold });
        let item =
            Item { carried, trace_id: id(span.trace_id), attribute: None, notes_missing: true };
        let verdict = self.processor.sampler.judge(&item, priority_of_span(&span));
        self.tally.note(&verdict);
        if !verdict.is_sampled {
            return Change::Drop;
        }
        let (Some(inscription), Some(otel)) = (verdict.inscription, otel) else {
            return Change::Keep;
        };
        let Carried { randomness, threshold } = inscription;
        otel.write(span.trace_state, randomness, threshold, &mut self.scratch);
        if self.scratch == span.trace_state {
            return Change::Keep;
        }
        put_span(raw, &self.scratch, new);
        Change::Replace
    }

    fn log_record(&mut self, raw: &'a [u8], new: &mut Writer) -> Change {
        let processor = self.processor;
        let record = LogRecord::read(raw);
        let is_hash = matches!(processor.sampler.method, Method::Hash { .. });
        self.scratch.clear();
        if is_hash
            && !processor.from_attribute.is_empty()
            && let Some(value) = record.attribute(&processor.from_attribute)
        {
            match value {
                AnyValue::Bytes(bytes) => self.scratch.extend_from_slice(bytes),
                value => put_text(&mut self.scratch, value),
            }
        }
        let uses_trace_id = !is_hash || processor.hashes_trace_ids;
        let item = Item {
            carried: carried_by_log_record(&record),
            trace_id: id(record.trace_id).filter(|_| uses_trace_id),
            attribute: Some(&self.scratch[..]).filter(|bytes| !bytes.is_empty()),
            notes_missing: false,
        };
        let verdict = processor.sampler.judge(&item, self.priority_of_log_record(&record));
        self.tally.note(&verdict);
        if !verdict.is_sampled {
            return Change::Drop;
        }
        let Some(inscription) = verdict.inscription else { return Change::Keep };
        self.list.read(ATTRIBUTES, std::iter::once(raw));
        let mut set = |key: &'static [u8], number: Option<u64>, put: fn(u64, &mut Vec<u8>)| {
            if let Some(number) = number {
                let mut digits = Vec::new();
                put(number, &mut digits);
                self.list.upsert(key.into(), text(&digits).into());
            }
        };
        set(b"sampling.randomness", inscription.randomness, put_randomness);
        set(b"sampling.threshold", inscription.threshold, put_threshold);
        if !self.list.is_changed() {
            return Change::Keep;
        }
        self.list.write(&std::iter::once(raw), new);
        Change::Replace
    }

    #[allow(clippy::cast_precision_loss, reason = "a percentage")]
    fn priority_of_log_record(&self, record: &LogRecord<'_>) -> Priority {
        if self.processor.priority.is_empty() {
            return Priority::None;
        }
        match record.attribute(&self.processor.priority) {
            Some(AnyValue::Double(percent)) if percent != 0.0 => Priority::Share(percent / 100.0),
            Some(AnyValue::Int(percent)) if percent != 0 => Priority::Share(percent as f64 / 100.0),
            _ => Priority::None,
        }
    }
}

impl<'a> Editor<'a> for Edit<'a> {
    fn record(&mut self, record: &'a [u8], new: &mut Writer) -> Change {
        match self.signal {
            Signal::Logs => self.log_record(record, new),
            Signal::Traces | Signal::Metrics => self.span(record, new),
        }
    }
}

/// A trace id that is one.
fn id(bytes: &[u8]) -> Option<&[u8; 16]> {
    <&[u8; 16]>::try_from(bytes).ok().filter(|id| **id != [0; 16])
}

/// What `sampling.priority` says, of whatever type: nothing, below zero.
fn priority_of_span(span: &Span<'_>) -> Priority {
    let number = match span.attribute(b"sampling.priority") {
        Some(AnyValue::Int(number)) => f64::from(i8::try_from(number.signum()).unwrap_or(0)),
        Some(AnyValue::Double(number)) => number,
        Some(AnyValue::String(text)) => parse_double(text).unwrap_or(-1.0),
        _ => return Priority::None,
    };
    match number {
        0.0 => Priority::Never,
        number if number > 0.0 => Priority::Always,
        _ => Priority::None,
    }
}

/// What its attributes say; `None` if that cannot be read.
fn carried_by_log_record(record: &LogRecord<'_>) -> Option<Carried> {
    let digits = |key: &[u8]| {
        let text = record.attribute(key).and_then(AnyValue::as_string);
        text.filter(|text| !text.is_empty())
    };
    let mut carried = Carried::default();
    if let Some(digits) = digits(b"sampling.threshold") {
        carried.threshold = Some(threshold_of(digits)?);
    }
    if let Some(digits) = digits(b"sampling.randomness") {
        carried.randomness = Some(randomness_in(digits)?);
    }
    Some(carried)
}

/// Writes a span with this trace state: where it had one, or else before its last field, so that a
/// trace id that comes first or last does so still.
fn put_span(span: &[u8], trace_state: &[u8], new: &mut Writer) {
    let is_trace_state =
        |number, value: Value<'_>| number == TRACE_STATE && value.bytes().is_some();
    let mut place = Fields::new(span).position(|field| is_trace_state(field.number, field.value));
    if place.is_none() {
        place = Fields::new(span).count().checked_sub(1);
    }
    for (index, field) in Fields::new(span).enumerate() {
        if Some(index) == place {
            new.bytes(TRACE_STATE, trace_state);
        }
        if !is_trace_state(field.number, field.value) {
            new.raw(field.raw);
        }
    }
    if place.is_none() {
        new.bytes(TRACE_STATE, trace_state);
    }
}
