//! What the semantic conventions say of a span's name.
//!
//! Instrumentations that put ids or whole URLs into names make a series of metrics for each; a name
//! that follows from a few attributes of low cardinality does not.
//!
//! Source: contrib `transformprocessor/internal/traces/func_set_semconv_span_name.go`, for the
//! semantic conventions [`VERSION`].

use std::borrow::Cow;

use crate::wire::{AnyValue, Span};

/// The version of the semantic conventions that [`span_name`] knows.
pub const VERSION: &str = "1.37.0";

/// The name that the conventions give a span by its kind and attributes; its own where they say
/// nothing.
///
/// Attributes that are lists, maps or bytes count as absent; the Collector makes JSON of them.
pub fn span_name<'a>(span: &Span<'a>) -> Cow<'a, [u8]> {
    const SERVER: u64 = 2;
    const CLIENT: u64 = 3;
    const PRODUCER: u64 = 4;
    const CONSUMER: u64 = 5;
    let attributes = || Known::read(span);
    let derived = match span.kind {
        SERVER => {
            let known = attributes();
            known.http(Key::HttpRoute).or_else(|| known.rpc()).or_else(|| known.messaging())
        }
        CLIENT => {
            let known = attributes();
            known
                .http(Key::UrlTemplate)
                .or_else(|| known.rpc())
                .or_else(|| known.database())
                .or_else(|| known.messaging())
        }
        PRODUCER | CONSUMER => attributes().messaging(),
        _ => None,
    };
    derived.unwrap_or(Cow::Borrowed(span.name))
}

macro_rules! keys {
    ($( $key:ident = $name:literal, )*) => {
        /// An attribute that names depend on.
        #[derive(Debug, Clone, Copy)]
        enum Key { $( $key, )* }

        const KEY_COUNT: usize = [$( Key::$key ),*].len();

        impl Key {
            fn of(name: &[u8]) -> Option<Self> {
                const NAMES: [(&str, Key); KEY_COUNT] = [$( ($name, Key::$key) ),*];
                NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, key)| *key)
            }
        }
    };
}

keys! {
    HttpRequestMethod = "http.request.method",
    HttpMethod = "http.method",
    HttpRoute = "http.route",
    UrlTemplate = "url.template",
    RpcSystem = "rpc.system",
    RpcMethod = "rpc.method",
    RpcGrpcMethod = "rpc.grpc.method",
    RpcService = "rpc.service",
    RpcGrpcService = "rpc.grpc.service",
    DbSystemName = "db.system.name",
    DbSystem = "db.system",
    DbQuerySummary = "db.query.summary",
    DbOperationName = "db.operation.name",
    DbOperation = "db.operation",
    DbNamespace = "db.namespace",
    DbName = "db.name",
    DbCollectionName = "db.collection.name",
    DbStoredProcedureName = "db.stored_procedure.name",
    MessagingSystem = "messaging.system",
    MessagingOperationName = "messaging.operation.name",
    MessagingOperation = "messaging.operation",
    MessagingDestinationTemporary = "messaging.destination.temporary",
    MessagingDestinationAnonymous = "messaging.destination.anonymous",
    MessagingDestinationTemplate = "messaging.destination.template",
    MessagingDestinationName = "messaging.destination.name",
    MessagingDestination = "messaging.destination",
    ServerAddress = "server.address",
    ServerPort = "server.port",
}

/// The attributes of a span that names depend on, read in one pass.
struct Known<'a> {
    values: [Option<AnyValue<'a>>; KEY_COUNT],
}

/// A part of a name.
type Text<'a> = Cow<'a, [u8]>;

impl<'a> Known<'a> {
    fn read(span: &Span<'a>) -> Self {
        let mut values = [None; KEY_COUNT];
        for (name, value) in span.attributes().unread() {
            if let Some(key) = Key::of(name) {
                values[key as usize].get_or_insert_with(|| AnyValue::read(value));
            }
        }
        Self { values }
    }

