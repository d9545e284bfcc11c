//! Resource and scope headers, each kept once for as long as a segment holds it: until that goes, or
//! is packed or sealed with no span under it.
//!
//! A header is what an entry says besides its nested entries: the resource or scope message, the
//! schema URL and fields unknown to us, as the bytes they came in.

use hashbrown::HashTable;
use shared::wire::export::{ResourceEntry, ScopeEntry};
use shared::wire::{Fields, Resource, Value};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::places::Place;
use super::policy::Seen;
use super::segments::Lane;
use super::slab::Slab;

/// The headers of a shard.
#[derive(Debug)]
pub(super) struct Headers {
    seed: u64,
    resources: Slab<ResourceHeader>,
    resource_index: HashTable<u32>,
    scopes: Slab<ScopeHeader>,
    scope_index: HashTable<u32>,
    bytes: usize,
    /// Room to put a header together.
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct ResourceHeader {
    bytes: Box<[u8]>,
    hash: u64,
    /// Scope headers under it, and readers.
    uses: usize,
    /// What the policies saw in the resource alone.
    seen: Seen,
}

#[derive(Debug)]
struct ScopeHeader {
    bytes: Box<[u8]>,
    hash: u64,
    resource: u32,
    /// Segments that noted it, as often as they did, and readers.
    uses: usize,
    /// The segment of each lane that noted it last, or 0.
    noted_by: [u64; 2],
}

impl Headers {
    /// No headers; `seed` keeps the index from being attacked.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            resources: Slab::default(),
            resource_index: HashTable::new(),
            scopes: Slab::default(),
            scope_index: HashTable::new(),
            bytes: 0,
            scratch: Vec::new(),
        }
    }

    /// The number of an entry's resource header, to be let go by [`Headers::release_resource`].
    ///
    /// `observe` is asked once for each new resource.
    pub(super) fn acquire_resource(
        &mut self,
        entry: ResourceEntry<'_>,
        observe: impl FnOnce(Resource<'_>) -> Seen,
    ) -> u32 {
        collect_header(entry.content, &mut self.scratch, |_| {});
        let hash = xxh3_64_with_seed(&self.scratch, self.seed);
        let same = |number: &u32| *self.resources[*number].bytes == *self.scratch;
        if let Some(number) = self.resource_index.find(hash, same) {
            self.resources[*number].uses += 1;
            return *number;
        }
        let header = ResourceHeader {
            bytes: self.scratch.as_slice().into(),
            hash,
            uses: 1,
            seen: observe(entry.resource()),
        };
        self.bytes += header.bytes.len() + size_of::<ResourceHeader>();
        let number = self.resources.insert(header);
        let resources = &self.resources;
        self.resource_index.insert_unique(hash, number, |number| resources[*number].hash);
        number
    }

    /// The number of an entry's scope header, to be let go by [`Headers::release_scope`].
    ///
    /// `note` is told where the spans of the entry stand, in their order.
    pub(super) fn acquire_scope(
        &mut self,
        resource: u32,
        entry: ScopeEntry<'_>,
        note: impl FnMut(Place),
    ) -> u32 {
        collect_header(entry.content, &mut self.scratch, note);
        let seed = self.seed ^ u64::from(resource);
        let hash = xxh3_64_with_seed(&self.scratch, seed);
        let same = |number: &u32| {
            let header = &self.scopes[*number];
            header.resource == resource && *header.bytes == *self.scratch
        };
        if let Some(number) = self.scope_index.find(hash, same) {
            self.scopes[*number].uses += 1;
            return *number;
        }
        self.resources[resource].uses += 1;
        let bytes: Box<[u8]> = self.scratch.as_slice().into();
        self.bytes += bytes.len() + size_of::<ScopeHeader>();
        let header = ScopeHeader { bytes, hash, resource, uses: 1, noted_by: [0; 2] };
        let number = self.scopes.insert(header);
        let scopes = &self.scopes;
        self.scope_index.insert_unique(hash, number, |number| scopes[*number].hash);
        number
    }

    /// Notes that a segment, which has this serial number above 0, has spans under a scope header, to
    /// be let go by [`Headers::release_scope`]. Nothing if it was the last of its lane to be noted
    /// already. Else how many bytes nothing else holds but the reader. What spans leave under may be
    /// told twice, for the segment they leave from is gone soon.
    #[inline]
    pub(super) fn note_segment(&mut self, scope: u32, lane: Lane, serial: u64) -> Option<usize> {
        let header = &mut self.scopes[scope];
        let [noted, other] = match lane {
            Lane::Waiting => [0, 1],
            Lane::Leaving => [1, 0],
        };
        if header.noted_by[noted] == serial {
            return None;
        }
        header.noted_by[noted] = serial;
        header.uses += 1;
        let others = usize::from(header.noted_by[other] != 0);
        if header.uses > 2 + others {
            return Some(0);
        }
        let scope = header.bytes.len() + size_of::<ScopeHeader>();
        // A resource's uses are the reader and its scopes, of which another may be in the other lane.
        let resource = &self.resources[header.resource];
        Some(match resource.uses {
            0..=3 => scope + resource.bytes.len() + size_of::<ResourceHeader>(),
            _ => scope,
        })
    }

    /// Lets go of a scope header; the last one to do so removes it.
    pub(super) fn release_scope(&mut self, scope: u32) {
        let header = &mut self.scopes[scope];
        header.uses -= 1;
        if header.uses > 0 {
            return;
        }
        let header = self.scopes.remove(scope);
        if let Ok(entry) = self.scope_index.find_entry(header.hash, |number| *number == scope) {
            entry.remove();
        }
        self.bytes -= header.bytes.len() + size_of::<ScopeHeader>();
        self.release_resource(header.resource);
    }

    /// Lets go of a resource header; the last one to do so removes it.
    pub(super) fn release_resource(&mut self, resource: u32) {
        let header = &mut self.resources[resource];
        header.uses -= 1;
        if header.uses > 0 {
            return;
        }
        let header = self.resources.remove(resource);
        let found = self.resource_index.find_entry(header.hash, |number| *number == resource);
        if let Ok(entry) = found {
            entry.remove();
        }
        self.bytes -= header.bytes.len() + size_of::<ResourceHeader>();
    }

    /// Shows every resource to other policies than before.
    pub(super) fn observe_again(&mut self, observe: impl Fn(Resource<'_>) -> Seen) {
        for header in self.resources.values_mut() {
            header.seen = observe(ResourceEntry { content: &header.bytes }.resource());
        }
    }

    /// What the policies saw in a resource.
    pub(super) fn seen(&self, resource: u32) -> Seen {
        self.resources[resource].seen
    }

    /// The resource that a scope is under.
    pub(super) fn resource_of(&self, scope: u32) -> u32 {
        self.scopes[scope].resource
    }

    /// The fields of a resource entry besides its scope entries.
    pub(super) fn resource_bytes(&self, resource: u32) -> &[u8] {
        &self.resources[resource].bytes
    }

    /// The fields of a scope entry besides its spans.
    pub(super) fn scope_bytes(&self, scope: u32) -> &[u8] {
        &self.scopes[scope].bytes
    }

    /// Bytes of all headers.
    pub(super) fn allocated(&self) -> usize {
        self.bytes
    }

    /// Gives room back that is not needed.
    pub(super) fn trim(&mut self) {
        self.resources.shrink();
        self.scopes.shrink();
        let (resources, scopes) = (&self.resources, &self.scopes);
        shrink_index(&mut self.resource_index, |number| resources[*number].hash);
        shrink_index(&mut self.scope_index, |number| scopes[*number].hash);
        self.scratch = Vec::new();
    }
}

/// Gives room back when less than an eighth of a table is used.
pub(super) fn shrink_index<T>(index: &mut HashTable<T>, hash: impl Fn(&T) -> u64) {
    if index.capacity() > 8 * index.len() + 64 {
        index.shrink_to(2 * index.len(), hash);
    }
}

/// Puts the fields of an entry that are not its nested entries (field 2) into `header`, and tells
/// where those stand.
#[inline]
fn collect_header(entry: &[u8], header: &mut Vec<u8>, mut note: impl FnMut(Place)) {
    header.clear();
    let mut fields = Fields::new(entry);
    while let Some(field) = fields.next() {
        match (field.number, field.value) {
            (2, Value::Bytes(content)) => {
                note(Place::new(entry.len() - fields.remaining(), field.raw, content));
            }
            _ => header.extend_from_slice(field.raw),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::wire::Writer;

    fn entry(service: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.bytes(3, b"schema");
        writer.message(2, |scope| {
            scope.bytes(2, b"a span");
            scope.message(1, |scope| scope.bytes(1, b"library"));
        });
        writer.message(1, |resource| resource.string_attribute(1, b"service.name", service));
        writer.varint(77, 5);
        writer.into_vec()
    }

    fn acquire(headers: &mut Headers, entry: &[u8]) -> (u32, u32) {
        let entry = ResourceEntry { content: entry };
        let resource = headers.acquire_resource(entry, |_| Seen::default());
        let scope = headers.acquire_scope(resource, entry.scopes().next().unwrap(), |_| {});
        (resource, scope)
    }

    #[test]
    fn equal_headers_are_kept_once_and_different_ones_apart() {
        let mut headers = Headers::new(1);
        let first = acquire(&mut headers, &entry(b"cart"));
        let size = headers.allocated();
        assert_eq!(acquire(&mut headers, &entry(b"cart")), first);
        assert_eq!(headers.allocated(), size);
        let other = acquire(&mut headers, &entry(b"shop"));
        assert_ne!(other.0, first.0);
        assert_ne!(other.1, first.1, "an equal scope under another resource is another scope");
    }

    #[test]
    fn a_header_keeps_all_but_the_nested_entries() {
        let mut headers = Headers::new(1);
        let (resource, scope) = acquire(&mut headers, &entry(b"cart"));
        let numbers = |bytes| Fields::new(bytes).map(|field| field.number).collect::<Vec<_>>();
        assert_eq!(numbers(headers.resource_bytes(resource)), [3, 1, 77]);
        assert_eq!(numbers(headers.scope_bytes(scope)), [1]);
    }

    #[test]
    fn a_header_is_noted_once_for_a_segment_and_counted_for_those_that_hold_it_alone() {
        let mut headers = Headers::new(1);
        let (resource, scope) = acquire(&mut headers, &entry(b"cart"));
        let both = headers.allocated();
        // The leaving one is gone soon, and the other holds everything then.
        assert_eq!(headers.note_segment(scope, Lane::Leaving, 7), Some(both));
        assert_eq!(headers.note_segment(scope, Lane::Waiting, 8), Some(both));
        for _ in 0..3 {
            assert_eq!(headers.note_segment(scope, Lane::Leaving, 7), None);
            assert_eq!(headers.note_segment(scope, Lane::Waiting, 8), None);
        }
        assert_eq!(headers.note_segment(scope, Lane::Waiting, 9), Some(0), "8 has it already");

        // Other scopes under that resource.
        let mut add = |name: &[u8]| {
            let mut writer = Writer::new();
            writer.message(2, |scope| scope.message(1, |scope| scope.bytes(1, name)));
            let entry = writer.into_vec();
            let scope_entry = ResourceEntry { content: &entry }.scopes().next().unwrap();
            let before = headers.allocated();
            let scope = headers.acquire_scope(resource, scope_entry, |_| {});
            (headers.note_segment(scope, Lane::Waiting, 9), headers.allocated() - before)
        };
        let (counted, own) = add(b"second");
        assert!(counted > Some(own), "{counted:?}: the other may have left");
        let (counted, own) = add(b"third");
        assert_eq!(counted, Some(own));
    }

    #[test]
    fn unused_headers_vanish() {
        let mut headers = Headers::new(1);
        for service in 0..1000_u32 {
            let (resource, scope) = acquire(&mut headers, &entry(&service.to_le_bytes()));
            let before = headers.allocated();
            let bytes = headers.note_segment(scope, Lane::Waiting, 7).unwrap();
            assert!(bytes > 0 && (bytes == before || service > 0));
            assert_eq!(headers.note_segment(scope, Lane::Waiting, 7), None);
            headers.release_scope(scope);
            headers.release_resource(resource);
        }
        assert!(headers.allocated() > 0);
        for scope in 0..1000 {
            headers.release_scope(scope);
        }
        headers.trim();
        assert_eq!(headers.allocated(), 0);
        assert!(headers.resource_index.capacity() < 64 && headers.scope_index.capacity() < 64);
    }
}
