//! The graph: spans in, metrics out. Told the time; no I/O, no clock, no runtime.
//!
//! A span of a client or server is half of a request. Every such span either joins its request,
//! or is reported as skipped or dropped; a request that its second half completes is counted in
//! one series, one that expires is counted only if its missing side can be given a name.

use std::sync::Arc;

use super::config::{ServiceGraphConfig, default_buckets};
use super::edge::{Connection, Dimensions, Edge, Key, Side, Virtual};
use super::emit;
use super::series::{ATTRIBUTE, Buckets, Counted, Request, Table};
use super::store::{Added, Half, Limits, Store};
use crate::Batch;
use crate::wire::text::put_text;
use crate::wire::{AnyValue, Resource, ScopeEntry, Span, StatusCode, Writer, resources};

/// `SpanKind` as OTLP has it.
mod kind {
    pub(super) const SERVER: u64 = 2;
    pub(super) const CLIENT: u64 = 3;
    pub(super) const PRODUCER: u64 = 4;
    pub(super) const CONSUMER: u64 = 5;
    /// Those whose spans are sides of requests.
    pub(super) const OF_REQUESTS: [u64; 4] = [SERVER, CLIENT, PRODUCER, CONSUMER];
}

/// What the configuration says, in the form the graph needs.
pub(super) struct Settings {
    dimensions: Vec<Name>,
    peers: Vec<Box<[u8]>>,
    databases: Vec<Box<[u8]>>,
    /// Whether series tell which side is virtual.
    tells_virtual: bool,
    /// The value of `collector.instance.id`, if series have it.
    instance: Option<Arc<str>>,
    series_expiration_ns: u64,
    timestamp_offset_ns: u64,
}

/// A dimension.
struct Name {
    attribute: Box<[u8]>,
    of_client: Box<[u8]>,
    of_server: Box<[u8]>,
}

/// The whole of it.
pub(super) struct Graph {
    settings: Settings,
    buckets: Buckets,
    store: Store,
    table: Table,
}

/// What became of the spans of a batch, or of what expired.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Observed {
    /// Requests of which a span was the first.
    pub(super) new_edges: u64,
    /// Requests whose other half did not come.
    pub(super) expired_edges: u64,
    /// Spans for whose requests there was no room.
    pub(super) dropped_spans: u64,
    /// Spans whose resource has no name.
    pub(super) skipped_spans: u64,
    /// Requests that were counted in the overflow series.
    pub(super) overflowed: u64,
}

impl Graph {
    pub(super) fn new(config: &ServiceGraphConfig, instance: &Arc<str>) -> Self {
        let limit = |setting| if setting == 0 { usize::MAX } else { setting };
        let buckets = match config.exponential_histogram_max_size {
            0 => {
                let configured = config.latency_histogram_buckets.clone();
                let bounds = configured.unwrap_or_else(default_buckets);
                Buckets::Explicit { bounds_ns: bounds.iter().map(nanos).collect() }
            }
            max_size => Buckets::Exponential { max_size },
        };
        Self {
            settings: Settings::new(config, instance),
            table: Table::new(buckets.clone(), limit(config.max_series)),
            buckets,
            store: Store::new(Limits {
                items: config.store.max_items,
                bytes: limit(config.store.max_bytes),
                ttl_ns: nanos(&config.store.ttl),
            }),
        }
    }

    /// Pairs the spans of `batch`. `now_ns` is the time since any moment, `unix_ns` that of day.
    pub(super) fn observe(&self, batch: &Batch, now_ns: u64, unix_ns: u64) -> Observed {
        let mut observed = Observed::default();
        let (mut expired, mut key) = (Vec::new(), Writer::with_capacity(256));
        for entry in resources(batch.bytes()) {
            let resource = entry.resource();
            let service = service(resource);
            let spans = entry.scopes().flat_map(ScopeEntry::records).map(Span::read);
            for span in spans.filter(|span| kind::OF_REQUESTS.contains(&span.kind)) {
                let Some(service) = &service else {
                    observed.skipped_spans += 1;
                    continue;
                };
                let (id, edge) = self.settings.half(&span, resource, service);
                match self.store.add(id, edge, now_ns, &mut expired) {
                    Added::Full => observed.dropped_spans += 1,
                    Added::Waiting(half) => observed.new_edges += u64::from(half == Half::First),
                    Added::Complete(edge, half) => {
                        observed.new_edges += u64::from(half == Half::First);
                        self.count(&edge, unix_ns, &mut key, &mut observed);
                    }
                }
            }
        }
        self.count_expired(expired, unix_ns, &mut key, &mut observed);
        observed
    }

    /// Counts what has waited long enough for its other half.
    pub(super) fn expire(&self, now_ns: u64, unix_ns: u64) -> Observed {
        let mut observed = Observed::default();
        let (expired, mut key) = (self.store.expire(now_ns), Writer::with_capacity(256));
        self.count_expired(expired, unix_ns, &mut key, &mut observed);
        observed
    }

    /// Forgets what waits for its other half, which may have been about to come: without a name
    /// for the missing side, that is.
    pub(super) fn abandon(&self) -> Observed {
        let expired_edges = self.store.expire(u64::MAX).len() as u64;
        Observed { expired_edges, ..Observed::default() }
    }

    fn count_expired(
        &self,
        expired: Vec<(Key, Edge)>,
        unix_ns: u64,
        key: &mut Writer,
        observed: &mut Observed,
    ) {
        for (id, mut edge) in expired {
            observed.expired_edges += 1;
            if !self.settings.peers.is_empty() {
                edge.complete_with_virtual_node(&id);
            }
            if edge.is_complete() {
                self.count(&edge, unix_ns, key, observed);
            }
        }
    }

