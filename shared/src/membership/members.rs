//! Who is a member, as a sequence of answers tells it. Pure: told answers and the time, does no I/O.
//!
//! Joining is quick and leaving is slow. Who is new joins at once. Who is missing leaves only
//! after several answers in a row without it, since a partial answer looks the same, and every
//! wrong move splits traces. When more than half would leave, a broken source is likelier than a
//! true change, and they must be missing for a while longer. An answer that names nobody says
//! nothing at all: the set is never emptied.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::MAX_ENDPOINTS;

/// What a source of members said.
#[derive(Debug, Clone)]
pub struct Answer<M> {
    /// The members that it named, in any order.
    pub found: Vec<M>,
    /// Which members it could not have named, since a part of the question got no answer. They
    /// are not missing.
    pub silent_about: fn(&M) -> bool,
}

impl<M> Answer<M> {
    /// An answer to the whole question.
    pub fn whole(found: Vec<M>) -> Self {
        Self { found, silent_about: |_| false }
    }
}

/// What an answer changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<M> {
    /// Members that joined, sorted.
    pub joined: Vec<M>,
    /// Members that left, sorted.
    pub left: Vec<M>,
    /// How many new members were passed over, since the set is as large as it may be.
    pub passed_over: usize,
    /// Set by the answer that began to hold members back: how many would have left.
    pub held_back: Option<usize>,
}

impl<M> Change<M> {
    fn none() -> Self {
        Self { joined: Vec::new(), left: Vec::new(), passed_over: 0, held_back: None }
    }

    /// Whether the set is another one now.
    pub fn any(&self) -> bool {
        !self.joined.is_empty() || !self.left.is_empty()
    }
}

/// When members leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A member leaves when this many answers in a row were without it.
    pub misses: u32,
    /// When more than half would leave within this time, they leave after it; 0 is at once.
    pub shrink_hold: Duration,
}

/// The present members, each with the number of answers in a row that were without it.
#[derive(Debug, Clone)]
pub struct Members<M> {
    patience: Patience,
    misses: BTreeMap<M, u32>,
    /// Since when members are held back that would be too many to leave at once.
    held_since: Option<Instant>,
    /// When how many left, as far as it is not longer ago than the hold: a shrink in steps is a
    /// shrink, too.
    departures: Vec<(Instant, usize)>,
}

impl<M: Ord + Clone + fmt::Debug> Members<M> {
    /// No members yet.
    pub fn new(patience: Patience) -> Self {
        Self { patience, misses: BTreeMap::new(), held_since: None, departures: Vec::new() }
    }

    /// Learns from an answer.
    pub fn learn(&mut self, answer: &Answer<M>, now: Instant) -> Change<M> {
        let mut change = Change::none();
        if answer.found.is_empty() {
            return change;
        }
        for (member, misses) in &mut self.misses {
            if !(answer.silent_about)(member) {
                *misses = misses.saturating_add(1);
            }
        }
        for member in &answer.found {
            if let Some(misses) = self.misses.get_mut(member) {
                *misses = 0;
            } else if self.misses.len() >= MAX_ENDPOINTS {
                change.passed_over += 1;
            } else {
                self.misses.insert(member.clone(), 0);
                change.joined.push(member.clone());
            }
        }
        change.joined.sort_unstable();
        self.let_go(&mut change, now);
        change
    }

    /// Lets those go that were missing often enough, unless they are too many.
    fn let_go(&mut self, change: &mut Change<M>, now: Instant) {
        let Patience { misses: enough, shrink_hold } = self.patience;
        self.departures.retain(|(when, _)| now.saturating_duration_since(*when) < shrink_hold);
        let due = self.misses.values().filter(|misses| **misses >= enough).count();
        let left_lately: usize = self.departures.iter().map(|(_, count)| count).sum();
        let known = self.misses.len() + left_lately;
        let too_many = due > 0 && (due + left_lately) * 2 > known && !shrink_hold.is_zero();
        match self.held_since {
            None if too_many => {
                self.held_since = Some(now);
                change.held_back = Some(due);
                return;
            }
            Some(since) if too_many && now.saturating_duration_since(since) < shrink_hold => return,
            _ => self.held_since = None,
        }
        self.misses.retain(|member, misses| {
            let stays = *misses < enough;
            if !stays {
                change.left.push(member.clone());
            }
            stays
        });
        if !change.left.is_empty() {
            self.departures.push((now, change.left.len()));
        }
    }

    /// The members, sorted.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &M> {
        self.misses.keys()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.misses.len()
    }

    /// Whether there are none: so far no answer named anybody.
    pub fn is_empty(&self) -> bool {
        self.misses.is_empty()
    }

    /// When an answer like the last one lets those go that are held back.
    pub fn hold_ends(&self) -> Option<Instant> {
        self.held_since.map(|since| since + self.patience.shrink_hold)
    }
}
