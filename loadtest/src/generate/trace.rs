//! Grows one trace: a call tree over several services.

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};

use super::attributes;
use super::draft::{Event, Kind, Link, Origin, Span, Status, Text};
use super::vocabulary::{EXCEPTIONS, METHODS, OPERATIONS, SERVICES, STEPS};

const MS: u64 = 1_000_000;
/// Instances of each service.
const INSTANCES: usize = 2;

/// What a span does; decides its name, kind and attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Answers an HTTP request: index of the service's route.
    HttpServer(usize),
    /// Calls another service's route.
    HttpClient(usize, usize),
    /// Answers an RPC: index of the method.
    RpcServer(usize),
    /// Calls another service's method.
    RpcClient(usize, usize),
    /// Asks the service's database.
    Query(usize),
    /// Sends a message.
    Publish,
    /// Takes a message.
    Receive,
    /// Works on its own.
    Step(usize),
}

/// Makes the spans of one trace.
pub(super) struct Grower<'a> {
    pub(super) rng: &'a mut StdRng,
    /// How many of the vocabulary's services take part.
    pub(super) services: usize,
    /// One trace in so many is a giant; 0 for none.
    pub(super) giants: u32,
    pub(super) trace: usize,
    pub(super) start_ns: u64,
    /// The trace before, which some roots link to.
    pub(super) previous: Option<Link>,
}

struct Node {
    parent: Option<usize>,
    origin: Origin,
    work: Work,
}