    /// Counts a request whose sides both have names.
    fn count(&self, edge: &Edge, unix_ns: u64, key: &mut Writer, observed: &mut Observed) {
        let (Some(client), Some(server)) = (&edge.client, &edge.server) else { return };
        self.settings.write_key(edge, client, server, key);
        let request = Request {
            failed: edge.failed,
            server_ns: server.latency_ns,
            client_ns: client.latency_ns,
        };
        if self.table.count(key.as_slice(), request, unix_ns) == Counted::Overflow {
            observed.overflowed += 1;
        }
    }

    /// Everything that was counted.
    pub(super) fn collect(&self, unix_ns: u64) -> Vec<Batch> {
        let now_ns = unix_ns.saturating_sub(self.settings.timestamp_offset_ns);
        emit::batches(&self.table.collect(), &self.buckets, now_ns)
    }

    /// Forgets series without requests; tells how many.
    pub(super) fn expire_series(&self, unix_ns: u64) -> u64 {
        match self.settings.series_expiration_ns {
            0 => 0,
            idle_ns => self.table.expire(unix_ns, idle_ns),
        }
    }

    /// How many series there are.
    pub(super) fn series(&self) -> usize {
        self.table.len()
    }

    /// The requests that wait for their other half.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }
}

impl Settings {
    fn new(config: &ServiceGraphConfig, instance: &Arc<str>) -> Self {
        let names = |names: &[String]| names.iter().map(|name| name.as_bytes().into()).collect();
        let dimension = |name: &String| Name {
            attribute: name.as_bytes().into(),
            of_client: format!("client_{name}").into_bytes().into(),
            of_server: format!("server_{name}").into_bytes().into(),
        };
        Self {
            dimensions: config.dimensions.iter().map(dimension).collect(),
            peers: names(&config.virtual_node_peer_attributes),
            databases: config.database_names().map(|name| name.as_bytes().into()).collect(),
            tells_virtual: config.virtual_node_extra_label,
            instance: config.include_instance_id.then(|| Arc::clone(instance)),
            series_expiration_ns: nanos(&config.series_expiration),
            timestamp_offset_ns: nanos(&config.metrics_timestamp_offset),
        }
    }

    /// What a span of a client or server tells of its request.
    ///
    /// Source: contrib servicegraphconnector `aggregateMetrics`.
    fn half(&self, span: &Span<'_>, resource: Resource<'_>, service: &Arc<[u8]>) -> (Key, Edge) {
        let latency_ns = span.duration_ns();
        let dimensions = self.dimensions(span, resource);
        let side = Side { service: Arc::clone(service), latency_ns, dimensions };
        let mut edge = Edge { failed: span.status_code() == StatusCode::Error, ..Edge::default() };
        if matches!(span.kind, kind::PRODUCER | kind::CONSUMER) {
            edge.connection = Connection::MessagingSystem;
        }
        if matches!(span.kind, kind::SERVER | kind::CONSUMER) {
            edge.server = Some(side);
            return (Key::new(span.trace_id, span.parent_span_id), edge);
        }
        // A database sends no spans, so the client's tells both sides.
        let database = self
            .databases
            .iter()
            .find_map(|name| resource.attribute(name).or_else(|| span.attribute(name)).map(text));
        if let Some(name) = database.filter(|name| !name.is_empty()) {
            let dimensions = Dimensions::default();
            edge.server = Some(Side { service: (&*name).into(), latency_ns, dimensions });
            edge.connection = Connection::Database;
        }
        edge.client = Some(side);
        edge.peer = self.peers.iter().find_map(|name| span.attribute(name).map(text));
        (Key::new(span.trace_id, span.span_id), edge)
    }

    fn dimensions(&self, span: &Span<'_>, resource: Resource<'_>) -> Dimensions {
        let value = |name: &Name| {
            let value = resource.attribute(&name.attribute);
            value.or_else(|| span.attribute(&name.attribute)).map(text)
        };
        self.dimensions.iter().map(value).collect()
    }

    /// Writes the attributes of a request's series.
    fn write_key(&self, edge: &Edge, client: &Side, server: &Side, key: &mut Writer) {
        key.clear();
        let mut put = |name: &[u8], text: &[u8]| {
            // A receiver may refuse a whole request for one name that is no UTF-8.
            let text = String::from_utf8_lossy(text);
            key.string_attribute(ATTRIBUTE, name, text.as_bytes());
        };
        put(b"client", &client.service);
        put(b"server", &server.service);
        put(b"connection_type", edge.connection.name().as_bytes());
        for (index, name) in self.dimensions.iter().enumerate() {
            for (side, name) in [(client, &name.of_client), (server, &name.of_server)] {
                if let Some(Some(text)) = side.dimensions.get(index) {
                    put(name, text);
                }
            }
        }
        if self.tells_virtual {
            let side: &[u8] = match edge.virtual_node {
                None => b"",
                Some(Virtual::Client) => b"client",
                Some(Virtual::Server) => b"server",
            };
            put(b"virtual_node", side);
        }
        if let Some(instance) = &self.instance {
            put(b"collector.instance.id", instance.as_bytes());
        }
        key.bool_attribute(ATTRIBUTE, b"failed", edge.failed);
    }
}

/// The resource's `service.name`, unless there is none or it is empty.
fn service(resource: Resource<'_>) -> Option<Arc<[u8]>> {
    let name = text(resource.attribute(b"service.name")?);
    (!name.is_empty()).then(|| name.into())
}

fn text(value: AnyValue<'_>) -> Box<[u8]> {
    let mut text = Vec::new();
    put_text(&mut text, value);
    text.into()
}

fn nanos(duration: &std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
