//! Names of spans by what semantic conventions say of their attributes: with few different values
//! where instrumentation puts ids or whole URLs into the name.
//!
//! | kind | tried in this order |
//! |---|---|
//! | server | HTTP, RPC, messaging |
//! | client | HTTP, RPC, database, messaging |
//! | producer, consumer | messaging |
//!
//! A span of another kind, or without the attributes, keeps its name.
//! Source: contrib connector/spanmetricsconnector/internal/traces/span_name.go.

use std::io::Write as _;
use std::sync::LazyLock;

use crate::wire::{AnyValue, Span};

use super::names::Names;

const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;
const PRODUCER: u64 = 4;
const CONSUMER: u64 = 5;

/// The attributes that names are made of. Of a pair, the first counts.
#[derive(Clone, Copy)]
enum Key {
    HttpMethod,
    HttpMethodFormerly,
    HttpRoute,
    UrlTemplate,
    RpcSystem,
    RpcMethod,
    RpcMethodFormerly,
    RpcService,
    RpcServiceFormerly,
    DbSystem,
    DbSystemFormerly,
    DbOperation,
    DbOperationFormerly,
    DbNamespace,
    DbCollection,
    DbName,
    MessagingSystem,
    MessagingOperation,
    MessagingOperationFormerly,
    Temporary,
    Anonymous,
    DestinationTemplate,
    DestinationName,
    DestinationFormerly,
    ServerAddress,
    ServerPort,
}

const KEYS: [&[u8]; 26] = [
    b"http.request.method",
    b"http.method",
    b"http.route",
    b"url.template",
    b"rpc.system",
    b"rpc.method",
    b"rpc.grpc.method",
    b"rpc.service",
    b"rpc.grpc.service",
    b"db.system.name",
    b"db.system",
    b"db.operation.name",
    b"db.operation",
    b"db.namespace",
    b"db.collection.name",
    b"db.name",
    b"messaging.system",
    b"messaging.operation.name",
    b"messaging.operation",
    b"messaging.destination.temporary",
    b"messaging.destination.anonymous",
    b"messaging.destination.template",
    b"messaging.destination.name",
    b"messaging.destination",
    b"server.address",
    b"server.port",
];

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let mut names = Names::default();
    for key in KEYS {
        names.add(key);
    }
    names
});

/// Puts the name of `span` into `name`. Whether there is one; else the span's own counts.
pub(crate) fn put(span: &Span<'_>, name: &mut Vec<u8>) -> bool {
    name.clear();
    if !(SERVER..=CONSUMER).contains(&span.kind) {
        debug_assert_eq!(INTERNAL + 1, SERVER, "kinds below have no conventions");
        return false;
    }
    let found = Found::read(span);
    match span.kind {
        SERVER => {
            found.put_http(Key::HttpRoute, name) || found.put_rpc(name) || found.put_messaging(name)
        }
        CLIENT => {
            found.put_http(Key::UrlTemplate, name)
                || found.put_rpc(name)
                || found.put_database(name)
                || found.put_messaging(name)
        }
        PRODUCER | CONSUMER => found.put_messaging(name),
        _ => false,
    }
}

/// The values of those attributes that a span has.
struct Found<'a>([Option<AnyValue<'a>>; KEYS.len()]);

impl<'a> Found<'a> {
    fn read(span: &Span<'a>) -> Self {
        let mut found = [None; KEYS.len()];
        for (key, value) in span.attributes().unread() {
            if let Some(index) = NAMES.find(key)
                && found[index].is_none()
            {
                found[index] = Some(AnyValue::read(value));
            }
        }
        Self(found)
    }

