use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use shared::wire::Writer;
use shared::wire::export::ResourceEntry;

use super::super::evaluate::Verdict;
use super::super::inscription::{RecordPolicy, Source};
use super::super::policy::{Decision, RuleId, Seen};
use super::super::sealing::Compression;
use super::*;

const SIZE: RequestSize = RequestSize { spans: 100, bytes: 1000, max_bytes: 3000 };

struct Bench {
    buffer: Buffer,
    outgoing: Outgoing,
    names: Names,
}

impl Bench {
    fn new(inscription: Inscription) -> Self {
        let (buffer, outgoing) =
            (Buffer::new(512, Compression::None, 1), Outgoing::new(inscription));
        Self { buffer, outgoing, names: Names::default() }
    }

    /// Lets a trace of one span leave. The resource tells `service`, the span is as long as `size`.
    fn leave(&mut self, service: &str, size: usize, by: Option<RuleId>) {
        let mut writer = Writer::new();
        writer.message(1, |resource| resource.string_attribute(1, b"service", service.as_bytes()));
        writer.message(2, |scope| {
            scope.message(1, |scope| scope.bytes(1, b"library"));
            scope.bytes(3, b"schema of the scope");
            scope.varint(900, 1);
        });
        writer.bytes(3, b"schema of the resource");
        writer.varint(901, 1);
        let entry = ResourceEntry { content: writer.as_slice() };
        let headers = &mut self.buffer.headers;
        let resource = headers.acquire_resource(entry, |_| Seen::default());
        let scope = headers.acquire_scope(resource, entry.scopes().next().unwrap(), |_| {});
        let mut span = Writer::new();
        span.message(2, |span| span.bytes(5, &vec![b'x'; size]));
        let stretch = self.buffer.append_leaving(scope, span.as_slice());
        self.buffer.headers.release_scope(scope);
        self.buffer.headers.release_resource(resource);
        let verdict = Verdict { decision: Decision::Sampled, by, ..Verdict::NOT_SAMPLED };
        let reason = Reason::of(verdict, Source::Policies);
        assert!(self.outgoing.push_chain(stretch, reason, 1, &self.buffer).is_none());
    }

    /// The next request, and its length in bytes.
    fn take(&mut self) -> Option<(Vec<ResourceSpans>, usize)> {
        let written = self.outgoing.take(SIZE, &mut self.buffer, &self.names)?;
        let request = ExportTraceServiceRequest::decode(&written.request[..]).unwrap();
        let spans = request.resource_spans.iter().flat_map(|entry| &entry.scope_spans);
        assert_eq!(spans.map(|scope| scope.spans.len()).sum::<usize>(), written.spans);
        Some((request.resource_spans, written.request.len()))
    }

    /// Lengths of the names of the spans of all requests that are left, in order; no request may be
    /// larger than the limit unless it is of one span.
    fn drain(&mut self) -> Vec<Vec<usize>> {
        let mut requests = Vec::new();
        while let Some((entries, bytes)) = self.take() {
            let scopes = entries.iter().flat_map(|entry| &entry.scope_spans);
            let spans = scopes.flat_map(|scope| &scope.spans);
            let sizes: Vec<usize> = spans.map(|span| span.name.len()).collect();
            assert!(bytes <= SIZE.max_bytes || sizes.len() == 1, "{bytes} bytes, {sizes:?}");
            requests.push(sizes);
        }
        assert_eq!((self.outgoing.spans, self.outgoing.bytes), (0, 0));
        requests
    }
}

#[test]
fn small_traces_leave_together_and_giants_alone() {
    let mut bench = Bench::new(Inscription::NOTHING);
    for size in [100, 100, 5000, 100, 2500, 900, 2900] {
        bench.leave("cart", size, None);
    }
    let requests = bench.drain();
    assert_eq!(requests, [vec![100, 100], vec![5000], vec![100, 2500], vec![900], vec![2900]]);
}

#[test]
fn headers_and_what_is_written_count_too() {
    let mut bench = Bench::new(Inscription::NOTHING);
    for number in 0..20 {
        bench.leave(&format!("{number}{}", "s".repeat(700)), 10, None);
    }
    let requests = bench.drain();
    assert_eq!(requests.concat().len(), 20);
    assert!(requests.iter().all(|sizes| sizes.len() == 2), "{requests:?}");

    let mut bench = Bench::new(Inscription { policy: RecordPolicy::Span, threshold: true });
    let long = bench.names.intern(&["p".repeat(500)]);
    (0..20).for_each(|_| bench.leave("cart", 10, Some(long)));
    let requests = bench.drain();
    assert_eq!(requests.concat().len(), 20);
    assert!(requests.iter().all(|sizes| sizes.len() == 2), "{requests:?}");
}

#[test]
fn traces_of_different_policies_stand_in_scopes_of_their_own() {
    let mut bench = Bench::new(Inscription { policy: RecordPolicy::Scope, threshold: false });
    let (errors, slow) = (bench.names.intern(&["errors"]), bench.names.intern(&["slow"]));
    for by in [errors, slow, errors] {
        bench.leave("cart", 10, Some(by));
    }
    let (entries, _) = bench.take().unwrap();
    let [entry] = &entries[..] else { panic!("one resource") };
    assert_eq!(entry.schema_url, "schema of the resource");
    let told: Vec<(usize, String)> = entry
        .scope_spans
        .iter()
        .map(|scope| {
            assert_eq!(scope.schema_url, "schema of the scope");
            let inner = scope.scope.as_ref().unwrap();
            assert_eq!((inner.name.as_str(), inner.attributes.len()), ("library", 1));
            (scope.spans.len(), format!("{:?}", inner.attributes[0]))
        })
        .collect();
    assert_eq!(told.len(), 2);
    assert!(told[0].0 == 2 && told[0].1.contains("\"errors\""), "{told:?}");
    assert!(told[1].0 == 1 && told[1].1.contains("\"slow\""), "{told:?}");
}
