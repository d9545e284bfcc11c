//! Reads what dimensions are made of out of resources, spans and events.
//!
//! A named dimension is the span's attribute, else the event's if events are counted, else the
//! resource's. The same goes for attributes that match patterns, each name once.

use hashbrown::HashMap;

use crate::wire::{self, AnyValue, Attributes, Span};

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
    /// The span and the resource together.
    of_span: Layer<'a>,
    /// The span, the event and the resource together.
    of_event: Layer<'a>,
}

/// What one set of attributes says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer<'a> {
    /// One for each of [`Settings::names`].
    pub(crate) values: Vec<Option<AnyValue<'a>>>,
    /// Sorted by name, each once.
    pub(crate) matched: Vec<Matched<'a>>,
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
            of_span: layer(),
            of_event: layer(),
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

    /// The dimensions of a span of that resource.
    #[inline]
    pub(crate) fn read_span(&mut self, span: &Span<'a>) -> &Layer<'a> {
        if !self.reads_nothing() {
            self.span.read(self.settings, span.attributes().unread(), &mut self.verdicts);
            self.of_span.join(&[&self.span, &self.resource]);
        }
        &self.of_span
    }

    /// The dimensions of an event of the span that was read last.
    pub(crate) fn read_event(&mut self, event: &'a [u8]) -> &Layer<'a> {
        if !self.reads_nothing() {
            let attributes = Attributes::new(event, 3).unread();
            self.event.read(self.settings, attributes, &mut self.verdicts);
            self.of_event.join(&[&self.span, &self.event, &self.resource]);
        }
        &self.of_event
    }

    fn reads_nothing(&self) -> bool {
        self.settings.names.len() == 0 && self.settings.globs.is_empty()
    }
}

impl<'a> Layer<'a> {
    /// Reads the attributes; of those with one name the first counts.
    #[inline]
    fn read(
        &mut self,
        settings: &Settings,
        attributes: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        verdicts: &mut HashMap<&'a [u8], u64>,
    ) {
        self.values.fill(None);
        self.matched.clear();
        for (name, value) in attributes {
            if let Some(slot) = settings.names.find(name)
                && self.values[slot].is_none()
            {
                self.values[slot] = Some(AnyValue::read(value));
            }
            if !settings.globs.is_empty() {
                let globs = *verdicts.entry(name).or_insert_with(|| judge(settings, name));
                if globs != 0 {
                    self.matched.push(Matched { name, value, globs });
                }
            }
        }
        self.matched.sort_by_key(|matched| matched.name);
        self.matched.dedup_by_key(|matched| matched.name);
    }

    /// What the first of `layers` says, else the next.
    #[inline]
    fn join(&mut self, layers: &[&Layer<'a>]) {
        let [first, others @ ..] = layers else { return };
        self.values.copy_from_slice(&first.values);
        for layer in others {
            for (value, other) in self.values.iter_mut().zip(&layer.values) {
                *value = value.or(*other);
            }
        }
        self.matched.clear();
        if layers.iter().all(|layer| layer.matched.is_empty()) {
            return;
        }
        self.matched.extend(layers.iter().flat_map(|layer| &layer.matched));
        // Stable, so that the first layer's comes first.
        self.matched.sort_by_key(|matched| matched.name);
        self.matched.dedup_by_key(|matched| matched.name);
    }
}

/// The bits of the patterns that match `name`.
fn judge(settings: &Settings, name: &[u8]) -> u64 {
    let name = String::from_utf8_lossy(name);
    let globs = settings.globs.iter().enumerate();
    globs.filter(|(_, glob)| glob.matches(&name)).fold(0, |bits, (index, _)| bits | 1 << index)
}
