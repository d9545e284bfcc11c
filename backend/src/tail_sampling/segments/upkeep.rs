//! Full segments are written anew: sealed, or packed when much of them was let go early.

use super::super::sealing::{Rewriting, Text};
use super::Log;

/// Bytes that are as much work as to look at one more run.
const RUN_WORK: usize = 8;

impl Log {
    /// How many segments wait for [`Log::upkeep`].
    pub(in super::super) fn backlog(&self) -> usize {
        self.listed.len() + usize::from(self.rewriting.is_some())
    }

    /// Seals or packs about so many bytes of full segments.
    pub(in super::super) fn upkeep(&mut self, mut budget: usize) {
        while budget > 0 {
            let Some((number, serial, mut rewriting)) = self.take_rewriting() else { return };
            let Some(segment) = self.segments.get(number).filter(|one| one.serial == serial) else {
                continue;
            };
            let Text::Plain(bytes) = &segment.text else { continue };
            let runs = &segment.runs[rewriting.next()..];
            for run in runs {
                let length = if run.spans == 0 { 0 } else { run.length as usize };
                rewriting.push(&bytes[run.offset as usize..][..length], self.table.get());
                budget = budget.saturating_sub(length);
                if budget == 0 {
                    break;
                }
            }
            if rewriting.next() < segment.runs.len() {
                self.rewriting = Some((number, serial, rewriting));
                return;
            }
            // A segment costs something however little is left of it.
            budget = budget.saturating_sub(self.segment_bytes / 16 + segment.runs.len() * RUN_WORK);
            self.replace(number, rewriting);
        }
    }

    fn take_rewriting(&mut self) -> Option<(u32, u64, Rewriting)> {
        if let Some(rewriting) = self.rewriting.take() {
            return Some(rewriting);
        }
        let (number, serial) = self.listed.pop_front()?;
        let length = match self.segments.get_mut(number) {
            Some(segment) if segment.serial == serial => {
                segment.mark_holes();
                segment.live_bytes
            }
            _ => 0,
        };
        Some((number, serial, Rewriting::new(self.compression, length)))
    }

    /// Puts the new bytes of a segment in the place of the old ones.
    fn replace(&mut self, number: u32, rewriting: Rewriting) {
        let (text, offsets) = rewriting.finish(self.table.get());
        let segment = &mut self.segments[number];
        segment.is_listed = false;
        for (run, offset) in segment.runs.iter_mut().zip(offsets) {
            run.offset = offset;
        }
        self.allocated += text.allocated();
        let old = std::mem::replace(&mut segment.text, text);
        self.allocated -= old.allocated();
        segment.renew_scopes(&mut self.freed_scopes);
        if segment.is_hollow() {
            // Much was let go meanwhile.
            self.list(number);
        }
        self.recycle(old);
    }
}
