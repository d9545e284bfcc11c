//! Processes that are measured: how they are started from what the user said.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::manifest::hash_of;
use super::results::Program;
use super::template::{CommandLine, Places, program_of};
use crate::testbed::cores::Cores;
use crate::testbed::process::GRPC;
use crate::testbed::{TestbedError, address};

/// A process that takes no connection for so long after its start is broken.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// A process that does not end for so long after it was told to is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// A part that a process can play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Edge,
    Backend,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Edge => "edge",
            Role::Backend => "backend",
        }
    }

    /// The template that belongs to this build's binaries.
    fn template(self) -> Template {
        let (name, text) = match self {
            Role::Edge => {
                ("built-in tailrace-edge.yaml", include_str!("../../bench/tailrace-edge.yaml"))
            }
            Role::Backend => (
                "built-in tailrace-backend.yaml",
                include_str!("../../bench/tailrace-backend.yaml"),
            ),
        };
        Template { name: name.to_owned(), text: text.to_owned() }
    }
}

/// A configuration with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Template {
    name: String,
    text: String,
}

/// A program with its configuration, before placeholders are filled in.
#[derive(Debug, Clone)]
pub(super) struct Part {
    role: Role,
    command: String,
    template: Option<Template>,
}

impl Part {
    /// A part by its command and the file of its template.
    ///
    /// # Errors
    /// When the template cannot be read, or is not mentioned by the command.
    pub(super) fn new(
        role: Role,
        command: &str,
        config: Option<&Path>,
    ) -> Result<Self, TestbedError> {
        let is_mentioned = command.contains("{config}");
        let template = match config {
            Some(path) if !is_mentioned => {
                let path = path.display();
                return Err(TestbedError::new(format!(
                    "{path} is given as a template, but the command {command:?} does not mention \
                     {{config}}"
                )));
            }
            Some(path) => Some(Template {
                name: path.display().to_string(),
                text: fs::read_to_string(path).map_err(|error| {
                    TestbedError::new(format!("cannot read {}: {error}", path.display()))
                })?,
            }),
            None => is_mentioned.then(|| role.template()),
        };
        Ok(Self { role, command: command.to_owned(), template })
    }

    /// This build's own binary.
    ///
    /// # Errors
    /// As above, or when the path cannot be written as a word of a command.
    pub(super) fn own(
        role: Role,
        binary: &Path,
        config: Option<&Path>,
    ) -> Result<Self, TestbedError> {
        let path = binary.display().to_string();
        let word = shlex::try_quote(&path)
            .map_err(|error| TestbedError::new(format!("cannot run {path}: {error}")))?;
        Self::new(role, &format!("{word} --config {{config}}"), config)
    }

    /// The program's name, without its folder.
    pub(super) fn program_name(&self) -> String {
        let program = PathBuf::from(program_of(&self.command));
        program.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What there is to say of it in the results.
    pub(super) async fn describe(&self) -> Program {
        let template = self.template.as_ref();
        let executable = find(&program_of(&self.command));
        let version = match &executable {
            Some(path) => version_of(path).await,
            None => String::new(),
        };
        let bytes = executable.and_then(|path| fs::read(path).ok());
        Program {
            role: self.role.name().to_owned(),
            command: self.command.clone(),
            version,
            executable_xxh3: bytes.map(|bytes| hash_of(&bytes)).unwrap_or_default(),
            config: template.map(|template| template.name.clone()).unwrap_or_default(),
            config_xxh3: template
                .map(|template| hash_of(template.text.as_bytes()))
                .unwrap_or_default(),
        }
    }

    /// Starts it on `host` and waits until it takes connections.
    ///
    /// # Errors
    /// When a placeholder has no value, the program cannot be run, or with the end of what it wrote
    /// when it ends early or does not listen.
    pub(super) async fn start(
        &self,
        host: Ipv4Addr,
        places: &Places,
        cores: Cores,
        folder: &Path,
    ) -> Result<Running, TestbedError> {
        let name = format!("{}-{host}", self.role.name());
        let config = folder.join(format!("{name}.yaml"));
        let places = places.clone().with_config(&config);
        if let Some(template) = &self.template {
            let text = places
                .fill(&template.text)
                .map_err(|error| TestbedError::new(format!("in {}: {error}", template.name)))?;
            fs::write(&config, text).map_err(|error| {
                TestbedError::new(format!("cannot write {}: {error}", config.display()))
            })?;
        }
        let line = CommandLine::new(&self.command, &places)?;
        let listen = SocketAddr::from((host, GRPC));
        address::ensure_free(listen)?;
        let log = folder.join(format!("{name}.log"));
        let output = || {
            File::options().create(true).append(true).open(&log).map_err(|error| {
                TestbedError::new(format!("cannot write {}: {error}", log.display()))
            })
        };
        let mut command = Command::new(&line.program);
        command
            .args(&line.arguments)
            .envs(line.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?)
            // Ctrl-C in a terminal is for this process, which then stops its children in order.
            .process_group(0)
            .kill_on_drop(true);
        let child = cores.run(|| command.spawn()).map_err(|error| {
            TestbedError::new(format!("cannot start {:?}: {error}", line.program))
        })?;
        let pid = child.id().unwrap_or_default();
        let mut running = Running { name, child, pid, listen, log };
        running.wait_until_it_listens().await?;
        Ok(running)
    }
}

/// A program's file: by its path, or in the folders where a shell would look.
fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The first line of what it answers to `--version`; empty if it does not.
async fn version_of(program: &Path) -> String {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match timeout(Duration::from_secs(5), command.output()).await {
        Ok(Ok(output)) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            text.lines().next().unwrap_or_default().trim().to_owned()
        }
        _ => String::new(),
    }
}

/// A process that runs. Dropping it kills its whole group.
pub(super) struct Running {
    name: String,
    child: Child,
    pid: u32,
    listen: SocketAddr,
    log: PathBuf,
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it takes OTLP/gRPC.
    pub(super) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Fails with the end of what it wrote if it has ended.
    ///
    /// # Errors
    /// That.
    pub(super) fn ensure_alive(&mut self) -> Result<(), TestbedError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                let (name, words) = (&self.name, self.last_words());
                Err(TestbedError::new(format!("{name} ended: {status}{words}")))
            }
            Err(error) => Err(TestbedError::new(format!("{}: {error}", self.name))),
        }
    }

    async fn wait_until_it_listens(&mut self) -> Result<(), TestbedError> {
        let started = Instant::now();
        while started.elapsed() < START_PATIENCE {
            self.ensure_alive()?;
            if TcpStream::connect(self.listen).await.is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        let (name, listen, words) = (&self.name, self.listen, self.last_words());
        Err(TestbedError::new(format!(
            "{name} does not listen on {listen} after {} s: does its command or its configuration \
             mention {{listen}}?{words}",
            START_PATIENCE.as_secs()
        )))
    }

    /// The end of what it wrote, with a line break in front of each line.
    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let start = lines.len().saturating_sub(15);
        lines[start..].iter().flat_map(|line| ["\n    ", line]).collect()
    }

    /// Tells it to end, and waits.
    pub(super) async fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        // What is left of the group when this is dropped is killed.
        drop(timeout(STOP_PATIENCE, self.child.wait()).await);
    }

    fn signal(&self, signal: Signal) {
        if let Ok(group) = i32::try_from(self.pid)
            && group > 0
        {
            // A group that has ended needs no signal.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}
