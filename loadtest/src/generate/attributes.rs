//! The twelve attributes of each kind of span, after OpenTelemetry's semantic conventions.

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::draft::{Attributes, Span, Status, Value};
use super::trace::Work;
use super::vocabulary::{METHODS, OPERATIONS, SERVICES, STEPS, USER_AGENTS};

/// The attributes of `span`, which does `work`.
pub(super) fn of(rng: &mut StdRng, work: Work, span: &Span) -> Attributes {
    let service = span.origin.service;
    match work {
        Work::HttpServer(route) => http_server(rng, service, route, span.status),
        Work::HttpClient(callee, route) => http_client(rng, callee, route, span.status),
        Work::RpcServer(method) => rpc(rng, service, method, span.status),
        Work::RpcClient(callee, method) => rpc(rng, callee, method, span.status),
        Work::Query(operation) => query(rng, service, operation),
        Work::Publish => messaging(rng, service, "send", "send"),
        Work::Receive => messaging(rng, service, "process", "process"),
        Work::Step(step) => internal(rng, service, step),
    }
}

fn http_server(rng: &mut StdRng, service: usize, route: usize, status: Status) -> Attributes {
    let (method, template) = SERVICES[service].routes[route];
    vec![
        ("http.request.method", method.into()),
        ("http.route", template.into()),
        ("url.path", path(rng, template).into()),
        ("url.scheme", "https".into()),
        ("http.response.status_code", status_code(rng, status)),
        ("server.address", host(service).into()),
        ("server.port", 8443.into()),
        ("client.address", address(rng).into()),
        ("network.peer.address", address(rng).into()),
        ("network.protocol.version", "2".into()),
        ("user_agent.original", USER_AGENTS[rng.random_range(0..USER_AGENTS.len())].into()),
        ("thread.id", rng.random_range(1..64).into()),
    ]
}

fn http_client(rng: &mut StdRng, callee: usize, route: usize, status: Status) -> Attributes {
    let (method, template) = SERVICES[callee].routes[route];
    let host = host(callee);
    let url = format!("https://{host}:8443{}", path(rng, template));
    vec![
        ("http.request.method", method.into()),
        ("url.full", url.into()),
        ("url.template", template.into()),
        ("http.response.status_code", status_code(rng, status)),
        ("server.address", host.into()),
        ("server.port", 8443.into()),
        ("network.peer.address", address(rng).into()),
        ("network.peer.port", 8443.into()),
        ("network.protocol.version", "2".into()),
        ("http.request.body.size", rng.random_range(0..40_000).into()),
        ("thread.id", rng.random_range(1..64).into()),
        ("thread.name", format!("http-pool-{}", rng.random_range(1..16)).into()),
    ]
}

fn rpc(rng: &mut StdRng, callee: usize, method: usize, status: Status) -> Attributes {
    let code = if status == Status::Error { 14 } else { 0 };
    vec![
        ("rpc.system", "grpc".into()),
        ("rpc.service", SERVICES[callee].rpc.into()),
        ("rpc.method", METHODS[method].into()),
        ("rpc.grpc.status_code", code.into()),
        ("server.address", host(callee).into()),
        ("server.port", 50051.into()),
        ("network.peer.address", address(rng).into()),
        ("network.peer.port", rng.random_range(30_000..60_000).into()),
        ("network.transport", "tcp".into()),
        ("thread.id", rng.random_range(1..64).into()),
        ("thread.name", format!("grpc-default-executor-{}", rng.random_range(1..32)).into()),
        ("code.function.name", format!("{}.{}", SERVICES[callee].rpc, METHODS[method]).into()),
    ]
}

