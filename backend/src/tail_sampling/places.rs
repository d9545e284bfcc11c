//! Where the spans of a scope entry stand.
//!
//! Each step from span to span waits for memory, and so does each look for a span's trace. With
//! the places noted on the walk that puts the header together, the looks need not wait for each
//! other.

use shared::wire::{Fields, Value};

/// Where a span stands in its scope entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    field: u32,
    content: u32,
    end: u32,
}

impl Place {
    /// A span whose field ends there, given as its field and as the content of that.
    #[inline]
    pub(super) fn new(end: usize, field: &[u8], content: &[u8]) -> Self {
        let place = |length| u32::try_from(length).expect("a request is below 4 GiB");
        Self {
            field: place(end - field.len()),
            content: place(end - content.len()),
            end: place(end),
        }
    }

    /// The span.
    #[inline]
    pub(super) fn span(self, entry: &[u8]) -> &[u8] {
        entry.get(self.content as usize..self.end as usize).unwrap_or_default()
    }

    /// The span as a field of the entry.
    #[inline]
    pub(super) fn field(self, entry: &[u8]) -> &[u8] {
        entry.get(self.field as usize..self.end as usize).unwrap_or_default()
    }
}

/// The places of an entry's spans: as many as find room, then the next ones.
#[derive(Debug, Default)]
pub(super) struct Places {
    list: Vec<Place>,
    /// Where the first span stands that found no room.
    next: Option<usize>,
}

impl Places {
    /// How many find room, so that a sender of many small spans gets no more memory of ours.
    const ROOM: usize = 1024;

    /// Begins an entry.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.next = None;
    }

    /// Notes the place of the next span.
    #[inline]
    pub(super) fn note(&mut self, place: Place) {
        if self.list.len() < Self::ROOM {
            self.list.push(place);
        } else if self.next.is_none() {
            self.next = Some(place.field as usize);
        }
    }

    /// Those that found room.
    pub(super) fn noted(&self) -> &[Place] {
        &self.list
    }

    /// Notes those that found none; `false` if there were no more.
    pub(super) fn go_on(&mut self, entry: &[u8]) -> bool {
        let Some(rest) = self.next.take().and_then(|next| entry.get(next..)) else { return false };
        self.list.clear();
        let mut fields = Fields::new(rest);
        while self.next.is_none()
            && let Some(field) = fields.next()
        {
            if let (2, Value::Bytes(content)) = (field.number, field.value) {
                self.note(Place::new(entry.len() - fields.remaining(), field.raw, content));
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use shared::wire::Writer;

    use super::*;

    #[test]
    fn every_span_is_found_once_and_in_order_however_many_there_are() {
        for count in [0, 1, 1023, 1024, 1025, 2048, 5000_u32] {
            let mut writer = Writer::new();
            for number in 0..count {
                writer.varint(7, u64::from(number));
                writer.bytes(2, &number.to_le_bytes());
            }
            writer.bytes(3, b"schema");
            let entry = writer.into_vec();
            let mut places = Places::default();
            let mut fields = Fields::new(&entry);
            while let Some(field) = fields.next() {
                if let (2, Value::Bytes(content)) = (field.number, field.value) {
                    places.note(Place::new(entry.len() - fields.remaining(), field.raw, content));
                }
            }
            let mut found = Vec::new();
            loop {
                for place in places.noted() {
                    assert_eq!(place.field(&entry)[2..], *place.span(&entry));
                    found.push(u32::from_le_bytes(place.span(&entry).try_into().unwrap()));
                }
                assert!(places.noted().len() <= Places::ROOM);
                if !places.go_on(&entry) {
                    break;
                }
            }
            assert_eq!(found, (0..count).collect::<Vec<_>>());
        }
    }
}
