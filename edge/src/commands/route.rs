//! `edge route`: which backend a key goes to, why, and where it would go on another ring.

mod asked;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{ArgGroup, Args, FromArgMatches as _};
use serde_json::{Value, json};
use shared::membership::{Ring, RingHash, dial_address};
use shared::service::{Failure, Loaded};
use shared::{Batch, Signal};

use super::{Balancer, Common, Format, backends, balancers};
use crate::loadbalancing::RoutingKey;
use asked::Asked;

/// Tell which backend a key goes to, and why
///
/// Asks the configured resolvers once, and shows the bytes that are hashed, their hash, the slot
/// on the ring and the backend that has it. Backends that an edge has taken out of rotation are
/// on the ring all the same.
#[derive(Debug, Args)]
struct RouteArguments {
    #[command(flatten)]
    asked: Asked,
    /// Only records of this signal
    #[arg(long, value_parser = signal)]
    signal: Option<Signal>,
    /// Also tell where it would go without this backend. Repeat it for several at once
    #[arg(long, value_name = "ENDPOINT")]
    without: Vec<String>,
    /// Also tell where it would go with this backend, together with --without. Repeat it for more
    #[arg(long, value_name = "ENDPOINT")]
    with: Vec<String>,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "\
Examples:
  edge route --config edge.yaml --trace-id 4bf92f3577b34da6a3ce929d0e0e4736
      Where the spans and log records of this trace go
  edge route --config edge.yaml --service cart --without 10.0.0.2:4317 --with 10.0.0.9:4317
      Where this service goes, and where it would go if one backend left and another joined
  edge route --config edge.yaml --attribute tenant=acme --attribute-json shard=7 --signal logs
      For routing_key: attributes. What is configured and not given counts as missing
  edge route --config edge.yaml --record point.json
      A span, log record or data point as OTLP/JSON, with all that it is routed by";

pub(super) fn define() -> clap::Command {
    RouteArguments::augment_args(clap::Command::new("route")).after_help(EXAMPLES).group(
        ArgGroup::new("key")
            .args(["trace_id", "service", "metric", "attributes", "attributes_json", "record"])
            .multiple(true)
            .required(true),
    )
}

fn signal(text: &str) -> Result<Signal, String> {
    Signal::ALL
        .into_iter()
        .find(|signal| signal.name() == text)
        .ok_or_else(|| "expected traces, logs or metrics".to_owned())
}

pub(super) fn run(loaded: &Loaded, matches: &clap::ArgMatches) -> Result<String, Failure> {
    let arguments = RouteArguments::from_arg_matches(matches)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let (mut routes, mut others) = (Vec::new(), Vec::new());
    let balancers = balancers(loaded, &arguments.common)?;
    check_leavers(&balancers, &arguments.without)?;
    for balancer in &balancers {
        let changed = changed(balancer, &arguments)?;
        for signal in signals(balancer, arguments.signal) {
            let key = key(balancer, signal)?;
            match arguments.asked.record(signal, &key) {
                Ok(record) => {
                    routes.push(Route::find(
                        balancer,
                        &arguments.asked,
                        (signal, &key),
                        &record,
                        changed.as_ref(),
                    ));
                }
                Err(wanted) => others.push(format!(
                    "{}: {signal} are routed by {}: {wanted}",
                    balancer.id,
                    key.name()
                )),
            }
        }
    }
    if routes.is_empty() {
        return Err(Failure::usage(match others.is_empty() {
            true => "no pipeline of this signal ends in a load-balancing exporter".to_owned(),
            false => others.join("\n"),
        }));
    }
    Ok(match arguments.common.format {
        Format::Text => {
            let texts = routes.iter().map(|route| route.text(&arguments));
            let others = others.iter().map(|line| format!("{line}\n"));
            texts.chain(others).collect::<Vec<_>>().join("\n")
        }
        Format::Json => {
            super::json(&routes.iter().map(|route| route.document(&arguments)).collect())
        }
    })
}

/// The signals to tell of: those of the exporter's pipelines, or all that its key allows if it has
/// none.
fn signals(balancer: &Balancer, only: Option<Signal>) -> Vec<Signal> {
    let mut signals = match balancer.signals.is_empty() {
        false => balancer.signals.clone(),
        true => Signal::ALL.into_iter().filter(|signal| key(balancer, *signal).is_ok()).collect(),
    };
    signals.retain(|signal| only.is_none_or(|only| only == *signal));
    signals
}

fn key(balancer: &Balancer, signal: Signal) -> Result<RoutingKey, Failure> {
    let config = &balancer.config;
    RoutingKey::parse(signal, &config.routing_key, &config.routing_attributes).map_err(|wrong| {
        let texts =
            wrong.iter().map(|(key, text)| format!("exporters::{}::{key}: {text}", balancer.id));
        Failure::usage(texts.collect::<Vec<_>>().join("\n"))
    })
}

/// Who is to leave must be there.
fn check_leavers(balancers: &[Balancer], leavers: &[String]) -> Result<(), Failure> {
    let rings = balancers.iter().map(|balancer| &balancer.ring);
    let members: BTreeSet<_> = rings.flat_map(Ring::endpoints).map(String::as_str).collect();
    for leaver in leavers {
        if !members.iter().any(|member| dial_address(member) == dial_address(leaver)) {
            let members = members.into_iter().collect::<Vec<_>>().join(", ");
            let text = format!("--without {leaver}: not a backend (there are: {members})");
            return Err(Failure::usage(text));
        }
    }
    Ok(())
}

/// The ring as it would be; `None` if nothing is to change.
fn changed(balancer: &Balancer, arguments: &RouteArguments) -> Result<Option<Ring>, Failure> {
    if arguments.without.is_empty() && arguments.with.is_empty() {
        return Ok(None);
    }
    let leaves = |endpoint: &str| {
        arguments.without.iter().any(|leaver| dial_address(endpoint) == dial_address(leaver))
    };
    let stay = balancer.ring.endpoints().iter().filter(|endpoint| !leaves(endpoint));
    let ring = Ring::new(balancer.ring.hash(), stay.chain(&arguments.with).cloned());
    match ring.endpoints().is_empty() {
        true => Err(Failure::usage(format!("{}: no backend would be left", balancer.id))),
        false => Ok(Some(ring)),
    }
}

/// Where a key goes.
struct Route<'b> {
    balancer: &'b Balancer,
    signal: Signal,
    by: &'static str,
    /// The bytes that are hashed; `None` if there is no key, so that the record's own bytes are.
    key: Option<Vec<u8>>,
    /// Whether the key only stands for having none.
    stands_in: bool,
    /// Configured attributes that were not given.
    missing: Vec<String>,
    backend: String,
    /// The backend on the ring as it would be.
    then: Option<String>,
}

