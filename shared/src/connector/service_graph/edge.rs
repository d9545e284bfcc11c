//! An edge of the graph: one request, told by a client's span, a server's, or both.

use std::sync::Arc;

/// What makes spans halves of one request: the trace, and the id of the client's span, which is
/// the parent of the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
}

impl Key {
    /// Ids that are missing are zeros.
    pub(super) fn new(trace_id: &[u8], span_id: &[u8]) -> Self {
        Self {
            trace_id: trace_id.try_into().unwrap_or_default(),
            span_id: span_id.try_into().unwrap_or_default(),
        }
    }
}

/// What a request went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Connection {
    /// Nothing that is known.
    #[default]
    Direct,
    /// A queue between a producer and a consumer.
    MessagingSystem,
    /// It is a request to a database, which sends no spans.
    Database,
    /// One of its sides sends no spans.
    VirtualNode,
}

impl Connection {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Connection::Direct => "",
            Connection::MessagingSystem => "messaging_system",
            Connection::Database => "database",
            Connection::VirtualNode => "virtual_node",
        }
    }
}

/// Which side of a request sends no spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Virtual {
    Client,
    Server,
}

/// One side of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) service: Arc<[u8]>,
    pub(super) latency_ns: u64,
    /// The texts of its configured dimensions: those it has.
    pub(super) dimensions: Dimensions,
}

/// For each configured dimension the text, if there is one. None are configured mostly, and then
/// it takes no memory.
pub(super) type Dimensions = Box<[Option<Box<[u8]>>]>;

/// A request as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) client: Option<Side>,
    pub(super) server: Option<Side>,
    pub(super) connection: Connection,
    /// Whether one of its spans has an error.
    pub(super) failed: bool,
    /// What the client calls its server, for when no server tells its own name.
    pub(super) peer: Option<Box<[u8]>>,
    pub(super) virtual_node: Option<Virtual>,
}

impl Edge {
    /// Whether both sides are known.
    pub(super) fn is_complete(&self) -> bool {
        self.client.is_some() && self.server.is_some()
    }

    /// Adds what another span of the same request tells.
    pub(super) fn join(&mut self, other: Edge) {
        self.client = other.client.or(self.client.take());
        self.server = other.server.or(self.server.take());
        self.peer = other.peer.or(self.peer.take());
        self.failed |= other.failed;
        // A producer may have a server for its other side; the order of spans shall not matter.
        self.connection = match (self.connection, other.connection) {
            (Connection::Database, _) | (_, Connection::Database) => Connection::Database,
            (Connection::Direct, connection) | (connection, _) => connection,
        };
    }

    /// Gives a side that sends no spans its name, if there is one for it.
    ///
    /// Source: contrib servicegraphconnector `onExpire`.
    pub(super) fn complete_with_virtual_node(&mut self, key: &Key) {
        let side = |service: &[u8]| {
            let dimensions = Dimensions::default();
            Some(Side { service: service.into(), latency_ns: 0, dimensions })
        };
        if self.client.is_none() && key.span_id == [0; 8] {
            self.client = side(b"user");
            self.virtual_node = Some(Virtual::Client);
        } else if self.server.is_none() {
            self.server = side(self.peer.as_deref().unwrap_or(b"unknown"));
            self.virtual_node = Some(Virtual::Server);
        } else {
            return;
        }
        self.connection = Connection::VirtualNode;
    }

    /// What it takes besides its own size, in bytes. The names of services are shared by all
    /// spans of a resource, but not for long.
    pub(super) fn heap_bytes(&self) -> usize {
        let side = |side: &Side| {
            let texts = side.dimensions.iter().flatten().map(|text| text.len());
            side.service.len() + size_of_val(&*side.dimensions) + texts.sum::<usize>()
        };
        let sides: usize = self.client.iter().chain(&self.server).map(side).sum();
        sides + self.peer.as_ref().map_or(0, |peer| peer.len())
    }
}
