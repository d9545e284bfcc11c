use super::*;

/// Entries of scopes of spans, each span named by its text.
fn traces(entries: &[&[&[&str]]]) -> Batch {
    let mut writer = Writer::new();
    for (index, scopes) in (0..).zip(entries) {
        writer.message(1, |entry| {
            entry.message(1, |resource| resource.int_attribute(1, b"entry", index));
            for spans in *scopes {
                entry.message(2, |scope| {
                    scope.message(1, |scope| scope.bytes(1, b"lib"));
                    for name in *spans {
                        scope.message(2, |span| span.bytes(5, name.as_bytes()));
                    }
                });
            }
        });
    }
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

fn sum(points: usize) -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| {
            for name in [&b"small"[..], b"large"] {
                scope.message(2, |metric| {
                    metric.message(7, |sum| {
                        for index in 0..if name == b"small" { 1 } else { points } {
                            sum.message(1, |point| point.fixed64(6, index as u64));
                        }
                        sum.varint(2, 2);
                        sum.varint(3, 1);
                    });
                    metric.bytes(1, name);
                });
            }
        });
    });
    Batch::parse(Signal::Metrics, writer.into_vec().into()).unwrap()
}

/// The spans of a batch with the index of their entry: `0:a 0:b 1:c`.
fn spans(batch: &Batch) -> String {
    let mut spans = Vec::new();
    for entry in resources(batch.bytes()) {
        let crate::wire::AnyValue::Int(index) = entry.resource().attribute(b"entry").unwrap()
        else {
            panic!("an entry has no number")
        };
        for scope in entry.scopes() {
            assert_eq!(scope.name(), b"lib");
            for span in scope.records() {
                let name = String::from_utf8_lossy(crate::wire::Span::read(span).name).into_owned();
                spans.push(format!("{index}:{name}"));
            }
        }
    }
    spans.join(" ")
}

#[track_caller]
fn check(batch: &Batch, first: usize, rest: usize, expected: (Option<&str>, &[&str])) {
    let (head, tail) = split(batch, first, rest, Sizer::Items);
    assert_eq!(head.as_ref().map(spans).as_deref(), expected.0);
    assert_eq!(tail.iter().map(spans).collect::<Vec<_>>(), expected.1);
    for piece in head.iter().chain(&tail) {
        assert_eq!(*piece, Batch::parse(Signal::Traces, piece.bytes().clone()).unwrap());
    }
}

#[test]
fn pieces_keep_order_resource_and_scope() {
    let batch = traces(&[&[&["a", "b"], &["c"]], &[&["d", "e", "f"]]]);
    check(&batch, 9, 9, (Some("0:a 0:b 0:c 1:d 1:e 1:f"), &[]));
    check(&batch, 2, 2, (Some("0:a 0:b"), &["0:c 1:d", "1:e 1:f"]));
    check(&batch, 1, 4, (Some("0:a"), &["0:b 0:c 1:d 1:e", "1:f"]));
}

#[test]
fn a_first_piece_without_room_is_none() {
    check(&traces(&[&[&["a", "b"]]]), 0, 1, (None, &["0:a", "0:b"]));
}

#[test]
fn pieces_in_bytes_stay_below_the_limit() {
    let names: Vec<String> = (0..200).map(|index| "x".repeat(index)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let batch = traces(&[&[&names[..100], &names[100..]], &[&names]]);
    let (head, tail) = split(&batch, 700, 1500, Sizer::Bytes);
    let head = head.unwrap();
    assert!(head.bytes().len() <= 700);
    assert!(tail.iter().all(|piece| piece.bytes().len() <= 1500));
    let smallest = tail[..tail.len() - 1].iter().map(|piece| piece.bytes().len()).min();
    assert!(smallest > Some(1200), "pieces should be nearly full: {smallest:?}");
    let items: usize = tail.iter().map(Batch::items).sum();
    assert_eq!(head.items() + items, batch.items());
}

#[test]
fn a_record_larger_than_a_piece_is_sent_alone() {
    let large = "x".repeat(500);
    let batch = traces(&[&[&["a", &large, "b"]]]);
    let (head, tail) = split(&batch, 100, 100, Sizer::Bytes);
    assert_eq!(head.map(|piece| piece.items()), Some(1));
    assert_eq!(tail.iter().map(Batch::items).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_metric_is_cut_between_its_points() {
    let batch = sum(7);
    let (head, tail) = split(&batch, 3, 3, Sizer::Items);
    let pieces: Vec<Batch> = head.into_iter().chain(tail).collect();
    assert_eq!(pieces.iter().map(Batch::items).collect::<Vec<_>>(), [1, 3, 3, 1]);
    let mut values = Vec::new();
    for piece in &pieces {
        assert_eq!(*piece, Batch::parse(Signal::Metrics, piece.bytes().clone()).unwrap());
        let scope = resources(piece.bytes()).next().unwrap().scopes().next().unwrap();
        for metric in scope.records() {
            let sum = Fields::new(metric).find(|field| field.number == 7).unwrap();
            let sum = sum.value.bytes().unwrap();
            // Temporality and monotonicity stand behind the points and must survive.
            assert!(Fields::new(sum).any(|field| field.raw == [0x10, 2]));
            assert!(Fields::new(sum).any(|field| field.raw == [0x18, 1]));
            values.extend(Fields::new(sum).filter(is_point).map(|point| point.raw[3]));
        }
    }
    assert_eq!(values, [0, 0, 1, 2, 3, 4, 5, 6]);
}
