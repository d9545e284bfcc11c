//! Writes a request anew with some of its resources, scopes and records changed or left out.
//!
//! An [`Editor`] is shown the request in its order and says what becomes of each record, and of
//! each resource and scope once all records below it were seen. All else is copied byte for byte:
//! unknown fields, and the order in which fields stand. Until the first change nothing is copied,
//! and a request without one is not written at all.
//!
//! ```text
//! rewrite ──▶ Editor::enter_resource          Visit::Into, Over or Drop
//!               Editor::enter_scope           the same
//!                 Editor::record              Change::Keep, Drop or Replace
//!               Editor::leave_scope           a new scope in its Head, or none
//!             Editor::leave_resource          a new resource in its Head, or none
//! ```
//!
//! Inside a record, [`points`] and [`children`] do the same for a metric's data points and for
//! messages such as a span's events.
//!
//! A resource or scope that occurs twice in its entry is made one, as a decoder has it.

mod splice;
#[cfg(test)]
mod tests;

use super::export::{ResourceEntry, ScopeEntry};
use super::field::Fields;
use super::metric::{DataKind, Metric};
use super::write::Writer;
use splice::{Place, Splice};

/// What becomes of a record, a data point or another nested message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It stays as it is.
    Keep,
    /// It is left out.
    Drop,
    /// Its content becomes what was written.
    Replace,
}

/// What of an entry is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// All that is in it.
    Into,
    /// Only its own resource or scope: what is below stays as it is.
    Over,
    /// Nothing: it is left out with all that is in it, and not shown again when it is left.
    Drop,
}

/// What becomes of entries that were looked into and have nothing left below them, whether
/// something was left out there or they came so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empties {
    /// They stay.
    Keep,
    /// They are left out.
    Drop,
}

/// Says what a request becomes.
///
/// By default everything is looked at and stays as it is.
pub trait Editor<'a> {
    /// The next scopes and records are of this resource entry.
    fn enter_resource(&mut self, _entry: ResourceEntry<'a>) -> Visit {
        Visit::Into
    }

    /// The next records are of this scope entry.
    fn enter_scope(&mut self, _scope: ScopeEntry<'a>) -> Visit {
        Visit::Into
    }

    /// What becomes of a record. To replace it, its whole new content is written to `new`, which
    /// is empty.
    fn record(&mut self, _record: &'a [u8], _new: &mut Writer) -> Change {
        Change::Keep
    }

    /// The scope entry that was entered last has no more records. Not told of one that is left
    /// out.
    fn leave_scope(&mut self, _head: &mut Head) {}

    /// The resource entry that was entered last has no more records. Not told of one that is left
    /// out.
    fn leave_resource(&mut self, _head: &mut Head) {}
}

/// What an entry says of all its records: its resource or scope, and their schema.
#[derive(Debug, Default)]
pub struct Head {
    message: Option<Writer>,
    schema_url: Option<Vec<u8>>,
    records: Vec<Vec<u8>>,
}

impl Head {
    /// The content of a new `Resource` or `InstrumentationScope`, to be written whole.
    pub fn replace(&mut self) -> &mut Writer {
        let message = self.message.get_or_insert_default();
        message.clear();
        message
    }

    /// A further record behind those of the scope; of a resource, a further scope entry.
    pub fn add_record(&mut self, record: Vec<u8>) {
        self.records.push(record);
    }

    /// Another schema URL.
    pub fn set_schema_url(&mut self, schema_url: &[u8]) {
        self.schema_url = Some(schema_url.to_vec());
    }
}

/// Field of a resource entry in a request.
const ENTRY: u32 = 1;
/// Field of a resource in its entry, and of a scope in its own.
const HEAD: u32 = 1;
/// Field of a scope entry in a resource entry, and of a record in a scope entry.
const NESTED: u32 = 2;
/// Field of the schema URL in both.
const SCHEMA_URL: u32 = 3;
/// Field of a data point in each kind of data.
const POINT: u32 = 1;

/// The request that `editor` makes of this one; `None` when it changes nothing.
pub fn rewrite<'a>(
    request: &'a [u8],
    empties: Empties,
    editor: &mut impl Editor<'a>,
) -> Option<Vec<u8>> {
    let mut output = Writer::new();
    let splice = Splice::new(request, &mut output);
    let mut walk = Walk { splice, editor, empties, new: Writer::new() };
    for (place, content) in messages(request, 0) {
        if place.number == ENTRY {
            walk.resource_entry(place, content);
        }
    }
    let is_changed = walk.splice.finish();
    is_changed.then(|| output.into_vec())
}

/// Writes a metric with changed data points to `new`; the points of the kind that counts are
/// shown. Where empties are dropped, a metric without points left is [`Change::Drop`].
pub fn points<'a>(
    metric: &'a [u8],
    empties: Empties,
    new: &mut Writer,
    mut edit: impl FnMut(&'a [u8], &mut Writer) -> Change,
) -> Change {
    let read = Metric::read(metric);
    let start = metric.len() - read.data().len();
    let kind = read.kind.map(DataKind::field);
    let mut splice = Splice::new(metric, new);
    let (mut scratch, mut left) = (Writer::new(), 0);
    for (place, data) in messages(read.data(), start) {
        if Some(place.number) != kind {
            continue;
        }
        splice.open(place);
        for (place, point) in messages(data, place.content()) {
            if place.number == POINT {
                left += usize::from(splice.edit(place, point, &mut scratch, &mut edit));
            }
        }
        splice.close();
    }
    match splice.finish() {
        _ if left == 0 && empties == Empties::Drop => Change::Drop,
        true => Change::Replace,
        false => Change::Keep,
    }
}

