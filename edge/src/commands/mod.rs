//! Subcommands that tell people where keys go: `route` and `ring`.
//!
//! Both ask the configured resolvers once and make the rings that an edge would make of the
//! answers. What an edge knows besides (backends that just failed, those that are about to leave)
//! they do not know.

mod ring;
mod route;

use std::time::Duration;

use clap::Args;
use shared::Signal;
use shared::config::{Decode as _, Node, Path, Problems, units};
use shared::membership::Ring;
use shared::service::{ComponentId, ExporterConfig as _, Failure, Kind, Loaded, TierCommand};

use crate::loadbalancing::LoadBalancingConfig;

/// The subcommands of this tier.
pub(crate) fn all() -> Vec<TierCommand> {
    vec![
        TierCommand { define: route::define, run: route::run },
        TierCommand { define: ring::define, run: ring::run },
    ]
}

/// What both commands take.
#[derive(Debug, Args)]
struct Common {
    /// Only this exporter, by its id; all load-balancing exporters without it
    #[arg(long, value_name = "ID")]
    exporter: Option<String>,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// How long a resolver may take to find backends
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    units::parse_duration(text).map_err(|error| error.to_string())
}

/// A load-balancing exporter, and the ring that it has now.
struct Balancer {
    id: ComponentId,
    config: LoadBalancingConfig,
    /// Of the pipelines that it ends.
    signals: Vec<Signal>,
    ring: Ring,
}

/// The load-balancing exporters that are asked for, with their rings.
fn balancers(loaded: &Loaded, common: &Common) -> Result<Vec<Balancer>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(error.to_string()))?;
    let mut balancers = Vec::new();
    for (id, config) in configured(loaded, common.exporter.as_deref())? {
        let nobody = || {
            let after = common.timeout;
            Failure::failed(format!("exporters::{id}::resolver: no backend was found in {after:?}"))
        };
        let endpoints = runtime.block_on(async {
            let mut resolver = config.resolver.build()?;
            tokio::time::timeout(common.timeout, resolver.changed()).await.ok()
        });
        let ring = Ring::new(config.ring, endpoints.ok_or_else(nobody)?);
        let pipelines = loaded.model.pipelines.iter();
        let mut signals: Vec<_> = pipelines
            .filter(|pipeline| pipeline.exporters.contains(&id))
            .map(|pipeline| pipeline.id.signal)
            .collect();
        signals.sort_unstable();
        signals.dedup();
        balancers.push(Balancer { id, config, signals, ring });
    }
    Ok(balancers)
}

/// The sections of the load-balancing exporters, or of the one that is `wanted`.
fn configured(
    loaded: &Loaded,
    wanted: Option<&str>,
) -> Result<Vec<(ComponentId, LoadBalancingConfig)>, Failure> {
    let sections = loaded.root.get(Kind::Exporter.section()).map(Node::entries);
    let mut configured = Vec::new();
    for section in sections.unwrap_or_default() {
        let Ok(id) = ComponentId::parse(&section.key) else { continue };
        let names = [LoadBalancingConfig::TYPE]
            .into_iter()
            .chain(LoadBalancingConfig::ALIASES.iter().copied());
        if !names.into_iter().any(|name| name == id.kind) {
            continue;
        }
        let mut problems = Problems::default();
        // It was read before without any problem.
        let config = LoadBalancingConfig::decode(&section.value, &Path::ROOT, &mut problems);
        configured.push((id, config.unwrap_or_default()));
    }
    if configured.is_empty() {
        return Err(Failure::usage("no load-balancing exporter is configured"));
    }
    let Some(wanted) = wanted else { return Ok(configured) };
    let ids: Vec<_> = configured.iter().map(|(id, _)| id.to_string()).collect();
    configured.retain(|(id, _)| id.to_string() == wanted);
    match configured.is_empty() {
        true => Err(Failure::usage(format!(
            "no load-balancing exporter {wanted:?} is configured (there are: {})",
            ids.join(", ")
        ))),
        false => Ok(configured),
    }
}

/// `1 backend`, `2 backends`.
fn backends(count: usize) -> String {
    format!("{count} backend{}", if count == 1 { "" } else { "s" })
}

/// A document for programs, on lines of its own.
fn json(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}
