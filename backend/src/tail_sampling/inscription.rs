//! What is written on kept spans: which policy wanted them, and how hard it was to be kept.
//!
//! Spans stay bytes. A span is copied field by field, without what is replaced, and what is new is
//! put behind; unknown fields stay where they are. The attributes are the Collector's
//! `tailsampling.policy`, `tailsampling.composite_policy` and `tailsampling.cached_decision`, on
//! the instrumentation scope as there, or on each span. The threshold is `th` of the trace state.
//!
//! Source: contrib v0.157 `tailsamplingprocessor/internal/sampling/util.go`.

use shared::config_enum;
use shared::wire::trace_state::{Raised, raise_threshold};
use shared::wire::write::put_varint;
use shared::wire::{Fields, Span, Value, Writer};

use super::evaluate::Verdict;
use super::policy::{Names, RuleId, Threshold};

config_enum! {
    /// Where the policy that kept a trace is recorded.
    pub(crate) enum RecordPolicy {
        /// Nowhere.
        None = "none",
        /// On the instrumentation scopes, as the Collector does.
        Scope = "scope",
        /// On each span.
        Span = "span",
    }
}

/// What is written on spans, by the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inscription {
    /// Where the policy is.
    pub(super) policy: RecordPolicy,
    /// Whether the threshold is.
    pub(super) threshold: bool,
}

/// Where a verdict is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The policies, just now.
    Policies,
    /// Memory: the spans came late.
    Memory,
}

/// What is known of why spans are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Reason {
    by: Option<RuleId>,
    threshold: Threshold,
    is_remembered: bool,
}

impl Reason {
    /// That of a verdict.
    pub(super) fn of(verdict: Verdict, source: Source) -> Self {
        let Verdict { by, threshold, .. } = verdict;
        Self { by, threshold, is_remembered: source == Source::Memory }
    }
}

/// What is written on the spans of one trace, ready to be copied.
#[derive(Debug)]
pub(super) struct Text {
    /// Attributes of a scope.
    scope: Vec<u8>,
    /// Attributes of a span.
    span: Vec<u8>,
    threshold: Option<u64>,
}

/// `InstrumentationScope.attributes`.
const SCOPE_ATTRIBUTES: u32 = 3;
/// `Span.attributes`.
const SPAN_ATTRIBUTES: u32 = 9;
/// `Span.trace_state`.
const TRACE_STATE: u32 = 3;
/// Field 2, length-delimited: a span in its scope entry.
const SPAN_TAG: u8 = 0x12;

const POLICY: &[u8] = b"tailsampling.policy";
const SUB_POLICY: &[u8] = b"tailsampling.composite_policy";
const REMEMBERED: &[u8] = b"tailsampling.cached_decision";

impl Inscription {
    /// Nothing is written.
    #[cfg(test)]
    pub(super) const NOTHING: Self = Self { policy: RecordPolicy::None, threshold: false };

    /// Whether nothing is.
    pub(super) fn is_nothing(self) -> bool {
        self.policy == RecordPolicy::None && !self.threshold
    }

    /// Whether spans are written on.
    pub(super) fn is_on_spans(self) -> bool {
        self.policy == RecordPolicy::Span || self.threshold
    }

    /// What a scope is told apart by when it is written on: there is none of the threshold.
    pub(super) fn on_scopes(self, reason: Reason) -> Option<Reason> {
        let is_written = self.policy == RecordPolicy::Scope;
        is_written.then_some(Reason { threshold: Threshold::NONE, ..reason })
    }

    /// About how much larger a span becomes.
    pub(super) fn growth(self, reason: Reason, names: &Names) -> usize {
        let name = reason.by.map_or(0, |by| names.get(by).len());
        let attributes = match self.policy {
            RecordPolicy::Span => POLICY.len() + SUB_POLICY.len() + REMEMBERED.len() + name + 32,
            RecordPolicy::None | RecordPolicy::Scope => 0,
        };
        attributes + if self.threshold { 32 } else { 0 }
    }

