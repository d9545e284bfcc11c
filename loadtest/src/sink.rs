//! An OTLP destination that counts what it gets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shared::config::{GrpcServerConfig, Section};
use shared::otlp::{OtlpReceiverConfig, ProtocolsConfig};
use shared::service::{ComponentId, Context, Receiver, ReceiverConfig as _};
use shared::{Next, Signal};

use crate::ledger::{Detail, Ledger};
use crate::tape::{Recorder, Tape};
use crate::testbed::TestbedError;

/// A destination that serves OTLP/gRPC.
pub struct Sink {
    ledger: Arc<Ledger>,
    receiver: Box<dyn Receiver>,
    address: SocketAddr,
}

impl Sink {
    /// Listens on `address`.
    ///
    /// # Errors
    /// When it is in use.
    pub async fn start(address: SocketAddr, detail: Detail) -> Result<Self, TestbedError> {
        let ledger = Ledger::new(detail);
        let next: Next = Arc::<Ledger>::clone(&ledger);
        Self::serve(address, ledger, next).await
    }

    /// The same, with every request written to a file too.
    ///
    /// # Errors
    /// As that.
    pub async fn record(
        address: SocketAddr,
        detail: Detail,
        tape: &Arc<Tape>,
    ) -> Result<Self, TestbedError> {
        let ledger = Ledger::new(detail);
        let (tape, next) = (Arc::clone(tape), Arc::clone(&ledger));
        Self::serve(address, ledger, Arc::new(Recorder { tape, next })).await
    }

    async fn serve(
        address: SocketAddr,
        ledger: Arc<Ledger>,
        next: Next,
    ) -> Result<Self, TestbedError> {
        let grpc = GrpcServerConfig {
            endpoint: address.to_string(),
            max_recv_msg_size_mib: 256,
            ..GrpcServerConfig::default()
        };
        let protocols = ProtocolsConfig { grpc: Section::on(grpc), ..ProtocolsConfig::default() };
        let outputs: BTreeMap<Signal, Next> =
            Signal::ALL.map(|signal| (signal, Arc::clone(&next))).into();
        let context = Context {
            id: ComponentId { kind: "otlp".to_owned(), name: Some("sink".to_owned()) },
            signal: Signal::Traces,
            output: Signal::Traces,
            losses: Arc::default(),
            instance: "sink".into(),
            commons: Arc::default(),
        };
        let receiver = OtlpReceiverConfig { protocols }
            .start(&context, outputs)
            .await
            .map_err(|error| TestbedError::new(format!("sink: {error}")))?;
        let address = receiver.addresses().first().copied().unwrap_or(address);
        Ok(Self { ledger, receiver, address })
    }

    /// What it got.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers what was begun and ends.
    pub async fn stop(self) {
        self.receiver.shutdown(shared::clock::now() + Duration::from_secs(5)).await;
    }
}