/// Writes `message` with changed messages under `number` to `new`, such as a span with other
/// events (11).
pub fn children<'a>(
    message: &'a [u8],
    number: u32,
    new: &mut Writer,
    mut edit: impl FnMut(&'a [u8], &mut Writer) -> Change,
) -> Change {
    let mut splice = Splice::new(message, new);
    let mut scratch = Writer::new();
    for (place, child) in messages(message, 0) {
        if place.number == number {
            splice.edit(place, child, &mut scratch, &mut edit);
        }
    }
    match splice.finish() {
        true => Change::Replace,
        false => Change::Keep,
    }
}

/// The length-delimited fields of `message`, with their places in an input in which its content
/// begins at `start`.
fn messages(message: &[u8], start: usize) -> impl Iterator<Item = (Place, &[u8])> {
    let mut at = start;
    Fields::new(message).filter_map(move |field| {
        let start = at;
        at += field.raw.len();
        let content = field.value.bytes()?;
        Some((Place { number: field.number, start, end: at, content_len: content.len() }, content))
    })
}

struct Walk<'a, 'w, E> {
    splice: Splice<'a, 'w>,
    editor: &'w mut E,
    empties: Empties,
    /// For a record's new content.
    new: Writer,
}

impl<'a, E: Editor<'a>> Walk<'a, '_, E> {
    fn resource_entry(&mut self, place: Place, content: &'a [u8]) {
        let visit = self.editor.enter_resource(ResourceEntry { content });
        if visit == Visit::Drop {
            return self.splice.remove(place);
        }
        self.splice.open(place);
        let heads = self.pin_heads(place, content);
        let mut left = 0;
        for (place, content) in messages(content, place.content()) {
            match place.number {
                NESTED if visit == Visit::Into => {
                    left += usize::from(self.scope_entry(place, content));
                }
                HEAD if heads.is_other(place) => self.splice.remove(place),
                _ => {}
            }
        }
        if visit == Visit::Into && left == 0 && self.empties == Empties::Drop {
            return self.splice.discard();
        }
        let mut head = Head::default();
        self.editor.leave_resource(&mut head);
        self.close(head, &heads, content);
    }

    /// Whether it is kept.
    fn scope_entry(&mut self, place: Place, content: &'a [u8]) -> bool {
        let visit = self.editor.enter_scope(ScopeEntry { content });
        if visit == Visit::Drop {
            self.splice.remove(place);
            return false;
        }
        self.splice.open(place);
        let heads = self.pin_heads(place, content);
        let mut left = 0;
        for (place, content) in messages(content, place.content()) {
            match place.number {
                NESTED if visit == Visit::Into => {
                    let edit = |record: &'a [u8], new: &mut Writer| self.editor.record(record, new);
                    left += usize::from(self.splice.edit(place, content, &mut self.new, edit));
                }
                HEAD if heads.is_other(place) => self.splice.remove(place),
                _ => {}
            }
        }
        if visit == Visit::Into && left == 0 && self.empties == Empties::Drop {
            self.splice.discard();
            return false;
        }
        let mut head = Head::default();
        self.editor.leave_scope(&mut head);
        self.close(head, &heads, content);
        true
    }

    /// Notes where the opened entry keeps its resource or scope, in case it will be changed.
    fn pin_heads(&mut self, entry: Place, content: &[u8]) -> Heads {
        let mut places = messages(content, entry.content()).map(|(place, _)| place);
        let first = places.by_ref().find(|place| place.number == HEAD);
        let has_others = first.is_some() && places.any(|place| place.number == HEAD);
        let start = entry.content();
        let nowhere = Place { number: HEAD, start, end: start, content_len: 0 };
        let first = first.unwrap_or(nowhere);
        self.splice.pin(first);
        Heads { first, has_others }
    }

    /// Ends the opened entry with what its editor has for its head.
    fn close(&mut self, head: Head, heads: &Heads, content: &[u8]) {
        if let Some(message) = head.message {
            self.splice.replace_pinned(message.as_slice());
        } else if heads.has_others {
            let mut merged = Writer::new();
            let others = messages(content, 0).filter(|(place, _)| place.number == HEAD);
            others.for_each(|(_, message)| merged.raw(message));
            self.splice.replace_pinned(merged.as_slice());
        }
        if let Some(schema_url) = head.schema_url {
            // Of a field that occurs twice the last one counts.
            self.splice.append(SCHEMA_URL, &schema_url);
        }
        for record in head.records {
            self.splice.append(NESTED, &record);
        }
        self.splice.close();
    }
}

/// Where an entry keeps its resource or scope.
struct Heads {
    /// The first; an empty place when there is none.
    first: Place,
    /// Whether there are more, to be merged with it.
    has_others: bool,
}

impl Heads {
    fn is_other(&self, place: Place) -> bool {
        place.start != self.first.start
    }
}