    fn get(&self, key: Key) -> Option<AnyValue<'a>> {
        self.0[key as usize]
    }

    fn either(&self, key: Key, former: Key) -> Option<AnyValue<'a>> {
        self.get(key).or_else(|| self.get(former))
    }

    fn is_true(&self, key: Key) -> bool {
        self.get(key) == Some(AnyValue::Bool(true))
    }

    /// `GET /items/{id}`, `GET`
    fn put_http(&self, subject: Key, name: &mut Vec<u8>) -> bool {
        let Some(method) = self.either(Key::HttpMethod, Key::HttpMethodFormerly) else {
            return false;
        };
        put_text(method, name);
        if let Some(subject) = self.get(subject) {
            name.push(b' ');
            put_text(subject, name);
        }
        true
    }

    /// `shop.Cart/Add`, `Add`, `shop.Cart/*`, `(grpc)`
    fn put_rpc(&self, name: &mut Vec<u8>) -> bool {
        let Some(system) = self.get(Key::RpcSystem) else { return false };
        let method = self.either(Key::RpcMethod, Key::RpcMethodFormerly);
        let service = self.either(Key::RpcService, Key::RpcServiceFormerly);
        if let Some(service) = service {
            put_text(service, name);
            name.push(b'/');
        }
        match (method, service) {
            (Some(method), _) => put_text(method, name),
            (None, Some(_)) => name.push(b'*'),
            (None, None) => put_system(system, name),
        }
        true
    }

    /// `SELECT shop.orders`, `(postgresql)`
    fn put_database(&self, name: &mut Vec<u8>) -> bool {
        let Some(system) = self.either(Key::DbSystem, Key::DbSystemFormerly) else { return false };
        if let Some(operation) = self.either(Key::DbOperation, Key::DbOperationFormerly) {
            put_text(operation, name);
            name.push(b' ');
        }
        if let Some(namespace) = self.get(Key::DbNamespace) {
            put_text(namespace, name);
            name.push(b'.');
        }
        if let Some(collection) = self.either(Key::DbCollection, Key::DbName) {
            put_text(collection, name);
        }
        if name.is_empty() {
            put_system(system, name);
        }
        true
    }

    /// `publish orders`, `orders`, `publish`, `(kafka)`
    fn put_messaging(&self, name: &mut Vec<u8>) -> bool {
        let Some(system) = self.get(Key::MessagingSystem) else { return false };
        if let Some(operation) =
            self.either(Key::MessagingOperation, Key::MessagingOperationFormerly)
        {
            put_text(operation, name);
        }
        let operation_end = name.len();
        if operation_end > 0 {
            name.push(b' ');
        }
        let destination_start = name.len();
        self.put_destination(name);
        if name.len() == destination_start {
            name.truncate(operation_end);
        }
        if name.is_empty() {
            put_system(system, name);
        }
        true
    }

    fn put_destination(&self, name: &mut Vec<u8>) {
        if self.is_true(Key::Temporary) {
            return name.extend_from_slice(b"(temporary)");
        }
        if self.is_true(Key::Anonymous) {
            return name.extend_from_slice(b"(anonymous)");
        }
        let named = || self.either(Key::DestinationName, Key::DestinationFormerly);
        if let Some(destination) = self.get(Key::DestinationTemplate).or_else(named) {
            return put_text(destination, name);
        }
        if let Some(address) = self.get(Key::ServerAddress) {
            put_text(address, name);
            if let Some(port) = self.get(Key::ServerPort) {
                name.push(b':');
                put_text(port, name);
            }
        }
    }
}

fn put_system(system: AnyValue<'_>, name: &mut Vec<u8>) {
    name.push(b'(');
    put_text(system, name);
    name.push(b')');
}

