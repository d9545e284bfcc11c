use super::*;

/// Two resources: the first with a resource, scopes and spans, the second without a resource.
fn request() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| resource.string_attribute(1, b"service.name", b"cart"));
        for scope_name in [b"http", b"grpc"] {
            entry.message(2, |scope| {
                scope.message(1, |scope| scope.bytes(1, scope_name));
                for name in [&b"one"[..], b"two"] {
                    scope.message(2, |span| span.bytes(5, name));
                }
                scope.bytes(3, b"schema");
            });
        }
        entry.varint(99, 7);
    });
    writer.message(1, |entry| {
        entry.message(2, |scope| scope.message(2, |span| span.bytes(5, b"three")));
        entry.message(2, |_| {});
    });
    writer.into_vec()
}

/// What each span is called and what stands around it: `resource/scope/span`.
fn rows(request: &[u8]) -> Vec<String> {
    let mut rows = Vec::new();
    for entry in crate::wire::resources(request) {
        let service = entry.resource().attribute(b"service.name");
        let service = service.and_then(crate::wire::AnyValue::as_string).unwrap_or_default();
        for scope in entry.scopes() {
            let span = |record| crate::wire::Span::read(record).name;
            rows.extend(scope.records().map(|record| {
                [service, scope.name(), span(record)].map(String::from_utf8_lossy).join("/")
            }));
        }
    }
    rows
}

type EditRecord = dyn Fn(&[u8], &mut Writer) -> Change;

/// An editor of functions; what is `None` stays as it is.
#[derive(Default)]
struct Edits<'e> {
    enter_resource: Option<&'e dyn Fn(ResourceEntry<'_>) -> Visit>,
    enter_scope: Option<&'e dyn Fn(ScopeEntry<'_>) -> Visit>,
    record: Option<&'e EditRecord>,
    leave_scope: Option<&'e dyn Fn(&mut Head)>,
    leave_resource: Option<&'e dyn Fn(&mut Head)>,
    /// How many records were shown.
    shown: usize,
}

impl<'a> Editor<'a> for Edits<'_> {
    fn enter_resource(&mut self, entry: ResourceEntry<'a>) -> Visit {
        self.enter_resource.map_or(Visit::Into, |decide| decide(entry))
    }

    fn enter_scope(&mut self, scope: ScopeEntry<'a>) -> Visit {
        self.enter_scope.map_or(Visit::Into, |decide| decide(scope))
    }

    fn record(&mut self, record: &'a [u8], new: &mut Writer) -> Change {
        self.shown += 1;
        self.record.map_or(Change::Keep, |edit| edit(record, new))
    }

    fn leave_scope(&mut self, head: &mut Head) {
        self.leave_scope.iter().for_each(|edit| edit(head));
    }

    fn leave_resource(&mut self, head: &mut Head) {
        self.leave_resource.iter().for_each(|edit| edit(head));
    }
}

#[track_caller]
fn check(empties: Empties, mut edits: Edits<'_>, expected: &[&str]) -> Vec<u8> {
    let rewritten = rewrite(&request(), empties, &mut edits).expect("something changes");
    assert_eq!(rows(&rewritten), expected);
    assert!(crate::wire::check(crate::Signal::Traces, &rewritten).is_ok());
    rewritten
}

fn name_of(span: &[u8]) -> &[u8] {
    crate::wire::Span::read(span).name
}

const ALL: [&str; 5] =
    ["cart/http/one", "cart/http/two", "cart/grpc/one", "cart/grpc/two", "//three"];

#[test]
fn a_request_without_changes_is_not_written() {
    let mut edits = Edits::default();
    assert_eq!(rewrite(&request(), Empties::Keep, &mut edits), None);
    assert_eq!(edits.shown, 5);
    assert_eq!(rewrite(&[], Empties::Drop, &mut edits), None);
}

#[test]
fn equal_content_makes_equal_bytes() {
    let request = request();
    let record = |span: &[u8], new: &mut Writer| {
        new.raw(span);
        Change::Replace
    };
    let leave_scope = |head: &mut Head| head.replace().bytes(1, b"http");
    let mut edits = Edits { record: Some(&record), ..Edits::default() };
    assert_eq!(rewrite(&request, Empties::Keep, &mut edits).unwrap(), request);
    let enter_scope = |scope: ScopeEntry<'_>| match scope.name() {
        b"grpc" => Visit::Drop,
        _ => Visit::Into,
    };
    let mut edits = Edits { enter_scope: Some(&enter_scope), ..Edits::default() };
    let http_only = rewrite(&request, Empties::Keep, &mut edits).unwrap();
    let mut edits = Edits { leave_scope: Some(&leave_scope), ..Edits::default() };
    let renamed = rewrite(&http_only, Empties::Keep, &mut edits).unwrap();
    assert_eq!(rows(&renamed), ["cart/http/one", "cart/http/two", "/http/three"]);
}