fn query(rng: &mut StdRng, service: usize, operation: usize) -> Attributes {
    let (table, verb) = (SERVICES[service].table, OPERATIONS[operation]);
    let text = match verb {
        "SELECT" => {
            format!("SELECT id, state, updated_at FROM shop.{table} WHERE id = $1 LIMIT 50")
        }
        "INSERT" => format!("INSERT INTO shop.{table} (id, state) VALUES ($1, $2)"),
        "UPDATE" => format!("UPDATE shop.{table} SET state = $2 WHERE id = $1"),
        _ => format!("DELETE FROM shop.{table} WHERE updated_at < $1"),
    };
    vec![
        ("db.system.name", "postgresql".into()),
        ("db.namespace", "shop".into()),
        ("db.collection.name", table.into()),
        ("db.operation.name", verb.into()),
        ("db.query.text", text.into()),
        ("db.query.summary", format!("{verb} {table}").into()),
        ("db.response.returned_rows", rng.random_range(0..50).into()),
        (
            "server.address",
            format!("pg-{table}.shop-production.svc.eu-west-1.cluster.local").into(),
        ),
        ("server.port", 5432.into()),
        ("network.peer.address", address(rng).into()),
        ("thread.id", rng.random_range(1..64).into()),
        ("thread.name", format!("db-pool-{}", rng.random_range(1..16)).into()),
    ]
}

fn messaging(
    rng: &mut StdRng,
    service: usize,
    operation: &'static str,
    kind: &'static str,
) -> Attributes {
    let partition = rng.random_range(0..24);
    vec![
        ("messaging.system", "kafka".into()),
        ("messaging.destination.name", "shop.events".into()),
        ("messaging.destination.partition.id", partition.to_string().into()),
        ("messaging.operation.name", operation.into()),
        ("messaging.operation.type", kind.into()),
        ("messaging.message.id", format!("{:032x}", rng.random::<u128>()).into()),
        ("messaging.message.body.size", rng.random_range(100..9_000).into()),
        ("messaging.kafka.offset", rng.random_range(1..90_000_000).into()),
        ("messaging.consumer.group.name", format!("{}-events", SERVICES[service].name).into()),
        ("messaging.client.id", format!("{}-{partition}", SERVICES[service].name).into()),
        ("server.address", "kafka.shop-production.svc.eu-west-1.cluster.local".into()),
        ("server.port", 9092.into()),
    ]
}

fn internal(rng: &mut StdRng, service: usize, step: usize) -> Attributes {
    let name = SERVICES[service].name;
    vec![
        ("code.function.name", format!("com.shop.{name}.{}", STEPS[step].replace(' ', "_")).into()),
        ("code.file.path", format!("src/{name}/handlers/{}.rs", step + 1).into()),
        ("code.line.number", rng.random_range(10..900).into()),
        ("thread.id", rng.random_range(1..64).into()),
        ("thread.name", format!("worker-{}", rng.random_range(1..16)).into()),
        ("user.id", format!("u-{:08}", rng.random_range(0..2_000_000)).into()),
        ("session.id", format!("{:032x}", rng.random::<u128>()).into()),
        ("shop.tenant", ["acme", "globex", "initech"][rng.random_range(0..3)].into()),
        ("shop.user.tier", if rng.random_ratio(1, 10) { "gold" } else { "basic" }.into()),
        ("feature_flag.key", "new-checkout-flow".into()),
        ("feature_flag.result.variant", if rng.random() { "on" } else { "off" }.into()),
        ("shop.cart.items", rng.random_range(0..30).into()),
    ]
}

fn status_code(rng: &mut StdRng, status: Status) -> Value {
    match status {
        Status::Error => [500, 502, 503, 504][rng.random_range(0..4)].into(),
        _ => match rng.random_range(0..100) {
            0..3 => 404.into(),
            3..8 => 304.into(),
            _ => 200.into(),
        },
    }
}

/// The template with its parameter filled in.
fn path(rng: &mut StdRng, template: &str) -> String {
    match (template.find('{'), template.find('}')) {
        (Some(open), Some(close)) => {
            let (before, after) = (&template.as_bytes()[..open], &template.as_bytes()[close + 1..]);
            let id = format!("{:08x}", rng.random::<u32>());
            String::from_utf8_lossy(&[before, id.as_bytes(), after].concat()).into_owned()
        }
        _ => template.to_owned(),
    }
}

fn host(service: usize) -> String {
    format!("{}.shop-production.svc.eu-west-1.cluster.local", SERVICES[service].name)
}

fn address(rng: &mut StdRng) -> String {
    let [a, b, c, _] = rng.random::<u32>().to_be_bytes();
    format!("10.{a}.{b}.{c}")
}
