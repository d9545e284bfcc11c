//! Series that leave the page when nobody holds them any more.
//!
//! The recorder of the `metrics` crate keeps every series for good, which is wrong for labels
//! whose values come and go. The sets that [`metric_set!`](crate::metric_set) makes with
//! `expiring` own their numbers instead; a registry of the process shows them beside the
//! recorder's.
//!
//! - A handle is an `Arc` of its number: counting takes no lock.
//! - Sets with equal labels are one series: counters, gauges and buckets add up, of ages the
//!   greatest counts. What a set counted stays in the series for as long as another of its labels
//!   lives, since a counter must not fall.
//! - When the last holder is gone, gauges and ages leave at once: they would be untrue. Counters
//!   and histograms stay for [`GRACE`], unless [`MAX_DEPARTED`] others left later.
//! - The registry learns who left when it is scraped or has grown, not when a handle is dropped.
//!   So the first scrape after that always shows the last counts, however rare scrapes are, and
//!   the registry holds at most twice what lives, and a constant.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use handle::{Age, Cell, Counter, Gauge, Handle, Histogram};
pub(super) use handle::{HistogramValue, Value};
pub use local::{Entered, Local};

use super::metrics::{Descriptor, Kind};
use crate::clock;

mod handle;
mod local;
#[cfg(test)]
mod tests;

/// How long counts stay on the page after a scrape (or a new set) found that their last holder is
/// gone. Five minutes: as long as Prometheus looks back for a series' last value, and several
/// usual intervals, so that each of several scrapers sees the last increments.
pub const GRACE: Duration = Duration::from_secs(300);
/// How many sets of labels that nobody holds stay for that time; the oldest make room.
pub const MAX_DEPARTED: usize = 1024;
/// The registry is not swept for new sets while it is smaller than this.
const MIN_SWEEP: usize = 256;

/// What the registry says of itself.
pub(super) const DROPPED: &[Descriptor] = &[Descriptor {
    name: "otelcol_telemetry_departed_series_dropped",
    kind: Kind::Counter,
    unit: "{series}",
    labels: &[],
    help: "Number of series that nobody counted any more and that left this page before their time, because more than 1024 sets of labels had departed after them; their last counts may not have been scraped.",
    expires: false,
}];

/// The numbers of one set, in the order of its descriptors. Only
/// [`metric_set!`](crate::metric_set) needs it.
#[derive(Debug, Default)]
pub struct Member {
    cells: Vec<Cell>,
}

impl Member {
    /// Makes the next metric's number.
    pub fn handle<H: Handle>(&mut self, name: &'static str) -> H {
        let (handle, cell) = H::make(name);
        self.cells.push(cell);
        handle
    }

    /// Shows the numbers on the page of the process, or in the [`Local`] that the thread is in.
    pub fn register(self, descriptors: &'static [Descriptor], labels: &[(&'static str, &str)]) {
        let now = clock::now();
        match Local::current() {
            Some(local) => local.lock().register(self, descriptors, labels, now),
            None => registry().register(self, descriptors, labels, now),
        }
    }
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry::new());

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All series that are to be shown at `now`.
pub(super) fn snapshot(now: Instant) -> Snapshot {
    registry().snapshot(now)
}

/// Names and values of labels, in the order of the declaration.
pub(super) type Labels = Vec<(String, String)>;

/// What is to be shown, in order.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) families: Vec<Family>,
    /// How many series made room before their time, since the process started.
    pub(super) dropped_series: u64,
}

/// A metric and its series.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) descriptor: Descriptor,
    pub(super) series: BTreeMap<Labels, Value>,
}

/// The sets of the process.
#[derive(Debug)]
struct Registry {
    groups: BTreeMap<(Labels, &'static [Descriptor]), Group>,
    /// How many sets the groups hold; a departed group counts as one.
    sets: usize,
    /// The number of sets at which a new one sweeps.
    sweep_at: usize,
    dropped_series: u64,
}

/// All sets of one kind with equal labels.
#[derive(Debug, Default)]
struct Group {
    members: Vec<Member>,
    /// What members that are gone have counted, by metric; `None` for what does not outlive them
    /// and before one is gone.
    past: Vec<Option<Value>>,
    /// When it was found that no member is left.
    departed: Option<Instant>,
}

impl Registry {
    const fn new() -> Self {
        Self { groups: BTreeMap::new(), sets: 0, sweep_at: MIN_SWEEP, dropped_series: 0 }
    }

