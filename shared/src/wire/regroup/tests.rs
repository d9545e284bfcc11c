use super::groups::is_nested;
use super::*;
use crate::wire::{Fields, Writer, resources};

/// Two entries, two scopes in the first; records are one byte long: their key.
fn request() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.bytes(3, b"url"); // before the rest, as a Collector writes it
        for (name, records) in [(b"x", b"abab"), (b"y", b"cccc")] {
            entry.message(2, |scope| {
                for record in records {
                    scope.bytes(2, &[*record]);
                }
                scope.message(1, |scope| scope.bytes(1, name));
                scope.varint(99, 1);
            });
        }
        entry.message(1, |resource| resource.string_attribute(1, b"k", b"v"));
    });
    writer.message(1, |entry| entry.message(2, |scope| scope.bytes(2, b"a")));
    writer.message(1, |entry| entry.bytes(3, b"holds no record"));
    writer.into_vec()
}

type Rows = Vec<(Vec<u8>, Vec<u8>, Vec<u8>, u8)>;

fn rows(request: &[u8]) -> Rows {
    let mut rows = Vec::new();
    for entry in resources(request) {
        for scope in entry.scopes() {
            for record in scope.records() {
                let mut header = Vec::new();
                for field in Fields::new(scope.content).filter(|field| !is_nested(field)) {
                    header.extend_from_slice(field.raw);
                }
                rows.push((entry.schema_url().into(), scope.name().into(), header, record[0]));
            }
        }
    }
    rows
}

#[test]
fn every_record_keeps_its_resource_and_scope() {
    let request = request();
    let parts = regroup(&request, |record| record[0]);
    let keys: Vec<_> = parts.iter().map(|part| (part.key, part.records)).collect();
    assert_eq!(keys, [(b'a', 3), (b'b', 2), (b'c', 4)]);
    let mut all: Rows = Vec::new();
    for part in &parts {
        let rows = rows(&part.request);
        assert!(rows.iter().all(|row| row.3 == part.key));
        all.extend(rows);
    }
    let mut expected = rows(&request);
    expected.sort();
    all.sort();
    assert_eq!(all, expected);
}

#[test]
fn parts_are_framed_exactly() {
    for part in regroup(&request(), |record| record[0]) {
        // The records are no spans, so check as far as the scope entries by hand.
        assert!(!Fields::new(&part.request).any(|field| field.number != 1));
        for entry in resources(&part.request) {
            let mut fields = Fields::new(entry.content);
            assert!(fields.by_ref().count() > 0);
            assert!(!fields.is_malformed());
        }
    }
}

#[test]
fn parts_are_allocated_exactly() {
    for part in regroup(&request(), |record| record[0]) {
        assert_eq!(part.request.len(), part.request.capacity());
    }
}

#[test]
fn the_only_group_is_known_before_anything_is_copied() {
    let request = request();
    assert_eq!(Plan::by_record(&request, 1, |_| 3).only_group(), Some(3));
    assert_eq!(Plan::by_record(&request, 1, |record| usize::from(record[0])).only_group(), None);
    assert_eq!(Plan::by_record(&[], 0, |_| 3).only_group(), None);
}

#[test]
fn groups_without_records_are_left_out() {
    let parts = regroup_indexed(&request(), |record| if record[0] == b'a' { 7 } else { 2 });
    let keys: Vec<_> = parts.iter().map(|part| (part.key, part.records)).collect();
    assert_eq!(keys, [(2, 6), (7, 3)]);
}

#[test]
fn resource_entries_stay_whole() {
    let request = request();
    let parts = regroup_resources(&request, |entry| entry.schema_url().is_empty());
    let keys: Vec<_> = parts.iter().map(|part| (part.key, part.records)).collect();
    assert_eq!(keys, [(false, 8), (true, 1)]);
    assert!(parts.iter().all(|part| part.request.len() == part.request.capacity()));
    let whole = [&parts[0].request[..], &parts[1].request].concat();
    assert!(request.starts_with(&whole), "and in order, but for the one without records");
    assert_eq!(rows(&whole), rows(&request));
}

#[test]
fn a_grouping_is_told_where_each_record_stands() {
    /// Numbers scopes within entries, and notes what it was told.
    #[derive(Default)]
    struct Places {
        told: Vec<String>,
        scope: usize,
    }

    impl<'a> Grouping<'a> for Places {
        fn enter_resource(&mut self, entry: ResourceEntry<'a>) {
            self.told.push(format!("entry {}", entry.schema_url().len()));
        }
        fn enter_scope(&mut self, scope: ScopeEntry<'a>) {
            self.told.push(String::from_utf8(scope.name().to_vec()).unwrap());
            self.scope += 1;
        }
        fn group(&mut self, _: &'a [u8]) -> usize {
            self.scope
        }
    }

    let (request, mut places) = (request(), Places::default());
    let parts: Vec<_> = Plan::<Whole>::new(&request, 1, &mut places).write().collect();
    assert_eq!(places.told, ["entry 3", "x", "y", "entry 0", "", "entry 15"]);
    let keys: Vec<_> = parts.iter().map(|part| (part.key, part.records)).collect();
    assert_eq!(keys, [(1, 4), (2, 4), (3, 1)]);
}
