use super::*;
use crate::wire::{Signal, Writer};

fn request(signal: Signal, name: &[u8]) -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| {
            scope.message(2, |record| match signal {
                Signal::Traces => record.bytes(5, name),
                Signal::Logs => record.message(5, |body| body.bytes(1, name)),
                Signal::Metrics => {
                    record.bytes(1, name);
                    record.message(5, |gauge| gauge.message(1, |point| point.fixed64(3, 7)));
                }
            });
        });
    });
    Batch::parse(signal, writer.into_vec().into()).unwrap()
}

fn span(name: &[u8]) -> Batch {
    request(Signal::Traces, name)
}

/// A file of these batches, each in a piece of its own.
fn file(form: Form, batches: &[Batch]) -> Vec<u8> {
    let packed = batches.iter().flat_map(|batch| {
        let mut piece = Vec::new();
        form.put(batch, &mut piece).unwrap();
        form.pack(piece).unwrap()
    });
    packed.collect()
}

/// What is read, and the error that ended it.
fn read(file: Vec<u8>, signal: Signal) -> (Vec<Batch>, Option<String>) {
    let mut recorded = match Recorded::read(io::Cursor::new(file), signal) {
        Ok(recorded) => recorded,
        Err(error) => return (Vec::new(), Some(error.to_string())),
    };
    let (mut batches, mut errors) = (Vec::new(), Vec::new());
    for outcome in recorded.by_ref() {
        match outcome {
            Ok(batch) => batches.push(batch),
            Err(error) => errors.push(error.to_string()),
        }
    }
    assert!(errors.len() < 2, "it ends with an error");
    assert!(recorded.next().is_none());
    (batches, errors.pop())
}

fn forms() -> impl Iterator<Item = Form> {
    let packings = [
        Packing::Plain,
        Packing::EachZstd,
        Packing::Whole(Compression::Gzip),
        Packing::Whole(Compression::Zstd),
    ];
    packings
        .into_iter()
        .flat_map(|packing| [Format::Json, Format::Proto].map(|format| Form { format, packing }))
}

#[test]
fn what_was_written_in_any_form_is_read() {
    let large = vec![b'x'; 300_000];
    for form in forms() {
        for signal in Signal::ALL {
            let batches = [request(signal, b"a"), request(signal, &large), request(signal, b"c")];
            assert_eq!(read(file(form, &batches), signal), (batches.to_vec(), None), "{form:?}");
        }
        assert_eq!(read(file(form, &[]), Signal::Traces), (vec![], None), "{form:?}");
    }
}

#[test]
fn files_look_as_the_collector_writes_them() {
    let (batch, plain) = (span(b"a"), |format| Form { format, packing: Packing::Plain });
    let json = file(plain(Format::Json), &[batch.clone(), batch.clone()]);
    let line = "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"name\":\"a\"}]}]}]}\n";
    assert_eq!(String::from_utf8(json).unwrap(), line.repeat(2));
    let proto = file(plain(Format::Proto), std::slice::from_ref(&batch));
    assert_eq!(proto[..4], [0, 0, 0, u8::try_from(batch.bytes().len()).unwrap()]);
    assert_eq!(proto[4..], batch.bytes()[..]);
    let each = Form { format: Format::Json, packing: Packing::EachZstd };
    let each = file(each, &[batch]);
    assert_eq!(each[..3], [0, 0, 0]);
    assert_eq!(each[4..8], *b"\x28\xb5\x2f\xfd");
    assert_eq!(usize::from(each[3]), each.len() - 4);
}

#[test]
fn other_signals_in_json_are_passed_over() {
    let form = Form { format: Format::Json, packing: Packing::Plain };
    let mixed = [request(Signal::Logs, b"l"), span(b"a"), request(Signal::Metrics, b"m")];
    let mut recorded = Recorded::read(io::Cursor::new(file(form, &mixed)), Signal::Traces).unwrap();
    let batches: Vec<Batch> = recorded.by_ref().map(Result::unwrap).collect();
    assert_eq!((batches, recorded.skipped()), (vec![span(b"a")], 2));
}

#[test]
fn blank_lines_and_a_missing_last_line_end_are_no_errors() {
    let form = Form { format: Format::Json, packing: Packing::Plain };
    let line = String::from_utf8(file(form, &[span(b"a")])).unwrap();
    let text = format!("\n  \r\n{line}\n{}", line.trim_end());
    assert_eq!(read(text.into(), Signal::Traces), (vec![span(b"a"); 2], None));
}

#[test]
fn a_file_that_is_cut_off_gives_what_is_whole_and_says_so() {
    for form in forms() {
        let batches = [span(b"a"), span(b"b")];
        let (whole, first) = (file(form, &batches), file(form, &batches[..1]));
        for end in first.len() + 1..whole.len() {
            let (read, error) = read(whole[..end].to_vec(), Signal::Traces);
            assert!(!read.is_empty() && batches.starts_with(&read), "{form:?}, {end}");
            // Only a line end may be missing.
            if form.format == Format::Json && read.len() == 2 {
                continue;
            }
            let error = error.unwrap_or_default();
            let told = error == "message 2 is cut off by the end of the file"
                || error.starts_with("cannot read: ");
            assert!(told, "{form:?}, {end}: {error}");
        }
    }
}

#[test]
fn what_is_no_request_is_told_by_its_number() {
    #[track_caller]
    fn check(file: &[u8], expected: &str) {
        let (_, error) = read(file.to_vec(), Signal::Traces);
        let error = error.unwrap_or_default();
        assert!(error.starts_with(expected), "{error}");
    }
    check(b"{}\n{]}\n", "message 2 is no OTLP/JSON: ");
    check(b"\0\0\0\x02\x0a\x05", "message 1 is no request of traces");
    check(b"\0\0\0\x05\x28\xb5\x2f\xfd\0", "message 1 does not inflate: ");
    check(b"some text", "message 1 has 1936682341 bytes or more; above 128 MiB");
    check(b"\x1f\x8bno gzip", "cannot read: ");
}

#[test]
fn the_form_follows_from_the_name() {
    let form = |name: &str| {
        let Form { format, packing } = Form::by_name(Path::new(name));
        (format, packing)
    };
    assert_eq!(form("a.otlp"), (Format::Proto, Packing::Plain));
    assert_eq!(form("a"), (Format::Proto, Packing::Plain));
    assert_eq!(form("dir.json/a.json"), (Format::Json, Packing::Plain));
    assert_eq!(form("a.otlp.gz"), (Format::Proto, Packing::Whole(Compression::Gzip)));
    assert_eq!(form("a.jsonl.zst"), (Format::Json, Packing::Whole(Compression::Zstd)));
}

#[test]
fn a_file_may_be_one_request_and_nothing_else() {
    for name in [&b"a"[..], &[b'x'; 200]] {
        let batch = span(name);
        assert_eq!(read(batch.bytes().to_vec(), Signal::Traces), (vec![batch.clone()], None));
        let mut packed = batch.bytes().to_vec();
        packed = compress(Compression::Gzip, &packed).unwrap();
        assert_eq!(read(packed, Signal::Traces), (vec![batch], None));
    }
    let text = b"\n\n{\"resourceSpans\":[]}\n".to_vec();
    assert_eq!(read(text, Signal::Traces).0.len(), 1, "blank lines are no request");
}
