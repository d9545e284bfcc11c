//! A misbehaving backend as a process that can be killed, stopped and told its fault.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::fault::Fault;
use super::record::{self, Entry};
use crate::testbed::process::GRPC;
use crate::testbed::{TestbedError, address, http};

/// Port of the control.
const CONTROL: u16 = 4319;

/// The process; it is killed when this is dropped.
pub struct FaultySink {
    program: PathBuf,
    hosts: Vec<Ipv4Addr>,
    record: PathBuf,
    child: Option<Child>,
}

impl FaultySink {
    /// Starts `program`, which is this crate's binary, on OTLP's port of `hosts`; its record goes
    /// to a file in `directory`.
    ///
    /// # Errors
    /// When an address is in use or the program cannot be run.
    ///
    /// # Panics
    /// When there is no host.
    pub async fn start(
        program: &Path,
        hosts: Vec<Ipv4Addr>,
        directory: &Path,
    ) -> Result<Self, TestbedError> {
        let record = directory.join(format!("record-{}", hosts[0]));
        let mut sink = Self { program: program.to_owned(), hosts, record, child: None };
        sink.restart().await?;
        Ok(sink)
    }

    /// Where it is reached first.
    pub fn host(&self) -> Ipv4Addr {
        self.hosts[0]
    }

    /// Everywhere it is reached.
    pub fn hosts(&self) -> &[Ipv4Addr] {
        &self.hosts
    }

    /// Starts it anew, after it was killed; it goes on with its record.
    ///
    /// # Errors
    /// When an address is in use or the program cannot be run.
    pub async fn restart(&mut self) -> Result<(), TestbedError> {
        let control = SocketAddr::from((self.host(), CONTROL));
        address::ensure_free(control)?;
        let mut command = Command::new(&self.program);
        command.arg("faulty-sink").arg("--control").arg(control.to_string());
        command.arg("--record").arg(&self.record);
        for host in &self.hosts {
            command.arg("--listen").arg(SocketAddr::from((*host, GRPC)).to_string());
        }
        // It says nothing but how it failed, which it tells by not answering.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).kill_on_drop(true);
        let program = self.program.display();
        let mut child = command
            .spawn()
            .map_err(|error| TestbedError::new(format!("cannot start {program}: {error}")))?;
        let started = Instant::now();
        while http::get(control, "/fault").await.is_err() {
            if let Ok(Some(status)) = child.try_wait() {
                let host = self.host();
                return Err(TestbedError::new(format!("the sink on {host} ended: {status}")));
            }
            if started.elapsed() > Duration::from_secs(60) {
                return Err(TestbedError::new(format!("{control} does not answer")));
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.child = Some(child);
        Ok(())
    }

    /// Has it misbehave so from now on.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn set(&self, fault: Fault) -> Result<(), TestbedError> {
        let request = ::http::Request::put("/fault").body(Bytes::from(fault.to_string()));
        let control = SocketAddr::from((self.host(), CONTROL));
        match http::exchange(control, request.expect("the path is valid")).await? {
            (200, _) => Ok(()),
            (status, text) => Err(TestbedError::new(format!("{control}: {status} {text}"))),
        }
    }

    /// Ends it on the spot.
    ///
    /// # Errors
    /// When it has ended already.
    pub async fn kill(&mut self) -> Result<(), TestbedError> {
        let gone = || TestbedError::new(format!("the sink on {} has ended", self.hosts[0]));
        let mut child = self.child.take().ok_or_else(gone)?;
        child.kill().await.map_err(|_| gone())
    }

    /// Stops it in the middle of whatever it does; its sockets stay.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<(), TestbedError> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> Result<(), TestbedError> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), TestbedError> {
        let pid = self.child.as_ref().and_then(Child::id).and_then(|pid| i32::try_from(pid).ok());
        match pid.is_some_and(|pid| kill(Pid::from_raw(pid), signal).is_ok()) {
            true => Ok(()),
            false => Err(TestbedError::new(format!("the sink on {} has ended", self.host()))),
        }
    }

    /// Everything it wrote down, in all its lives.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn record(&self) -> Result<Vec<Entry>, TestbedError> {
        record::read(&self.record)
    }
}