impl Grower<'_> {
    /// All spans of the trace, the root first.
    pub(super) fn grow(mut self) -> Vec<Span> {
        let nodes = self.plant();
        let trace_id = self.rng.random::<u128>().to_be_bytes();
        let trace_state = if self.rng.random_ratio(1, 20) { "shop=a:1" } else { "" };
        let mut spans: Vec<Span> = Vec::with_capacity(nodes.len());
        for node in &nodes {
            let (start_ns, end_ns) = self.interval(node, &spans);
            let parent = node.parent.map(|parent| spans[parent].span_id);
            let span_id = (self.rng.next_u64() | 1).to_be_bytes();
            spans.push(Span {
                trace: self.trace,
                trace_id,
                span_id,
                parent,
                trace_state,
                origin: node.origin,
                scope: usize::from(matches!(node.work, Work::Step(_) | Work::Publish)),
                name: name(node),
                kind: kind(node.work),
                start_ns,
                end_ns,
                status: Status::Unset,
                attributes: Vec::new(),
                events: Vec::new(),
                links: self.links(node, &spans),
            });
        }
        self.fail(&nodes, &mut spans);
        for (node, span) in nodes.iter().zip(&mut spans) {
            span.attributes = attributes::of(self.rng, node.work, span);
            span.events = self.events(span);
        }
        spans
    }

    /// Decides who calls whom.
    fn plant(&mut self) -> Vec<Node> {
        // Nothing is drawn when there are no giants: plans keep their bytes.
        let is_giant = self.giants > 0 && self.rng.random_ratio(1, self.giants);
        let size = match is_giant {
            true => self.rng.random_range(2_000..=20_000),
            false if self.rng.random_ratio(1, 40) => self.rng.random_range(9..=48),
            false => self.rng.random_range(3..=8),
        };
        let entry = self.rng.random_range(0..self.services.min(2));
        let root = self.origin_of(entry);
        let route = self.route_of(root.service);
        let mut nodes = vec![Node { parent: None, origin: root, work: Work::HttpServer(route) }];
        while nodes.len() < size {
            let parent = self.parent(&nodes);
            let origin = nodes[parent].origin;
            let (work, answer) = self.work();
            let callee = self.other_than(origin.service);
            nodes.push(Node { parent: Some(parent), origin, work: self.aimed(work, callee) });
            if answer && nodes.len() < size {
                let work = match nodes[nodes.len() - 1].work {
                    Work::HttpClient(_, route) => Work::HttpServer(route),
                    Work::RpcClient(_, method) => Work::RpcServer(method),
                    _ => Work::Receive,
                };
                let origin = self.origin_of(callee);
                nodes.push(Node { parent: Some(nodes.len() - 1), origin, work });
            }
        }
        nodes
    }

    /// A node that may have children.
    fn parent(&mut self, nodes: &[Node]) -> usize {
        loop {
            let candidate = self.rng.random_range(0..nodes.len());
            let work = nodes[candidate].work;
            if matches!(kind(work), Kind::Server | Kind::Consumer) || matches!(work, Work::Step(_))
            {
                return candidate;
            }
        }
    }

    /// What a caller does next, and whether another service answers it.
    fn work(&mut self) -> (Work, bool) {
        match self.rng.random_range(0..100) {
            0..25 => (Work::HttpClient(0, 0), true),
            25..45 => (Work::RpcClient(0, self.rng.random_range(0..METHODS.len())), true),
            45..70 => (Work::Query(self.rng.random_range(0..OPERATIONS.len())), false),
            70..80 => (Work::Publish, true),
            _ => (Work::Step(self.rng.random_range(0..STEPS.len())), false),
        }
    }

    /// The same work, aimed at `callee`.
    fn aimed(&mut self, work: Work, callee: usize) -> Work {
        match work {
            Work::HttpClient(..) => Work::HttpClient(callee, self.route_of(callee)),
            Work::RpcClient(_, method) => Work::RpcClient(callee, method),
            work => work,
        }
    }

    fn route_of(&mut self, service: usize) -> usize {
        self.rng.random_range(0..SERVICES[service].routes.len())
    }

    fn other_than(&mut self, service: usize) -> usize {
        (service + self.rng.random_range(1..self.services)) % self.services
    }

    fn origin_of(&mut self, service: usize) -> Origin {
        Origin { service, instance: self.rng.random_range(0..INSTANCES) }
    }

    /// When a span begins and ends: a child within its parent, but for what a queue delays and
    /// for clocks that differ.
    fn interval(&mut self, node: &Node, spans: &[Span]) -> (u64, u64) {
        let Some(parent) = node.parent.map(|parent| &spans[parent]) else {
            let length = match self.rng.random_range(0..100) {
                0..2 => self.rng.random_range(1_000 * MS..6_000 * MS),
                2..12 => self.rng.random_range(200 * MS..950 * MS),
                _ => self.rng.random_range(2 * MS..200 * MS),
            };
            return (self.start_ns, self.start_ns + length);
        };
        let length = parent.end_ns - parent.start_ns;
        let offset = self.rng.random_range(0..length / 2 + 1);
        let mut start_ns = parent.start_ns + offset;
        let mut end_ns = start_ns + self.rng.random_range(1..(length - offset).max(2));
        if node.work == Work::Receive {
            let delay = self.rng.random_range(0..40 * MS);
            (start_ns, end_ns) = (start_ns + delay, end_ns + delay);
        } else if self.rng.random_ratio(1, 200) {
            let skew = self.rng.random_range(0..2 * MS);
            (start_ns, end_ns) = (start_ns - skew, end_ns - skew);
        }
        (start_ns, end_ns)
    }

    fn links(&mut self, node: &Node, spans: &[Span]) -> Vec<Link> {
        match (node.work, node.parent) {
            (Work::Receive, Some(parent)) => {
                let Span { trace_id, span_id, .. } = spans[parent];
                vec![Link { trace_id, span_id }]
            }
            (_, None) if self.rng.random_ratio(1, 50) => self.previous.into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Makes some spans fail; every second failure takes the caller with it.
    fn fail(&mut self, nodes: &[Node], spans: &mut [Span]) {
        for index in 0..spans.len() {
            if self.rng.random_ratio(1, 25) && spans[index].status == Status::Unset {
                spans[index].status = Status::Ok;
            }
            if !self.rng.random_ratio(1, 100) {
                continue;
            }
            let mut failed = Some(index);
            while let Some(index) = failed {
                spans[index].status = Status::Error;
                failed = nodes[index].parent.filter(|_| self.rng.random_ratio(1, 2));
            }
        }
    }

    fn events(&mut self, span: &Span) -> Vec<Event> {
        let time_ns = span.end_ns;
        let mut events = Vec::new();
        if self.rng.random_ratio(1, 12) {
            let attributes = vec![
                ("cache.key", format!("item:{}", self.rng.random_range(0..5_000)).into()),
                ("cache.hit", self.rng.random_bool(0.8).into()),
            ];
            events.push(Event { name: "cache lookup", time_ns: span.start_ns, attributes });
        }
        let exception = match span.status {
            Status::Error => self.rng.random_ratio(7, 10),
            _ => self.rng.random_ratio(2, 100),
        };
        if exception {
            let (class, message) = EXCEPTIONS[self.rng.random_range(0..EXCEPTIONS.len())];
            let attributes = vec![
                ("exception.type", class.into()),
                ("exception.message", message.into()),
                ("exception.stacktrace", stack_trace(class, message).into()),
            ];
            events.push(Event { name: "exception", time_ns, attributes });
        }
        events
    }
}

fn stack_trace(class: &str, message: &str) -> String {
    let mut text = format!("{class}: {message}\n");
    for (line, frame) in
        ["Client.send", "Retry.run", "Handler.invoke", "Pipeline.next", "Worker.run"]
            .iter()
            .cycle()
            .take(10)
            .enumerate()
    {
        let line = 40 + 17 * line;
        writeln!(text, "\tat com.shop.internal.{frame}(Source.java:{line})")
            .expect("into a string");
    }
    text
}

fn kind(work: Work) -> Kind {
    match work {
        Work::HttpServer(_) | Work::RpcServer(_) => Kind::Server,
        Work::HttpClient(..) | Work::RpcClient(..) | Work::Query(_) => Kind::Client,
        Work::Publish => Kind::Producer,
        Work::Receive => Kind::Consumer,
        Work::Step(_) => Kind::Internal,
    }
}

fn name(node: &Node) -> Text {
    let service = &SERVICES[node.origin.service];
    let name = match node.work {
        Work::HttpServer(route) => {
            let (method, path) = service.routes[route];
            format!("{method} {path}")
        }
        Work::HttpClient(callee, route) => return SERVICES[callee].routes[route].0.into(),
        Work::RpcServer(method) => format!("{}/{}", service.rpc, METHODS[method]),
        Work::RpcClient(callee, method) => format!("{}/{}", SERVICES[callee].rpc, METHODS[method]),
        Work::Query(operation) => format!("{} {}", OPERATIONS[operation], service.table),
        Work::Publish => "send shop.events".to_owned(),
        Work::Receive => "process shop.events".to_owned(),
        Work::Step(step) => return STEPS[step].into(),
    };
    name.into()
}
