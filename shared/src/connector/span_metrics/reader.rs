//! Reads what dimensions are made of out of resources, spans and events.
//!
//! A named dimension is the span's attribute, else the event's if events are counted, else the
//! resource's. The same goes for attributes that match patterns, each name once.

use hashbrown::HashMap;

use crate::wire::{self, Attributes, Span};

use super::key::Matched;
use super::settings::Settings;

/// Reads the values of dimensions. Keeps buffers from span to span, and what patterns say of the
/// names in a batch.
pub(crate) struct Reader<'a, 's> {
    settings: &'s Settings,
    /// Which patterns a name matches.
    verdicts: HashMap<&'a [u8], u64>,
    resource: Layer<'a>,
    span: Layer<'a>,
    event: Layer<'a>,
    /// What matches patterns in all layers that are asked together.
    matched: Vec<Matched<'a>>,
}

/// What one set of attributes says.
#[derive(Debug, Clone, Default)]
struct Layer<'a> {
    /// The `AnyValue` message of each of [`Settings::names`].
    values: Vec<Option<&'a [u8]>>,
    /// Sorted by name, each once.
    matched: Vec<Matched<'a>>,
}

/// What a span or an event says of the dimensions, or else what it is under.
pub(crate) struct Said<'r, 'a> {
    span: &'r Layer<'a>,
    event: Option<&'r Layer<'a>>,
    resource: &'r Layer<'a>,
    /// Attributes that match patterns, sorted by name, each once.
    pub(crate) matched: &'r [Matched<'a>],
}

impl<'a> Said<'_, 'a> {
    /// The `AnyValue` message under one of [`Settings::names`].
    #[inline]
    pub(crate) fn value(&self, slot: usize) -> Option<&'a [u8]> {
        self.span.values[slot]
            .or_else(|| self.event?.values[slot])
            .or_else(|| self.resource.values[slot])
    }
}

impl<'a, 's> Reader<'a, 's> {
    pub(crate) fn new(settings: &'s Settings) -> Self {
        let layer = || Layer { values: vec![None; settings.names.len()], matched: Vec::new() };
        Self {
            settings,
            verdicts: HashMap::new(),
            resource: layer(),
            span: layer(),
            event: layer(),
            matched: Vec::new(),
        }
    }

    /// Reads what spans without an attribute of their own take from their resource.
    pub(crate) fn read_resource(&mut self, resource: wire::Resource<'a>) {
        if self.reads_nothing() {
            return;
        }
        let attributes =
            resource.messages().flat_map(|message| Attributes::new(message, 1).unread());
        self.resource.read(self.settings, attributes, &mut self.verdicts);
    }

    /// Reads a span of that resource, and its dimensions in the same pass.
    #[inline]
    pub(crate) fn read_span(&mut self, raw: &'a [u8]) -> Span<'a> {
        if self.reads_nothing() {
            return Span::read(raw);
        }
        let Self { settings, span: layer, verdicts, .. } = self;
        layer.begin();
        let span = Span::read_with(raw, |name, value| layer.note(settings, verdicts, name, value));
        layer.end();
        merge(&mut self.matched, [&self.span, &self.resource]);
        span
    }

    /// The dimensions of that span.
    #[inline]
    pub(crate) fn of_span(&self) -> Said<'_, 'a> {
        let Self { span, resource, matched, .. } = self;
        Said { span, event: None, resource, matched }
    }

    /// The dimensions of an event of the span that was read last.
    pub(crate) fn read_event(&mut self, event: &'a [u8]) -> Said<'_, 'a> {
        if !self.reads_nothing() {
            let attributes = Attributes::new(event, 3).unread();
            self.event.read(self.settings, attributes, &mut self.verdicts);
            merge(&mut self.matched, [&self.span, &self.event, &self.resource]);
        }
        let Self { span, event, resource, matched, .. } = self;
        Said { span, event: Some(event), resource, matched }
    }

    fn reads_nothing(&self) -> bool {
        self.settings.names.is_empty() && self.settings.globs.is_empty()
    }
}

impl<'a> Layer<'a> {
    /// Reads the attributes; of those with one name the first counts.
    fn read(
        &mut self,
        settings: &Settings,
        attributes: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        verdicts: &mut HashMap<&'a [u8], u64>,
    ) {
        self.begin();
        for (name, value) in attributes {
            self.note(settings, verdicts, name, value);
        }
        self.end();
    }

    #[inline]
    fn begin(&mut self) {
        self.values.fill(None);
        self.matched.clear();
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "runs for each attribute of each span")]
    fn note(
        &mut self,
        settings: &Settings,
        verdicts: &mut HashMap<&'a [u8], u64>,
        name: &'a [u8],
        value: &'a [u8],
    ) {
        if let Some(slot) = settings.names.find(name) {
            let noted = &mut self.values[slot];
            *noted = noted.or(Some(value));
        }
        if !settings.globs.is_empty() {
            self.note_matching(settings, verdicts, name, value);
        }
    }

    #[inline(never)]
    fn note_matching(
        &mut self,
        settings: &Settings,
        verdicts: &mut HashMap<&'a [u8], u64>,
        name: &'a [u8],
        value: &'a [u8],
    ) {
        let globs = *verdicts.entry(name).or_insert_with(|| judge(settings, name));
        if globs != 0 {
            self.matched.push(Matched { name, value, globs });
        }
    }

    #[inline]
    fn end(&mut self) {
        if !self.matched.is_empty() {
            sort(&mut self.matched);
        }
    }
}

/// Sorts them by name; of those with one name the first stays, as the order is stable.
#[inline(never)]
fn sort(matched: &mut Vec<Matched<'_>>) {
    matched.sort_by_key(|matched| matched.name);
    matched.dedup_by_key(|matched| matched.name);
}

/// Of the attributes with one name, those of the first layer that has them.
#[inline]
fn merge<'a, const N: usize>(matched: &mut Vec<Matched<'a>>, layers: [&Layer<'a>; N]) {
    matched.clear();
    if layers.iter().all(|layer| layer.matched.is_empty()) {
        return;
    }
    matched.extend(layers.iter().flat_map(|layer| &layer.matched));
    sort(matched);
}

/// The bits of the patterns that match `name`.
fn judge(settings: &Settings, name: &[u8]) -> u64 {
    let name = String::from_utf8_lossy(name);
    let globs = settings.globs.iter().enumerate();
    globs.filter(|(_, glob)| glob.matches(&name)).fold(0, |bits, (index, _)| bits | 1 << index)
}