/// Lists and maps, which none of these attributes is, have no text.
fn put_text(value: AnyValue<'_>, name: &mut Vec<u8>) {
    let written = match value {
        AnyValue::String(text) => return name.extend_from_slice(text),
        AnyValue::Bool(flag) => write!(name, "{flag}"),
        AnyValue::Int(integer) => write!(name, "{integer}"),
        AnyValue::Double(double) => write!(name, "{double}"),
        AnyValue::Empty | AnyValue::Array(_) | AnyValue::KeyValues(_) | AnyValue::Bytes(_) => {
            return;
        }
    };
    written.expect("a vector takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    /// The name of a span of this kind with these attributes; `42` is a number, `true` a flag.
    #[track_caller]
    fn check(kind: u64, attributes: &[(&str, &str)], expected: &str) {
        let mut writer = Writer::new();
        for (key, text) in attributes {
            match (text.parse::<i64>(), *text) {
                (Ok(integer), _) => writer.int_attribute(9, key.as_bytes(), integer),
                (_, "true") => writer.bool_attribute(9, key.as_bytes(), true),
                (_, text) => writer.string_attribute(9, key.as_bytes(), text.as_bytes()),
            }
        }
        let raw = writer.into_vec();
        let span = Span { kind, ..Span::read(&raw) };
        let mut name = Vec::new();
        let found = put(&span, &mut name);
        let name = if found { String::from_utf8(name).unwrap() } else { "its own".to_owned() };
        assert_eq!(name, expected, "{attributes:?}");
    }

    #[test]
    fn http_spans_are_named_by_method_and_route_or_template() {
        let method = ("http.request.method", "GET");
        check(SERVER, &[method, ("http.route", "/a/{id}"), ("url.template", "/b")], "GET /a/{id}");
        check(CLIENT, &[method, ("http.route", "/a"), ("url.template", "/b")], "GET /b");
        check(SERVER, &[("http.method", "PUT")], "PUT");
        check(SERVER, &[("http.method", "PUT"), method], "GET");
        check(INTERNAL, &[method], "its own");
        check(0, &[method], "its own");
    }

    #[test]
    fn rpc_spans_are_named_by_service_and_method() {
        let system = ("rpc.system", "grpc");
        check(SERVER, &[system, ("rpc.service", "s.C"), ("rpc.method", "Add")], "s.C/Add");
        check(CLIENT, &[system, ("rpc.grpc.method", "Add")], "Add");
        check(CLIENT, &[system, ("rpc.service", "s.C")], "s.C/*");
        check(CLIENT, &[system], "(grpc)");
        check(CLIENT, &[("rpc.method", "Add")], "its own");
    }

    #[test]
    fn database_spans_are_named_by_operation_and_target() {
        let system = ("db.system.name", "postgresql");
        let all = [
            system,
            ("db.operation.name", "SELECT"),
            ("db.namespace", "shop"),
            ("db.collection.name", "orders"),
        ];
        check(CLIENT, &all, "SELECT shop.orders");
        check(CLIENT, &[("db.system", "redis"), ("db.name", "0")], "0");
        check(CLIENT, &[system], "(postgresql)");
        check(SERVER, &all, "its own");
    }

    #[test]
    fn messaging_spans_are_named_by_operation_and_destination() {
        let (system, operation) =
            (("messaging.system", "kafka"), ("messaging.operation.name", "publish"));
        let (destination, address) =
            (("messaging.destination.name", "orders"), ("server.address", "broker"));
        check(PRODUCER, &[system, operation, destination], "publish orders");
        check(CONSUMER, &[system, destination], "orders");
        check(CONSUMER, &[system, operation], "publish");
        check(CONSUMER, &[system], "(kafka)");
        check(CLIENT, &[system, address, ("server.port", "9092")], "broker:9092");
        check(SERVER, &[system, address], "broker");
        let template = ("messaging.destination.template", "orders.{id}");
        check(PRODUCER, &[system, destination, template], "orders.{id}");
        let anonymous = ("messaging.destination.anonymous", "true");
        check(PRODUCER, &[system, destination, anonymous], "(anonymous)");
        let temporary = ("messaging.destination.temporary", "true");
        check(PRODUCER, &[system, anonymous, temporary], "(temporary)");
        check(PRODUCER, &[operation, destination], "its own");
    }
}
