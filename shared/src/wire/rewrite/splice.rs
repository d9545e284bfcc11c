//! Copies an input with changes.
//!
//! Changes come in the order of the input. What stands between two of them is copied when the
//! later one comes, in one piece; messages around a change are begun anew then, and their lengths
//! are set when they are closed. So a message in which nothing changes is only ever part of a
//! piece.

use super::Change;
use crate::wire::write::Writer;

/// Where a length-delimited field stands in the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) number: u32,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) content_len: usize,
}

impl Place {
    /// Where its content begins.
    pub(super) fn content(self) -> usize {
        self.end - self.content_len
    }
}

pub(super) struct Splice<'a, 'w> {
    input: &'a [u8],
    output: &'w mut Writer,
    /// Up to here the input is in the output, or is left out.
    copied: usize,
    /// The messages around what comes next, from the outermost.
    open: Vec<Open>,
    is_changed: bool,
}

/// A message that is being copied.
struct Open {
    place: Place,
    /// Where it begins in the output; `None` as long as nothing in it has changed.
    begun: Option<Begun>,
    pin: Option<Pin>,
}

#[derive(Clone, Copy)]
struct Begun {
    tag: usize,
    content: usize,
}

/// A place that may be changed after what follows it.
#[derive(Clone, Copy)]
struct Pin {
    place: Place,
    /// Where it is in the output, once it is there.
    copied_to: Option<usize>,
}

impl<'a, 'w> Splice<'a, 'w> {
    /// Copies `input` to `output`, which is cleared.
    pub(super) fn new(input: &'a [u8], output: &'w mut Writer) -> Self {
        output.clear();
        Self { input, output, copied: 0, open: Vec::new(), is_changed: false }
    }

    /// Enters a message.
    pub(super) fn open(&mut self, place: Place) {
        self.open.push(Open { place, begun: None, pin: None });
    }

    /// Leaves the message that was entered last.
    pub(super) fn close(&mut self) {
        let open = self.open.pop().expect("a message is open");
        if let Some(begun) = open.begun {
            self.copy_to(open.place.end);
            self.output.end(begun.content, open.place.content_len);
        }
    }

    /// Leaves the message that was entered last, and leaves it out.
    pub(super) fn discard(&mut self) {
        let open = self.open.pop().expect("a message is open");
        match open.begun {
            None => self.remove(open.place),
            Some(begun) => {
                self.output.truncate(begun.tag);
                self.copied = open.place.end;
            }
        }
    }

    /// Leaves out a field.
    pub(super) fn remove(&mut self, place: Place) {
        self.change(place.start);
        self.copied = place.end;
    }

    /// Does with a field what `edit` says of its content. Whether it is kept.
    pub(super) fn edit<'m>(
        &mut self,
        place: Place,
        content: &'m [u8],
        scratch: &mut Writer,
        mut edit: impl FnMut(&'m [u8], &mut Writer) -> Change,
    ) -> bool {
        scratch.clear();
        match edit(content, scratch) {
            Change::Keep => true,
            Change::Replace => {
                self.replace(place, scratch.as_slice());
                true
            }
            Change::Drop => {
                self.remove(place);
                false
            }
        }
    }

    fn replace(&mut self, place: Place, content: &[u8]) {
        self.change(place.start);
        self.output.bytes(place.number, content);
        self.copied = place.end;
    }

    /// Keeps in mind a place in the message that was entered last.
    pub(super) fn pin(&mut self, place: Place) {
        let open = self.open.last_mut().expect("a message is open");
        open.pin = Some(Pin { place, copied_to: None });
    }

    /// Replaces what stands at the pinned place of the message that was entered last.
    pub(super) fn replace_pinned(&mut self, content: &[u8]) {
        let open = self.open.last().expect("a message is open");
        let pin = open.pin.expect("it was pinned");
        match pin.copied_to {
            None => self.replace(pin.place, content),
            Some(at) => {
                let mut field = Writer::with_capacity(content.len() + 8);
                field.bytes(pin.place.number, content);
                self.output.rewrite(at..at + (pin.place.end - pin.place.start), field.as_slice());
            }
        }
    }

    /// Adds a field at the end of the message that was entered last.
    pub(super) fn append(&mut self, number: u32, content: &[u8]) {
        let open = self.open.last().expect("a message is open");
        self.change(open.place.end);
        self.output.bytes(number, content);
    }

    /// Copies what is left. Whether there was a change; if not, the output is empty.
    pub(super) fn finish(mut self) -> bool {
        if self.is_changed {
            self.copy_to(self.input.len());
        }
        self.is_changed
    }

    /// Copies up to where something changes.
    fn change(&mut self, at: usize) {
        self.is_changed = true;
        for index in 0..self.open.len() {
            let Open { place, begun, .. } = self.open[index];
            if begun.is_none() {
                self.copy_to(place.start);
                let tag = self.output.len();
                let content = self.output.begin(place.number, place.content_len);
                self.open[index].begun = Some(Begun { tag, content });
                self.copied = place.content();
            }
        }
        self.copy_to(at);
    }

    fn copy_to(&mut self, end: usize) {
        let output = self.output.len();
        for open in &mut self.open {
            if let Some(Pin { place, copied_to: copied_to @ None }) = &mut open.pin
                && open.begun.is_some()
                && self.copied <= place.start
                && place.end <= end
            {
                *copied_to = Some(output + place.start - self.copied);
            }
        }
        self.output.raw(&self.input[self.copied..end]);
        self.copied = end;
    }
}
