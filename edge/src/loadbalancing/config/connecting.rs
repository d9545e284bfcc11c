//! Backends that exporters with equal settings share: connections, rotation and lanes.

use std::sync::Arc;
use std::time::Duration;

use shared::membership::{Names, dial_address};
use shared::otlp::OtlpGrpcConfig;
use shared::service::{BuildError, Context};
use shared::transport::connect::HostLookup;
use shared::transport::grpc::client::GrpcClient;
use shared::wire::Signal;

use crate::loadbalancing::health::RotationConfig;
use crate::loadbalancing::metrics::LaneMetrics;
use crate::loadbalancing::peer::{Client, Peer, Rotation};
use crate::loadbalancing::way::{LaneHandle, LaneSettings};

/// How a backend is spoken to and judged: two exporters that agree in it share the backend.
#[derive(Debug, Clone, PartialEq)]
struct PeerKey {
    address: String,
    /// Without the settings that are not of one backend.
    exporter: OtlpGrpcConfig,
    timeout: Duration,
    names: Option<Names>,
    rotation: RotationConfig,
}

/// Two exporters that agree in it share the lane.
#[derive(Debug, Clone, PartialEq)]
struct LaneKey {
    peer: PeerKey,
    settings: LaneSettings,
    signal: Signal,
}

/// How the backends of one exporter are made.
pub(super) struct Connecting {
    pub(super) ctx: Context,
    pub(super) exporter: OtlpGrpcConfig,
    pub(super) timeout: Duration,
    pub(super) names: Option<Names>,
    pub(super) rotation: RotationConfig,
    pub(super) settings: LaneSettings,
    pub(super) turned: Arc<Rotation>,
}

impl Connecting {
    /// The lane to the backend at an endpoint: another exporter's, if all is alike.
    pub(super) fn lane(&self, endpoint: &str) -> Result<Arc<LaneHandle>, BuildError> {
        let address = dial_address(endpoint).into_owned();
        let peer = PeerKey {
            address,
            exporter: self.exporter.clone(),
            timeout: self.timeout,
            names: self.names.clone(),
            rotation: self.rotation.clone(),
        };
        let key = LaneKey { peer, settings: self.settings, signal: self.ctx.signal };
        let peer = self.peer(&key.peer)?;
        self.ctx.commons.get_or_make(&key, || {
            let metrics = LaneMetrics::of(&key.peer.address, key.signal);
            Ok(LaneHandle::start(peer, key.settings, metrics))
        })
    }

    fn peer(&self, key: &PeerKey) -> Result<Arc<Peer>, BuildError> {
        self.ctx.commons.get_or_make(key, || {
            let names = key.names.clone().map(|names| Arc::new(names) as Arc<dyn HostLookup>);
            let (config, commons) = (&key.exporter.client, &self.ctx.commons);
            let client = GrpcClient::with_names(config, &key.address, commons, names)?;
            // While the ring is made: the first requests of many new backends come all at once.
            client.prepare();
            let client: Box<dyn Client> = Box::new(client);
            let (rotation, turned) = (key.rotation.clone(), Arc::clone(&self.turned));
            Ok(Peer::new(&key.address, client, key.timeout, rotation, turned))
        })
    }
}