    fn text(&self, key: Key) -> Option<Text<'a>> {
        match self.values[key as usize]? {
            AnyValue::String(text) => Some(Cow::Borrowed(text)),
            AnyValue::Bool(value) => Some(Cow::Borrowed(if value { b"true" } else { b"false" })),
            AnyValue::Int(number) => Some(Cow::Owned(number.to_string().into_bytes())),
            AnyValue::Double(number) => Some(Cow::Owned(number.to_string().into_bytes())),
            AnyValue::Empty => Some(Cow::Borrowed(b"")),
            AnyValue::Array(_) | AnyValue::KeyValues(_) | AnyValue::Bytes(_) => None,
        }
    }

    /// The attribute, or what it was called before.
    fn either(&self, key: Key, former: Key) -> Option<Text<'a>> {
        self.text(key).or_else(|| self.text(former))
    }

    fn is_true(&self, key: Key) -> bool {
        self.values[key as usize] == Some(AnyValue::Bool(true))
    }

    fn http(&self, subject: Key) -> Option<Text<'a>> {
        let method = self.either(Key::HttpRequestMethod, Key::HttpMethod)?;
        match self.text(subject) {
            Some(subject) => Some(joined(&method, b" ", &subject)),
            None => some_text(method),
        }
    }

    fn rpc(&self) -> Option<Text<'a>> {
        let system = self.text(Key::RpcSystem)?;
        let method = self.either(Key::RpcMethod, Key::RpcGrpcMethod);
        let service = self.either(Key::RpcService, Key::RpcGrpcService);
        match (service, method) {
            (Some(service), Some(method)) => Some(joined(&service, b"/", &method)),
            (None, Some(method)) => some_text(method),
            (Some(service), None) => Some(joined(&service, b"/", b"*")),
            (None, None) => some_text(system),
        }
    }

    fn database(&self) -> Option<Text<'a>> {
        let system = self.either(Key::DbSystemName, Key::DbSystem)?;
        if let Some(summary) = self.text(Key::DbQuerySummary) {
            return some_text(summary);
        }
        let operation = self.either(Key::DbOperationName, Key::DbOperation).and_then(some_text);
        match (operation, self.database_target()) {
            (Some(operation), Some(target)) => Some(joined(&operation, b" ", &target)),
            (Some(text), None) | (None, Some(text)) => Some(text),
            (None, None) => some_text(system),
        }
    }

    fn database_target(&self) -> Option<Text<'a>> {
        let namespace = self.either(Key::DbNamespace, Key::DbName).and_then(some_text);
        let collection = self.either(Key::DbCollectionName, Key::DbStoredProcedureName);
        match (namespace, collection) {
            (Some(namespace), Some(collection)) => Some(joined(&namespace, b".", &collection)),
            (None, Some(collection)) => some_text(collection),
            (Some(namespace), None) => Some(namespace),
            (None, None) => self.server(),
        }
    }

    fn messaging(&self) -> Option<Text<'a>> {
        let system = self.text(Key::MessagingSystem)?;
        let operation = self.either(Key::MessagingOperationName, Key::MessagingOperation);
        match (operation, self.destination()) {
            (Some(operation), Some(destination)) => Some(joined(&operation, b" ", &destination)),
            (None, Some(destination)) => Some(destination),
            (Some(operation), None) => some_text(operation),
            (None, None) => some_text(system),
        }
    }

    fn destination(&self) -> Option<Text<'a>> {
        if self.is_true(Key::MessagingDestinationTemporary) {
            return Some(Cow::Borrowed(b"(temporary)"));
        }
        if self.is_true(Key::MessagingDestinationAnonymous) {
            return Some(Cow::Borrowed(b"(anonymous)"));
        }
        let name = self
            .text(Key::MessagingDestinationTemplate)
            .or_else(|| self.either(Key::MessagingDestinationName, Key::MessagingDestination));
        match name {
            Some(name) => some_text(name),
            None => self.server(),
        }
    }

    fn server(&self) -> Option<Text<'a>> {
        let address = self.text(Key::ServerAddress)?;
        match self.text(Key::ServerPort) {
            Some(port) => Some(joined(&address, b":", &port)),
            None => some_text(address),
        }
    }
}

