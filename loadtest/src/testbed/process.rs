//! One process of a tier.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::binaries::{Binaries, workspace};
use super::cores::Cores;
use super::page::Page;
use super::usage::Usage;
use super::{TestbedError, address, http};

/// Which tier a process is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Stateless: routes.
    Edge,
    /// Stateful: keeps and judges.
    Backend,
}

impl Tier {
    /// The binary's name.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Edge => "edge",
            Tier::Backend => "backend",
        }
    }

    fn binary(self, binaries: &Binaries) -> &Path {
        match self {
            Tier::Edge => &binaries.edge,
            Tier::Backend => &binaries.backend,
        }
    }

    /// The ports that the sample configuration listens on.
    pub fn ports(self) -> &'static [u16] {
        match self {
            Tier::Edge => &[GRPC, HTTP, TELEMETRY, HEALTH],
            Tier::Backend => &[GRPC, HTTP, TELEMETRY, SPAN_METRICS, HEALTH],
        }
    }
}

/// OTLP/gRPC.
pub const GRPC: u16 = 4317;
/// OTLP/HTTP.
pub const HTTP: u16 = 4318;
/// The process's own metrics.
pub const TELEMETRY: u16 = 8888;
/// The backend's span metrics.
pub const SPAN_METRICS: u16 = 8889;
/// Health.
pub const HEALTH: u16 = 13133;

/// How a process is to be started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Which binary.
    pub tier: Tier,
    /// Its loopback address.
    pub host: Ipv4Addr,
    /// Its place in its tier, from 0.
    pub index: usize,
    /// Environment besides the addresses.
    pub environment: Vec<(&'static str, String)>,
    /// Arguments besides `--config`.
    pub arguments: Vec<OsString>,
    /// Its configuration; the tier's sample if none is named.
    pub config: Option<PathBuf>,
    /// The only core it may run on; any if none is named.
    pub core: Option<usize>,
    /// Most files and sockets it may have open; as many as this process if none is named.
    pub descriptors: Option<u64>,
}

impl Launch {
    /// The tier's sample configuration on `host`.
    pub fn sample(tier: Tier, index: usize, host: Ipv4Addr) -> Self {
        let (environment, arguments) = (Vec::new(), Vec::new());
        Self {
            tier,
            host,
            index,
            environment,
            arguments,
            config: None,
            core: None,
            descriptors: None,
        }
    }

    /// The same with another sample configuration, by its name in `deploy/config`.
    #[must_use]
    pub fn config(mut self, name: &str) -> Self {
        self.config = Some(workspace().join("deploy/config").join(name));
        self
    }

    /// The same with another variable.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// The same with another setting: `key::path=value`.
    #[must_use]
    pub fn set(mut self, setting: impl Into<String>) -> Self {
        self.arguments.extend(["--set".into(), OsString::from(setting.into())]);
        self
    }

    /// The same, on this core only.
    #[must_use]
    pub fn on_core(mut self, core: usize) -> Self {
        self.core = Some(core);
        self
    }

    /// The same, with no more files and sockets open than this.
    #[must_use]
    pub fn with_descriptors(mut self, count: u64) -> Self {
        self.descriptors = Some(count);
        self
    }

