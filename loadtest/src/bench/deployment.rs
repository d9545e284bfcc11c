//! One side of a comparison, running: its processes, and the sinks behind them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use shared::config::Compression;
use tokio::time::Instant;

use super::content::Depth;
use super::gateway::{Part, Running};
use super::panel::Setup;
use super::results::Side;
use super::sinks::Sinks;
use super::template::{Places, name_of};
use super::tree::{self, Usage};
use crate::cli::PolicySet;
use crate::testbed::cores::Cores;
use crate::testbed::{TestbedError, address};

/// How one side is to be deployed.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) side: Side,
    pub(super) name: String,
    /// What requests go to, and how many of it; none if they go to the backends.
    pub(super) edges: Option<(Part, usize)>,
    /// What keeps and judges, and how many of it; none if sinks play the backends.
    pub(super) backends: Option<(Part, usize)>,
    /// Sinks behind the last of these.
    pub(super) sinks: usize,
}

impl Plan {
    /// Its parts, in the order of the data's way.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        [&self.edges, &self.backends].into_iter().flatten().map(|(part, _)| part)
    }
}

/// One side, running.
pub(super) struct Deployment {
    pub(super) side: Side,
    pub(super) name: String,
    processes: Vec<Running>,
    /// Where requests go.
    pub(super) entries: Vec<SocketAddr>,
    pub(super) sinks: Sinks,
    /// Resident memory before the first request, in bytes.
    pub(super) start_rss: u64,
    /// How deep the sinks look.
    pub(super) depth: Depth,
    /// When the last round ended.
    pub(super) last_work: Instant,
}

impl Deployment {
    /// Starts sinks, then backends, then edges.
    ///
    /// # Errors
    /// When one of them does not start; the others are stopped.
    pub(super) async fn start(
        plan: &Plan,
        setup: &Setup,
        decision_wait: Duration,
        cores: Cores,
        folder: &Path,
    ) -> Result<Self, TestbedError> {
        let sinks = Sinks::start(plan.sinks).await?;
        let mut processes = Vec::new();
        let mut next = sinks.addresses().to_vec();
        for (part, count) in [&plan.backends, &plan.edges].into_iter().flatten() {
            let mut addresses = Vec::new();
            for _ in 0..*count {
                let host = address::unique();
                let places = places(host, setup, decision_wait).with_backends(&next);
                let places = places.with("destination", &next[0]);
                let running = part.start(host, &places, cores, folder).await?;
                addresses.push(running.listen());
                processes.push(running);
            }
            next = addresses;
        }
        let mut deployment = Self {
            side: plan.side,
            name: plan.name.clone(),
            processes,
            entries: next,
            sinks,
            start_rss: 0,
            depth: Depth::Content,
            last_work: Instant::now(),
        };
        deployment.sinks.set(Depth::Content);
        deployment.start_rss = tree::resident(&deployment.pids());
        Ok(deployment)
    }

    fn roots(&self) -> Vec<u32> {
        self.processes.iter().map(Running::pid).collect()
    }

    /// Its processes and everything below them.
    pub(super) fn pids(&self) -> Vec<u32> {
        tree::descendants(&self.roots())
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When a process has ended, with the end of what it wrote.
    pub(super) fn usage(&mut self) -> Result<Usage, TestbedError> {
        for process in &mut self.processes {
            process.ensure_alive()?;
        }
        Usage::of(&self.roots())
    }

    /// Hashes so deep from now on.
    pub(super) fn look(&mut self, depth: Depth) {
        self.depth = depth;
        self.sinks.set(depth);
    }

    /// Stops the processes in the order of the data's way.
    pub(super) async fn stop(mut self) {
        while let Some(process) = self.processes.pop() {
            process.stop().await;
        }
    }
}

fn places(host: std::net::Ipv4Addr, setup: &Setup, decision_wait: Duration) -> Places {
    let (with, without) = ("", "#");
    Places::on(host)
        .with("compression", name_of(setup.outbound))
        .with("level", &setup.level.to_string())
        .with("policies", &policies(setup.policies))
        .with("decision_wait", &format!("{}ms", decision_wait.as_millis()))
        .with("seal", if setup.sealed { "lz4" } else { name_of(Compression::None) })
        .with("span_metrics", if setup.span_metrics { with } else { without })
}

/// The policies on one line.
fn policies(set: PolicySet) -> String {
    let list: serde_json::Value = serde_json::from_str(set.json()).expect("the file is JSON");
    list.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_fit_on_a_line_of_yaml() {
        for (set, count) in [(PolicySet::Three, 3), (PolicySet::Ten, 10)] {
            let line = policies(set);
            assert!(!line.contains('\n'));
            let yaml = shared::config::yaml::parse(&format!("policies: {line}"), 0);
            assert!(yaml.is_ok(), "{line}");
            assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&line).unwrap().len(), count);
        }
    }
}
