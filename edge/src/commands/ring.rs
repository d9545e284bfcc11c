//! `edge ring`: who is on the ring, and with which share.

use std::fmt::Write as _;

use clap::{Args, FromArgMatches as _};
use serde_json::{Value, json};
use shared::membership::Ring;
use shared::service::{Failure, Loaded};

use super::{Balancer, Common, Format, backends, balancers};

/// Show who is on the ring, and with which share
///
/// Asks the configured resolvers once. Edges that print the same digest place every key alike.
#[derive(Debug, Args)]
struct RingArguments {
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "\
Examples:
  edge ring --config edge.yaml
      Ask the resolvers once and show who is on the ring
  edge ring --config edge.yaml --format json | jq -r '.[].digest'
      Compare two edges: the digest is also in the log line `routes changed`, and its first bits
      are the metric otelcol_loadbalancer_ring_digest";

pub(super) fn define() -> clap::Command {
    RingArguments::augment_args(clap::Command::new("ring")).after_help(EXAMPLES)
}

pub(super) fn run(loaded: &Loaded, matches: &clap::ArgMatches) -> Result<String, Failure> {
    let arguments = RingArguments::from_arg_matches(matches)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let balancers = balancers(loaded, &arguments.common)?;
    Ok(match arguments.common.format {
        Format::Text => balancers.iter().map(text).collect::<Vec<_>>().join("\n"),
        Format::Json => super::json(&balancers.iter().map(document).collect()),
    })
}

/// An endpoint, its slots, and how large its share is, as a multiple of the mean.
#[allow(clippy::cast_precision_loss, reason = "counts of slots are far below 2^53")]
fn shares(ring: &Ring) -> Vec<(&str, usize, f64)> {
    let mean = ring.slots() as f64 / ring.endpoints().len().max(1) as f64;
    let endpoints = ring.endpoints().iter().zip(ring.slots_of_each());
    endpoints.map(|(name, slots)| (name.as_str(), slots, slots as f64 / mean)).collect()
}

/// The smallest and the largest share.
fn bounds(shares: &[(&str, usize, f64)]) -> (f64, f64) {
    let of_mean = shares.iter().map(|(_, _, of_mean)| *of_mean);
    (of_mean.clone().fold(f64::INFINITY, f64::min), of_mean.fold(0.0, f64::max))
}

/// The value of the metric: the digest's first 53 bits.
fn metric(ring: &Ring) -> u64 {
    ring.digest() >> 11
}

fn text(Balancer { id, ring, .. }: &Balancer) -> String {
    let shares = shares(ring);
    let mut text = format!(
        "{id}: ring {}, {}, digest {:016x}\n",
        ring.hash().name(),
        backends(shares.len()),
        ring.digest()
    );
    let width = shares.iter().map(|(name, ..)| name.len()).max().unwrap_or(0).max(8);
    let mut line = |line: std::fmt::Arguments<'_>| {
        writeln!(text, "  {line}").expect("a string takes any text");
    };
    line(format_args!("{:width$}   slots    share  of mean", "backend"));
    let count = f64::from(u32::try_from(shares.len()).unwrap_or(u32::MAX));
    for (name, slots, of_mean) in &shares {
        line(format_args!(
            "{name:width$}  {slots:6}  {:5.2} %  {of_mean:7.3}",
            of_mean / count * 100.0
        ));
    }
    let (smallest, largest) = bounds(&shares);
    line(format_args!("smallest {smallest:.3}, largest {largest:.3} of the mean"));
    line(format_args!("otelcol_loadbalancer_ring_digest {}", metric(ring)));
    text
}

fn document(Balancer { id, ring, .. }: &Balancer) -> Value {
    let shares = shares(ring);
    let (smallest, largest) = bounds(&shares);
    let backends: Vec<Value> = shares
        .iter()
        .map(|(name, slots, of_mean)| json!({"endpoint": name, "slots": slots, "of_mean": of_mean}))
        .collect();
    json!({
        "exporter": id.to_string(),
        "ring": ring.hash().name(),
        "digest": format!("{:016x}", ring.digest()),
        "digest_metric": metric(ring),
        "slots": ring.slots(),
        "mean": ring.slots() / shares.len().max(1),
        "smallest_of_mean": smallest,
        "largest_of_mean": largest,
        "backends": backends,
    })
}