    /// The binary, with nothing but its limits.
    fn command(&self, binaries: &Binaries) -> Command {
        let binary = self.tier.binary(binaries);
        match self.descriptors {
            None => Command::new(binary),
            Some(count) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -n {count} && exec \"$0\" \"$@\"");
                shell.arg("-c").arg(script).arg(binary);
                shell
            }
        }
    }

    /// Starts it and waits until it is healthy. Its output goes to a file in `logs`.
    ///
    /// # Errors
    /// When one of its ports is in use, or with the end of what it wrote when it ends early.
    pub async fn start(self, binaries: &Binaries, logs: &Path) -> Result<Process, TestbedError> {
        for port in self.tier.ports() {
            address::ensure_free(SocketAddr::from((self.host, *port)))?;
        }
        let name = format!("{}-{}", self.tier.name(), self.index + 1);
        let log = logs.join(format!("{name}.log"));
        let mut command = self.command(binaries);
        let config = self.config.unwrap_or_else(|| {
            workspace().join("deploy/config").join(format!("{}.yaml", self.tier.name()))
        });
        let output = || {
            File::options().create(true).append(true).open(&log).map_err(|error| {
                TestbedError::new(format!("cannot write {}: {error}", log.display()))
            })
        };
        command
            .arg("--config")
            .arg(config)
            .args(self.arguments)
            .env("TAILRACE_HOST", self.host.to_string())
            .env("TAILRACE_ADMIN_HOST", self.host.to_string())
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?)
            // Ctrl-C in a terminal is for this process, which then stops its children in order.
            .process_group(0)
            .kill_on_drop(true);
        let child = match self.core {
            Some(core) => Cores::only(&[core])?.run(|| command.spawn()),
            None => command.spawn(),
        };
        let child =
            child.map_err(|error| TestbedError::new(format!("cannot start {name}: {error}")))?;
        let mut process = Process { tier: self.tier, name, host: self.host, child, log };
        process.wait_until_healthy().await?;
        Ok(process)
    }
}

/// A process that runs. Dropping it kills it.
pub struct Process {
    tier: Tier,
    name: String,
    host: Ipv4Addr,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Its tier.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Tier and number.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address with this port.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.host, port))
    }

    /// Its loopback address.
    pub fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// Its process id; none once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its own metrics.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn telemetry(&self) -> Result<Page, TestbedError> {
        Page::fetch(self.at(TELEMETRY)).await
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn usage(&self) -> Result<Usage, TestbedError> {
        match self.child.id() {
            Some(pid) => Usage::of(pid),
            None => Err(TestbedError::new(format!("{} has ended", self.name))),
        }
    }

    /// Tells it to drain and end.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn terminate(&self) -> Result<(), TestbedError> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        let sent = pid.is_some_and(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok());
        match sent {
            true => Ok(()),
            false => Err(TestbedError::new(format!("{} has ended on its own", self.name))),
        }
    }

    /// Has it drain and end.
    ///
    /// # Errors
    /// When it has ended already or does not end.
    pub async fn stop(self) -> Result<ExitStatus, TestbedError> {
        self.terminate()?;
        self.wait(Duration::from_secs(60)).await
    }

    /// Ends it on the spot, as a crash would.
    ///
    /// # Errors
    /// When it has ended already.
    pub async fn kill(mut self) -> Result<(), TestbedError> {
        self.child
            .kill()
            .await
            .map_err(|error| TestbedError::new(format!("{}: {error}", self.name)))
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it takes longer than `patience`; then it is killed.
    pub async fn wait(mut self, patience: Duration) -> Result<ExitStatus, TestbedError> {
        match tokio::time::timeout(patience, self.child.wait()).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(TestbedError::new(format!("{}: {error}", self.name))),
            Err(_) => {
                let name = &self.name;
                let message =
                    format!("{name} did not end within {patience:?}{}", self.last_words());
                Err(TestbedError::new(message))
            }
        }
    }

    /// Everything that it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of what it wrote, with a line break in front of each line.
    pub fn last_words(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        let start = lines.len().saturating_sub(15);
        lines[start..].iter().flat_map(|line| ["\n    ", line]).collect()
    }

    async fn wait_until_healthy(&mut self) -> Result<(), TestbedError> {
        let patience = Duration::from_secs(60);
        let started = Instant::now();
        while started.elapsed() < patience {
            if let Ok(Some(status)) = self.child.try_wait() {
                let (name, words) = (&self.name, self.last_words());
                return Err(TestbedError::new(format!(
                    "{name} ended at its start: {status}{words}"
                )));
            }
            if http::get(self.at(HEALTH), "/").await.is_ok_and(|(status, _)| status == 200) {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        let (name, words) = (&self.name, self.last_words());
        Err(TestbedError::new(format!("{name} is not healthy after {patience:?}{words}")))
    }
}