/// An empty text is no name.
fn some_text(text: Text<'_>) -> Option<Text<'_>> {
    (!text.is_empty()).then_some(text)
}

fn joined(first: &[u8], between: &[u8], last: &[u8]) -> Text<'static> {
    Cow::Owned([first, between, last].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    const SERVER: u64 = 2;
    const CLIENT: u64 = 3;
    const PRODUCER: u64 = 4;

    #[track_caller]
    fn check(kind: u64, attributes: &[(&str, &str)], expected: &str) {
        let mut writer = Writer::new();
        writer.bytes(5, b"as it was");
        writer.varint(6, kind);
        for (key, value) in attributes {
            match *value {
                "true" => writer.bool_attribute(9, key.as_bytes(), true),
                value => match value.parse() {
                    Ok(number) => writer.int_attribute(9, key.as_bytes(), number),
                    Err(_) => writer.string_attribute(9, key.as_bytes(), value.as_bytes()),
                },
            }
        }
        let raw = writer.into_vec();
        let name = span_name(&Span::read(&raw));
        assert_eq!(str::from_utf8(&name), Ok(expected), "{attributes:?}");
    }

    #[test]
    fn http_spans_are_named_by_method_and_route() {
        let route = ("http.route", "/users/{id}");
        check(SERVER, &[("http.request.method", "GET"), route], "GET /users/{id}");
        check(SERVER, &[("http.method", "GET"), ("url.template", "/x")], "GET");
        check(CLIENT, &[("http.method", "PUT"), route, ("url.template", "/x")], "PUT /x");
        check(SERVER, &[route], "as it was");
        check(SERVER, &[("http.method", "")], "as it was");
        check(1, &[("http.method", "GET"), route], "as it was");
    }

    #[test]
    fn calls_are_named_by_service_and_method() {
        let (system, service) = (("rpc.system", "grpc"), ("rpc.service", "cart.Cart"));
        check(SERVER, &[system, service, ("rpc.method", "Add")], "cart.Cart/Add");
        check(SERVER, &[system, ("rpc.grpc.method", "Add")], "Add");
        check(CLIENT, &[system, service], "cart.Cart/*");
        check(CLIENT, &[system], "grpc");
        check(CLIENT, &[service], "as it was");
    }

    #[test]
    fn database_spans_are_named_by_operation_and_target() {
        let (system, operation) = (("db.system", "mysql"), ("db.operation.name", "SELECT"));
        let (namespace, collection) = (("db.namespace", "shop"), ("db.collection.name", "carts"));
        check(CLIENT, &[system, operation, namespace, collection], "SELECT shop.carts");
        check(CLIENT, &[system, operation, namespace], "SELECT shop");
        check(CLIENT, &[system, collection], "carts");
        check(CLIENT, &[system, namespace, ("db.stored_procedure.name", "tidy")], "shop.tidy");
        check(CLIENT, &[system, ("db.query.summary", "SELECT a b")], "SELECT a b");
        let server = [system, ("server.address", "db"), ("server.port", "3306")];
        check(CLIENT, &server, "db:3306");
        check(CLIENT, &[system], "mysql");
        check(SERVER, &[system, operation], "as it was");
    }

    #[test]
    fn messages_are_named_by_operation_and_destination() {
        let (system, operation) =
            (("messaging.system", "kafka"), ("messaging.operation.name", "send"));
        let name = ("messaging.destination.name", "orders-17");
        let template = ("messaging.destination.template", "orders-{id}");
        check(PRODUCER, &[system, operation, name], "send orders-17");
        check(PRODUCER, &[system, operation, name, template], "send orders-{id}");
        let temporary = ("messaging.destination.temporary", "true");
        check(5, &[system, temporary, name], "(temporary)");
        check(SERVER, &[system, ("messaging.destination.anonymous", "true")], "(anonymous)");
        check(CLIENT, &[system, operation], "send");
        check(CLIENT, &[system, ("server.address", "broker")], "broker");
        check(CLIENT, &[system], "kafka");
    }
}