    fn register(
        &mut self,
        member: Member,
        descriptors: &'static [Descriptor],
        labels: &[(&'static str, &str)],
        now: Instant,
    ) {
        let names = descriptors.first().map_or(&[][..], |descriptor| descriptor.labels);
        debug_assert!(labels.iter().all(|(label, _)| names.contains(label)));
        let value = |name: &str| labels.iter().find(|(label, _)| *label == name);
        let labels = names.iter().filter_map(|name| value(name));
        let labels = labels.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let group = self.groups.entry((labels.collect(), descriptors)).or_default();
        group.past.resize(descriptors.len(), None);
        group.members.push(member);
        group.departed = None;
        self.sets += 1;
        if self.sets >= self.sweep_at {
            self.sweep(now);
            self.sweep_at = MIN_SWEEP.max(2 * self.sets);
        }
    }

    /// Learns who left, and forgets those who left long ago.
    fn sweep(&mut self, now: Instant) {
        self.groups.retain(|_, group| {
            group.sweep(now);
            let stays = |since| now.saturating_duration_since(since) < GRACE;
            group.departed.is_none_or(|since| group.is_worth_keeping() && stays(since))
        });
        self.make_room();
        self.sets = self.groups.values().map(|group| group.members.len().max(1)).sum();
    }

    /// Forgets those who left first while too many have left.
    fn make_room(&mut self) {
        let excess = self.groups.values().filter(|group| group.departed.is_some()).count();
        let excess = excess.saturating_sub(MAX_DEPARTED);
        if excess == 0 {
            return;
        }
        let departed = self.groups.iter();
        let departed = departed.filter_map(|(key, group)| Some((group.departed?, key.clone())));
        let mut departed: Vec<_> = departed.collect();
        departed.sort();
        for (_, key) in &departed[..excess] {
            let group = self.groups.remove(key);
            let series = group.map_or(0, |group| group.past.iter().flatten().count());
            self.dropped_series += series as u64;
        }
    }

    fn snapshot(&mut self, now: Instant) -> Snapshot {
        self.sweep(now);
        let mut families: BTreeMap<&'static str, Family> = BTreeMap::new();
        for ((labels, descriptors), group) in &self.groups {
            for (descriptor, value) in descriptors.iter().zip(group.values(now)) {
                let Some(value) = value else { continue };
                let family = families
                    .entry(descriptor.name)
                    .or_insert_with(|| Family { descriptor: *descriptor, series: BTreeMap::new() });
                let series = family.series.entry(labels.clone());
                series.and_modify(|all| all.add(&value)).or_insert(value);
            }
        }
        let families = families.into_values().collect();
        Snapshot { families, dropped_series: self.dropped_series }
    }
}

impl Group {
    fn sweep(&mut self, now: Instant) {
        let past = &mut self.past;
        self.members.retain_mut(|member| {
            let held = member.cells.iter_mut().any(Cell::is_held);
            if !held {
                for (past, cell) in past.iter_mut().zip(&member.cells) {
                    let value = cell.read(now);
                    if value.outlives_its_holder() {
                        add(past, &value);
                    }
                }
            }
            held
        });
        if self.members.is_empty() {
            self.departed.get_or_insert(now);
        }
    }

    fn is_worth_keeping(&self) -> bool {
        self.past.iter().any(Option::is_some)
    }

    /// By metric; `None` for what nobody can say any more.
    fn values(&self, now: Instant) -> Vec<Option<Value>> {
        let mut values = self.past.clone();
        for member in &self.members {
            for (value, cell) in values.iter_mut().zip(&member.cells) {
                add(value, &cell.read(now));
            }
        }
        values
    }
}

fn add(all: &mut Option<Value>, more: &Value) {
    match all {
        Some(all) => all.add(more),
        None => *all = Some(more.clone()),
    }
}