#[test]
fn records_are_left_out_and_replaced() {
    let record = |span: &[u8], new: &mut Writer| match name_of(span) {
        b"one" => Change::Drop,
        b"two" => {
            new.bytes(5, &[b'2'; 200]);
            Change::Replace
        }
        _ => Change::Keep,
    };
    let long = "2".repeat(200);
    let expected = [format!("cart/http/{long}"), format!("cart/grpc/{long}"), "//three".to_owned()];
    let edits = Edits { record: Some(&record), ..Edits::default() };
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    let rewritten = check(Empties::Keep, edits, &expected);
    let [first, second] = crate::wire::resources(&rewritten).collect::<Vec<_>>()[..] else {
        panic!("both entries stay");
    };
    assert_eq!((first.scopes().count(), second.scopes().count()), (2, 2));
    assert_eq!(first.scopes().next().unwrap().schema_url(), b"schema");
    assert!(Fields::new(first.content).any(|field| field.number == 99));
}

#[test]
fn empty_entries_are_left_out_where_they_are_looked_into() {
    let record = |span: &[u8], _: &mut Writer| match name_of(span) {
        b"three" => Change::Drop,
        _ => Change::Keep,
    };
    let edits = Edits { record: Some(&record), ..Edits::default() };
    let rewritten = check(Empties::Drop, edits, &ALL[..4]);
    assert_eq!(crate::wire::resources(&rewritten).count(), 1);

    let drop_all = |_: &[u8], _: &mut Writer| Change::Drop;
    let edits = Edits { record: Some(&drop_all), ..Edits::default() };
    assert_eq!(check(Empties::Drop, edits, &[]), b"");

    let over = |_: ResourceEntry<'_>| Visit::Over;
    let mut edits = Edits { enter_resource: Some(&over), ..Edits::default() };
    assert_eq!(rewrite(&request(), Empties::Drop, &mut edits), None);
    assert_eq!(edits.shown, 0);
}

#[test]
fn resources_and_scopes_are_left_out_whole() {
    let of_cart = |entry: ResourceEntry<'_>| match entry.resource().attribute(b"service.name") {
        Some(_) => Visit::Drop,
        None => Visit::Into,
    };
    let edits = Edits { enter_resource: Some(&of_cart), ..Edits::default() };
    check(Empties::Keep, edits, &ALL[4..]);
    let grpc = |scope: ScopeEntry<'_>| match scope.name() {
        b"grpc" => Visit::Drop,
        _ => Visit::Into,
    };
    let edits = Edits { enter_scope: Some(&grpc), ..Edits::default() };
    check(Empties::Keep, edits, &["cart/http/one", "cart/http/two", "//three"]);
}

#[test]
fn heads_change_with_and_without_changes_below_them() {
    let new_resource =
        |head: &mut Head| head.replace().string_attribute(1, b"service.name", b"shop");
    let new_scope = |head: &mut Head| head.replace().bytes(1, b"any");
    let renamed =
        ["shop/any/ONE", "shop/any/two", "shop/any/ONE", "shop/any/two", "shop/any/three"];
    let record = |span: &[u8], new: &mut Writer| match name_of(span) {
        b"one" => {
            new.bytes(5, b"ONE");
            Change::Replace
        }
        _ => Change::Keep,
    };
    let edits = Edits {
        record: Some(&record),
        leave_scope: Some(&new_scope),
        leave_resource: Some(&new_resource),
        ..Edits::default()
    };
    let rewritten = check(Empties::Keep, edits, &renamed);
    for entry in crate::wire::resources(&rewritten) {
        assert_eq!(Fields::new(entry.content).next().unwrap().number, HEAD, "it stays in front");
    }
    let over = |_: ResourceEntry<'_>| Visit::Over;
    let edits = Edits {
        enter_resource: Some(&over),
        leave_resource: Some(&new_resource),
        ..Edits::default()
    };
    let expected = ALL.map(|row| format!("shop/{}", row.split_once('/').unwrap().1));
    check(Empties::Keep, edits, &expected.each_ref().map(String::as_str));
}

