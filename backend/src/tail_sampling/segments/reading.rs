//! Runs are read together, so that a sealed block is opened once for all that stand in it.

use std::ops::Range;

use super::super::sealing::Text;
use super::{Log, RunId};

/// The bytes of several runs.
pub(in super::super) struct Gathered<'a> {
    log: &'a Log,
    places: Vec<Place>,
    /// Bytes of the runs that were in sealed blocks.
    opened: Vec<u8>,
}

enum Place {
    InLog(RunId),
    Opened(Range<usize>),
}

impl Gathered<'_> {
    /// The bytes of the run that was asked for as number `index`: fields of a scope entry.
    pub(in super::super) fn get(&self, index: usize) -> &[u8] {
        match &self.places[index] {
            Place::Opened(range) => &self.opened[range.clone()],
            Place::InLog(id) => self.log.plain_bytes(*id).unwrap_or_default(),
        }
    }
}

impl Log {
    /// Reads runs.
    pub(in super::super) fn gather(&self, ids: impl Iterator<Item = RunId>) -> Gathered<'_> {
        let mut places: Vec<Place> = ids.map(Place::InLog).collect();
        let mut sealed: Vec<(RunId, usize)> = Vec::new();
        for (index, place) in places.iter().enumerate() {
            if let Place::InLog(id) = place
                && let Text::Sealed(_) = self.segments[id.segment].text
            {
                sealed.push((*id, index));
            }
        }
        // Runs of one block stand together then.
        sealed.sort_unstable();
        let (mut opened, mut block) = (Vec::new(), Vec::new());
        let mut open = None;
        for (id, index) in sealed {
            let segment = &self.segments[id.segment];
            let Text::Sealed(text) = &segment.text else { continue };
            let run = &segment.runs[id.index as usize];
            let (number, begin) = text.find(run.offset);
            if open != Some((id.segment, number)) {
                text.open(number, &mut block);
                open = Some((id.segment, number));
            }
            let from = opened.len();
            opened.extend_from_slice(&block[begin..][..run.length as usize]);
            places[index] = Place::Opened(from..opened.len());
        }
        Gathered { log: self, places, opened }
    }

    /// The bytes of a run that is not sealed.
    fn plain_bytes(&self, id: RunId) -> Option<&[u8]> {
        let segment = &self.segments[id.segment];
        let run = &segment.runs[id.index as usize];
        match &segment.text {
            Text::Plain(bytes) => Some(&bytes[run.offset as usize..][..run.length as usize]),
            Text::Sealed(_) => None,
        }
    }
}
