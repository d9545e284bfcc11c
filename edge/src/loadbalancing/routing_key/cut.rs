//! Cuts a batch by a key of each resource entry, record or data point.

use shared::membership::Owners;
use shared::wire::{Grouping, Metric, ResourceEntry, ScopeEntry};
use shared::{Batch, Signal};

use super::lookup::Lookup;
use super::{Names, Split};

/// What was found to route by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The key in the buffer.
    Key,
    /// The key in the buffer, which stands for having none: all such records share an owner.
    StandIn,
    /// Nothing: such records are spread, by the hash of their own bytes.
    Nothing,
}

/// Asks for owners, and counts what has no key.
pub(super) struct Router<'o, O> {
    owners: &'o O,
    /// The key, built anew for each record in the same room.
    pub(super) key: Vec<u8>,
    pub(super) keyless: usize,
}

impl<'o, O: Owners> Router<'o, O> {
    pub(super) fn new(owners: &'o O) -> Self {
        Self { owners, key: Vec::new(), keyless: 0 }
    }

    /// The owner of the key in the buffer.
    pub(super) fn owner(&self) -> usize {
        owner(self.owners, &self.key)
    }

    /// The owner of what has `own_bytes` and was found to have a key or none, with its items.
    pub(super) fn route(
        &mut self,
        found: Found,
        own_bytes: &[u8],
        items: impl FnOnce() -> usize,
    ) -> usize {
        match found {
            Found::Key => self.owner(),
            Found::StandIn => {
                self.keyless += items();
                self.owner()
            }
            Found::Nothing => {
                self.keyless += items();
                owner(self.owners, own_bytes)
            }
        }
    }
}

/// The owner of `key`.
#[inline]
pub(super) fn owner(owners: &impl Owners, key: &[u8]) -> usize {
    owners.owner(key).expect("there is an owner for every key")
}

/// Cuts by a key of each resource entry, which stays whole. `find` puts it into the buffer.
pub(super) fn by_entry<'a>(
    batch: &'a Batch,
    owners: &impl Owners,
    mut find: impl FnMut(ResourceEntry<'a>, &mut Vec<u8>) -> Found,
) -> Split {
    let mut router = Router::new(owners);
    let parts = batch.regroup_resources(|entry| {
        router.key.clear();
        let found = find(entry, &mut router.key);
        router.route(found, entry.content, || items(batch.signal(), entry))
    });
    Split { parts, keyless: router.keyless }
}

/// Cuts by the name of each metric.
pub(super) fn by_metric(batch: &Batch, owners: &impl Owners, nameless: Found) -> Split {
    let mut router = Router::new(owners);
    let parts = batch.regroup_indexed(|record| {
        let metric = Metric::read(record);
        router.key.clear();
        router.key.extend_from_slice(metric.name);
        let found = if metric.name.is_empty() { nameless } else { Found::Key };
        router.route(found, record, || metric.points().count())
    });
    Split { parts, keyless: router.keyless }
}

/// Cuts by the trace id of each span or log record. `owner_of` may be given it in any form.
pub(super) fn by_trace_id(
    batch: &Batch,
    owner_of: impl Fn(&[u8; 16]) -> usize,
    owner_of_keyless: impl Fn(&[u8]) -> usize,
) -> Split {
    let mut keyless = 0;
    // Records of a trace often follow each other.
    let mut last = None;
    let parts = batch.regroup_indexed(|record| {
        let id: Option<[u8; 16]> =
            batch.trace_id(record).try_into().ok().filter(|id| *id != [0; 16]);
        match (id, last) {
            (Some(id), Some((last_id, last_owner))) if id == last_id => last_owner,
            (Some(id), _) => {
                let owner = owner_of(&id);
                last = Some((id, owner));
                owner
            }
            (None, _) => {
                keyless += 1;
                owner_of_keyless(record)
            }
        }
    });
    Split { parts, keyless }
}

/// Cuts by a key made of what was found of the attributes `names`: spans and log records, or
/// metrics by their data points. `put_key` puts it into the buffer.
pub(super) fn by_values(
    batch: &Batch,
    owners: &impl Owners,
    names: &Names,
    put_key: impl Fn(&Lookup<'_, '_>, &mut Vec<u8>) -> Found,
) -> Split {
    let lookup = Lookup::new(batch.signal(), names);
    let mut values = Values { lookup, put_key, router: Router::new(owners), of_scope: None };
    let parts = match batch.signal() {
        Signal::Traces | Signal::Logs => batch.regroup_records(&mut values),
        Signal::Metrics => batch.regroup_points(&mut values),
    };
    Split { parts, keyless: values.router.keyless }
}

struct Values<'a, 'n, 'o, O, F> {
    lookup: Lookup<'a, 'n>,
    put_key: F,
    router: Router<'o, O>,
    /// The owner of all records of the current scope entry, if they have one key.
    of_scope: Option<usize>,
}

impl<O, F: Fn(&Lookup<'_, '_>, &mut Vec<u8>) -> Found> Values<'_, '_, '_, O, F> {
    fn find(&mut self) -> Found {
        self.router.key.clear();
        (self.put_key)(&self.lookup, &mut self.router.key)
    }
}

impl<'a, O, F> Grouping<'a> for Values<'a, '_, '_, O, F>
where
    O: Owners,
    F: Fn(&Lookup<'_, '_>, &mut Vec<u8>) -> Found,
{
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) {
        self.lookup.enter_resource(entry);
    }

    fn enter_scope(&mut self, scope: ScopeEntry<'a>) {
        self.lookup.enter_scope(scope);
        self.of_scope = self.lookup.is_above_records().then(|| {
            self.find();
            self.router.owner()
        });
    }

    fn enter_metric(&mut self, metric: &Metric<'a>) {
        self.lookup.enter_metric(metric);
    }

    fn group(&mut self, record: &'a [u8]) -> usize {
        if let Some(owner) = self.of_scope {
            return owner;
        }
        self.lookup.enter_record(record);
        let found = self.find();
        self.router.route(found, record, || 1)
    }
}

/// Spans, log records or data points of a resource entry.
fn items(signal: Signal, entry: ResourceEntry<'_>) -> usize {
    let records = entry.scopes().flat_map(ScopeEntry::records);
    match signal {
        Signal::Traces | Signal::Logs => records.count(),
        Signal::Metrics => records.map(|record| Metric::read(record).points().count()).sum(),
    }
}