impl<'b> Route<'b> {
    fn find(
        balancer: &'b Balancer,
        asked: &Asked,
        (signal, key): (Signal, &RoutingKey),
        record: &Batch,
        changed: Option<&Ring>,
    ) -> Self {
        let on = |ring: &Ring| {
            let explained = key.explain(record, ring).expect("a ring with endpoints, one record");
            (ring.endpoints()[explained.owner].clone(), explained)
        };
        let (backend, explained) = on(&balancer.ring);
        // Without a key, the Collector's ring has one that stands for it.
        let is_collectors = balancer.ring.hash() == RingHash::OtelcolV0_156;
        Self {
            balancer,
            signal,
            by: key.name(),
            stands_in: !explained.has_key,
            missing: asked.missing(key),
            key: (explained.has_key || is_collectors).then_some(explained.key),
            backend,
            then: changed.map(|ring| on(ring).0),
        }
    }

    fn text(&self, arguments: &RouteArguments) -> String {
        let Balancer { id, ring, .. } = self.balancer;
        let mut text = format!(
            "{id}: {} by {}, ring {}, {}, digest {:016x}\n",
            self.signal,
            self.by,
            ring.hash().name(),
            backends(ring.endpoints().len()),
            ring.digest()
        );
        let mut line = |name: &str, line: std::fmt::Arguments<'_>| {
            writeln!(text, "  {name:8} {line}").expect("a string takes any text");
        };
        let Some(key) = &self.key else {
            line(
                "key",
                format_args!("none: such records are spread by the hash of their own bytes"),
            );
            return text;
        };
        let note = if self.stands_in { ", stands for having none" } else { "" };
        match readable(key) {
            Some(readable) => line("key", format_args!("{readable:?} ({} bytes{note})", key.len())),
            None => line("key", format_args!("0x{} ({} bytes{note})", hex(key), key.len())),
        }
        if !self.missing.is_empty() {
            line("missing", format_args!("{}", self.missing.join(", ")));
        }
        let (hash, slot) = self.place(key);
        line("hash", format_args!("{hash}, slot {slot} of {}", ring.slots()));
        line("backend", format_args!("{}", self.backend));
        if let Some(then) = &self.then {
            let what = if *then == self.backend { "stays at" } else { "moves to" };
            line("then", format_args!("{what} {then} ({})", change(arguments)));
        }
        text
    }

    fn document(&self, arguments: &RouteArguments) -> Value {
        let Balancer { id, ring, .. } = self.balancer;
        let mut document = json!({
            "exporter": id.to_string(),
            "signal": self.signal.name(),
            "routing_key": self.by,
            "ring": ring.hash().name(),
            "digest": format!("{:016x}", ring.digest()),
            "slots": ring.slots(),
            "key": Value::Null,
        });
        let Some(key) = &self.key else { return document };
        let (hash, slot) = self.place(key);
        document["key"] = hex(key).into();
        document["key_text"] = readable(key).into();
        document["stands_for_none"] = self.stands_in.into();
        document["missing"] = self.missing.clone().into();
        document["hash"] = hash.into();
        document["slot"] = slot.into();
        document["backend"] = self.backend.as_str().into();
        if let Some(then) = &self.then {
            document["without"] = arguments.without.clone().into();
            document["with"] = arguments.with.clone().into();
            document["then"] = then.as_str().into();
        }
        document
    }

    /// The key's hash in hex, and its slot.
    fn place(&self, key: &[u8]) -> (String, usize) {
        let ring = &self.balancer.ring;
        let place = ring.place(key);
        match ring.hash() {
            RingHash::Xxh3 => (format!("{:016x}", place.hash), place.slot),
            RingHash::OtelcolV0_156 => (format!("{:08x}", place.hash), place.slot),
        }
    }
}

/// `without a, with b`
fn change(arguments: &RouteArguments) -> String {
    let without = arguments.without.iter().map(|endpoint| format!("without {endpoint}"));
    let with = arguments.with.iter().map(|endpoint| format!("with {endpoint}"));
    without.chain(with).collect::<Vec<_>>().join(", ")
}

/// A key as text, if it is some.
fn readable(key: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(key).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}