#[test]
fn a_head_behind_its_records_changes_in_place() {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| {
            scope.message(2, |span| span.bytes(5, b"one"));
            scope.message(1, |scope| scope.bytes(1, b"http"));
        });
        entry.message(1, |resource| resource.string_attribute(1, b"service.name", b"cart"));
        entry.varint(99, 7);
    });
    let request = writer.into_vec();
    let record = |_: &[u8], new: &mut Writer| {
        new.bytes(5, b"first");
        Change::Replace
    };
    let new_scope = |head: &mut Head| head.replace().bytes(1, b"any");
    let new_resource =
        |head: &mut Head| head.replace().string_attribute(1, b"service.name", b"shop");
    for record in [None, Some(&record as &EditRecord)] {
        let mut edits = Edits {
            record,
            leave_scope: Some(&new_scope),
            leave_resource: Some(&new_resource),
            ..Edits::default()
        };
        let rewritten = rewrite(&request, Empties::Keep, &mut edits).unwrap();
        let name = if record.is_some() { "first" } else { "one" };
        assert_eq!(rows(&rewritten), [format!("shop/any/{name}")]);
        let entry = crate::wire::resources(&rewritten).next().unwrap();
        let numbers: Vec<_> = Fields::new(entry.content).map(|field| field.number).collect();
        assert_eq!(numbers, [2, 1, 99]);
    }
}

#[test]
fn a_resource_that_occurs_twice_becomes_one() {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(1, |resource| resource.string_attribute(1, b"service.name", b"cart"));
        entry.message(2, |scope| scope.message(2, |span| span.bytes(5, b"one")));
        entry.message(1, |resource| resource.string_attribute(1, b"host.name", b"h"));
    });
    let request = writer.into_vec();
    let merged = rewrite(&request, Empties::Keep, &mut Edits::default()).unwrap();
    let entry = crate::wire::resources(&merged).next().unwrap();
    assert_eq!(entry.resource().messages().count(), 1);
    assert_eq!(entry.resource().attributes().count(), 2);
    let new_resource =
        |head: &mut Head| head.replace().string_attribute(1, b"service.name", b"shop");
    let mut edits = Edits { leave_resource: Some(&new_resource), ..Edits::default() };
    let replaced = rewrite(&request, Empties::Keep, &mut edits).unwrap();
    let entry = crate::wire::resources(&replaced).next().unwrap();
    assert_eq!(entry.resource().attributes().count(), 1);
    assert_eq!(rows(&replaced), ["shop//one"]);
}

#[test]
fn schema_urls_change() {
    let set = |head: &mut Head| head.set_schema_url(b"new");
    let edits = Edits { leave_scope: Some(&set), leave_resource: Some(&set), ..Edits::default() };
    let rewritten = check(Empties::Keep, edits, &ALL);
    for entry in crate::wire::resources(&rewritten) {
        assert_eq!(entry.schema_url(), b"new");
        assert!(entry.scopes().all(|scope| scope.schema_url() == b"new"));
    }
}

fn gauge(points: &[&[u8]]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.bytes(1, b"queue.length");
    writer.message(5, |gauge| points.iter().for_each(|point| gauge.bytes(1, point)));
    writer.bytes(3, b"{item}");
    writer.into_vec()
}

#[test]
fn points_are_left_out_and_replaced() {
    let (one, two, three) = (&[0x40, 1][..], &[0x40, 2][..], &[0x40, 3][..]);
    let metric = gauge(&[one, two, three]);
    let mut new = Writer::new();
    let change = points(&metric, Empties::Drop, &mut new, |point, new| match point {
        point if point == one => Change::Drop,
        point if point == two => {
            new.varint(8, 20);
            Change::Replace
        }
        _ => Change::Keep,
    });
    assert_eq!(change, Change::Replace);
    assert_eq!(new.as_slice(), gauge(&[&[0x40, 20], three]));

    let keep = |_: &[u8], _: &mut Writer| Change::Keep;
    assert_eq!(points(&metric, Empties::Drop, &mut new, keep), Change::Keep);
    let drop_all = |_: &[u8], _: &mut Writer| Change::Drop;
    assert_eq!(points(&metric, Empties::Drop, &mut new, drop_all), Change::Drop);
    assert_eq!(points(&metric, Empties::Keep, &mut new, drop_all), Change::Replace);
    assert_eq!(new.as_slice(), gauge(&[]));
    assert_eq!(points(b"", Empties::Drop, &mut new, keep), Change::Drop);
    assert_eq!(points(b"", Empties::Keep, &mut new, keep), Change::Keep);
}

#[test]
fn children_of_one_number_change() {
    let mut writer = Writer::new();
    writer.bytes(5, b"span");
    writer.bytes(11, b"a");
    writer.bytes(13, b"a");
    writer.bytes(11, b"b");
    let span = writer.into_vec();
    let mut new = Writer::new();
    let change = children(&span, 11, &mut new, |event, _| match event {
        b"a" => Change::Drop,
        _ => Change::Keep,
    });
    assert_eq!(change, Change::Replace);
    let left: Vec<_> = Fields::new(new.as_slice()).map(|field| field.number).collect();
    assert_eq!(left, [5, 13, 11]);
    assert_eq!(children(&span, 12, &mut new, |_, _| Change::Drop), Change::Keep);
}