    /// What is written for a reason.
    pub(super) fn text(self, reason: Reason, names: &Names) -> Text {
        let attributes = |wanted: RecordPolicy, number: u32| match self.policy == wanted {
            true => attributes(reason, names, number),
            false => Vec::new(),
        };
        Text {
            scope: attributes(RecordPolicy::Scope, SCOPE_ATTRIBUTES),
            span: attributes(RecordPolicy::Span, SPAN_ATTRIBUTES),
            threshold: self.threshold.then(|| reason.threshold.parts()),
        }
    }
}

fn attributes(reason: Reason, names: &Names, number: u32) -> Vec<u8> {
    let mut writer = Writer::new();
    if let Some(by) = reason.by {
        let (policy, sub_policy) = names.parts(by);
        writer.string_attribute(number, POLICY, policy.as_bytes());
        if let Some(sub_policy) = sub_policy {
            writer.string_attribute(number, SUB_POLICY, sub_policy.as_bytes());
        }
    }
    if reason.is_remembered {
        writer.bool_attribute(number, REMEMBERED, true);
    }
    writer.into_vec()
}

impl Text {
    /// Appends the fields of a scope entry besides its spans. The scope becomes one field.
    pub(super) fn put_scope(&self, header: &[u8], out: &mut Vec<u8>) {
        if self.scope.is_empty() {
            out.extend_from_slice(header);
            return;
        }
        let mut writer = Writer::with_capacity(header.len() + self.scope.len() + 8);
        writer.message(1, |scope| {
            let scopes = Fields::new(header).filter(|field| field.number == 1);
            for field in scopes.filter_map(|field| field.value.bytes()).flat_map(Fields::new) {
                if field.number != SCOPE_ATTRIBUTES || !is_ours(field.value) {
                    scope.raw(field.raw);
                }
            }
            scope.raw(&self.scope);
        });
        for field in Fields::new(header) {
            if !matches!((field.number, field.value), (1, Value::Bytes(_))) {
                writer.raw(field.raw);
            }
        }
        out.extend_from_slice(writer.as_slice());
    }

    /// Appends spans, given as fields of their scope entry; tells how many have a trace state that
    /// cannot be read and stays as it is.
    pub(super) fn put_spans(&self, spans: &[u8], out: &mut Vec<u8>) -> u64 {
        let (mut rewritten, mut trace_state) = (Vec::new(), Vec::new());
        let mut unreadable = 0;
        for field in Fields::new(spans) {
            let Value::Bytes(span) = field.value else { continue };
            let raised = match self.threshold {
                Some(threshold) => {
                    raise_threshold(Span::read(span).trace_state, threshold, &mut trace_state)
                }
                None => Raised::Already,
            };
            unreadable += u64::from(raised == Raised::Unreadable);
            let new_state = (raised == Raised::Yes).then_some(&trace_state[..]);
            rewritten.clear();
            self.put_span(span, new_state, &mut rewritten);
            out.push(SPAN_TAG);
            put_varint(out, rewritten.len() as u64);
            out.extend_from_slice(&rewritten);
        }
        unreadable
    }

    fn put_span(&self, span: &[u8], new_state: Option<&[u8]>, out: &mut Vec<u8>) {
        for field in Fields::new(span) {
            let is_replaced = match field.number {
                TRACE_STATE => new_state.is_some(),
                SPAN_ATTRIBUTES => !self.span.is_empty() && is_ours(field.value),
                _ => false,
            };
            if !is_replaced {
                out.extend_from_slice(field.raw);
            }
        }
        if let Some(trace_state) = new_state {
            let mut writer = Writer::with_capacity(trace_state.len() + 4);
            writer.bytes(TRACE_STATE, trace_state);
            out.extend_from_slice(writer.as_slice());
        }
        out.extend_from_slice(&self.span);
    }
}

/// Whether an attribute has one of the keys that are written here.
fn is_ours(attribute: Value<'_>) -> bool {
    let Value::Bytes(attribute) = attribute else { return false };
    let keys = Fields::new(attribute).filter(|field| field.number == 1);
    let key = keys.filter_map(|field| field.value.bytes()).last();
    key.is_some_and(|key| [POLICY, SUB_POLICY, REMEMBERED].contains(&key))
}

#[cfg(test)]
mod tests;
