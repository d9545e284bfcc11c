//! The exporter's section, and how it is built. Source: contrib `exporter/loadbalancingexporter`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use shared::config::{Decode, Node, Path, Problems, Section};
use shared::consumer::Next;
use shared::membership::{
    Connect, Endpoints, Following, ResolverConfig, RingHash, RouteTable, dial_address,
};
use shared::otlp::OtlpGrpcConfig;
use shared::queue::{QueueConfig, RetryConfig, Sizer};
use shared::service::{BuildError, Context, ExporterConfig};
use shared::wire::Signal;
use shared::{config_enum, config_struct};

use super::Exporter;
use super::core::{Admission, Core};
use super::health::RotationConfig;
use super::lane::Limits;
use super::lane_task::{LaneHandle, LaneSettings, Room, Way};
use super::metrics::LaneMetrics;
use super::peer::{Client, Peer, Rotation};
use super::routing_key::RoutingKey;

config_struct! {
    /// `load_balancing`: sends every record to the backend that owns its routing key.
    pub(crate) struct LoadBalancingConfig {
        /// What is routed by: `traceID` (default for traces), `service` (default for logs and
        /// metrics), `resource`, `metric`, `streamID` or `attributes`.
        pub routing_key: String = String::new(),
        /// With `attributes`: names of attributes of the resource, the scope or the record.
        pub routing_attributes: Vec<String> = Vec::new(),
        /// How backends are spoken to.
        pub protocol: ProtocolConfig = ProtocolConfig::default(),
        /// Where the backends' endpoints come from.
        pub resolver: ResolverConfig = ResolverConfig::default(),
        /// Time for one attempt at one backend; 0 leaves it to `protocol::otlp::timeout`. The
        /// shorter one counts.
        pub timeout: Duration = Duration::ZERO,
        /// Whether and how undelivered parts are tried again, routed anew.
        pub retry_on_failure: Option<RetryConfig> = None,
        /// What is held until it is delivered, ahead of the ring.
        pub sending_queue: Section<QueueConfig> = Section::off(),
        /// Ours: which ring.
        pub ring: RingHash = RingHash::Xxh3,
        /// Ours: what becomes of the keys of a backend that does not answer.
        pub failover: Failover = Failover::Next,
        /// Ours: when a backend counts as not answering.
        pub rotation: RotationConfig = RotationConfig::default(),
        /// Ours: how small parts for one backend are joined into one request.
        pub join: JoinConfig = JoinConfig::default(),
    }
}

config_enum! {
    /// What becomes of the keys of a backend that is out of rotation.
    pub(crate) enum Failover {
        /// They are served by whoever would own them without it.
        Next = "next",
        /// They wait for it.
        Wait = "wait",
    }
}

config_struct! {
    /// `join`: how parts of different requests travel together.
    #[derive(PartialEq)]
    pub(crate) struct JoinConfig {
        /// The longest a part waits for others while a request to its backend is under way; 0
        /// joins nothing.
        pub timeout: Duration = Duration::from_millis(1),
        /// What waits goes when it has this size.
        pub min_bytes: usize = 256 * 1024,
        /// No joined request is larger.
        pub max_bytes: usize = 1024 * 1024,
    }
}

config_struct! {
    /// `protocol`.
    pub(crate) struct ProtocolConfig {
        /// OTLP/gRPC, the only one.
        pub otlp: OtlpConfig = OtlpConfig::default(),
    }
}

/// `protocol::otlp`: the settings of an `otlp_grpc` exporter, and which of them were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OtlpConfig {
    exporter: OtlpGrpcConfig,
    /// A queue for each backend acknowledges before the backend has, so it must be asked for.
    mentions_queue: bool,
    mentions_retry: bool,
}

impl Decode for OtlpConfig {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let queue = node.get("sending_queue");
        if queue.and_then(|queue| queue.get("storage")).is_some() {
            problems.report(
                &at.key("sending_queue").key("storage"),
                "not possible here: all backends would share one storage; it belongs into the \
                 exporter's own sending_queue",
            );
            return None;
        }
        Some(Self {
            exporter: OtlpGrpcConfig::decode(node, at, problems)?,
            mentions_queue: queue.is_some(),
            mentions_retry: node.get("retry_on_failure").is_some_and(|retry| !retry.is_null()),
        })
    }
}

impl OtlpConfig {
    /// The queue in front of each backend, if one is asked for.
    fn queue(&self) -> Option<&QueueConfig> {
        self.exporter.sending_queue.as_ref().filter(|_| self.mentions_queue)
    }
}

/// What is held when no queue is configured.
const DEFAULT_CAPACITY: usize = 128 * 1024 * 1024;

/// How undelivered parts are tried again while the sender waits: soon, since its own deadline is
/// some seconds. It ends when the sender goes away; a rejection would only make it send the whole
/// request again, what was delivered included.
fn retry_while_the_sender_waits() -> RetryConfig {
    RetryConfig {
        initial_interval: Duration::from_millis(250),
        max_interval: Duration::from_secs(5),
        ..RetryConfig::default()
    }
}

/// How a backend is spoken to and judged: two exporters that agree in it share the backend.
#[derive(Debug, Clone, PartialEq)]
struct PeerKey {
    address: String,
    /// Without the settings that are not of one backend.
    exporter: OtlpGrpcConfig,
    timeout: Duration,
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
struct Connecting {
    ctx: Context,
    exporter: OtlpGrpcConfig,
    timeout: Duration,
    rotation: RotationConfig,
    settings: LaneSettings,
    turned: Arc<Rotation>,
}

impl Connecting {
    fn lane(&self, endpoint: &str) -> Result<Arc<LaneHandle>, BuildError> {
        let address = dial_address(endpoint).into_owned();
        let peer = PeerKey {
            address,
            exporter: self.exporter.clone(),
            timeout: self.timeout,
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
            let client: Box<dyn Client> =
                Box::new(key.exporter.client(&key.address, &self.ctx.commons)?);
            let (rotation, turned) = (key.rotation.clone(), Arc::clone(&self.turned));
            Ok(Peer::new(&key.address, client, key.timeout, rotation, turned))
        })
    }
}

impl LoadBalancingConfig {
    /// The queue whose keys say how requests are acknowledged.
    fn queue(&self) -> Option<&QueueConfig> {
        self.sending_queue.as_ref().or_else(|| self.protocol.otlp.queue())
    }

    /// How requests are taken.
    pub(super) fn admission(&self) -> Admission {
        let bound = match self.sending_queue.as_ref() {
            Some(queue) => (queue.queue_size, queue.sizer),
            None => (DEFAULT_CAPACITY, Sizer::Bytes),
        };
        Admission {
            capacity: bound.0,
            sizer: bound.1,
            block_on_overflow: self.queue().is_some_and(|queue| queue.block_on_overflow),
            wait_for_result: self.queue().is_none_or(|queue| queue.wait_for_result),
        }
    }

    /// How a batch's undelivered parts are tried again.
    pub(super) fn retry(&self) -> RetryConfig {
        let otlp = &self.protocol.otlp;
        match &self.retry_on_failure {
            Some(retry) => retry.clone(),
            None if otlp.mentions_retry || !self.admission().wait_for_result => {
                otlp.exporter.retry_on_failure.clone()
            }
            None => retry_while_the_sender_waits(),
        }
    }

    /// How what waits for a backend is held, joined and sent.
    pub(super) fn lane(&self) -> LaneSettings {
        let (own, each) = (self.sending_queue.as_ref(), self.protocol.otlp.queue());
        let num_consumers = each.or(own).map(|queue| queue.num_consumers);
        let batch = each.or(own).and_then(|queue| Some((queue.sizer, queue.batch.as_ref()?)));
        let batch = batch.or_else(|| own.and_then(|own| Some((own.sizer, own.batch.as_ref()?))));
        let in_flight = num_consumers.unwrap_or(QueueConfig::default().num_consumers);
        let (limits, sizer) = match batch {
            Some((sizer, batch)) => {
                let limits = Limits {
                    in_flight,
                    max_wait: batch.flush_timeout,
                    min_size: batch.min_size,
                    max_size: batch.max_size,
                    patient: true,
                };
                (limits, batch.sizer(sizer))
            }
            None => {
                let limits = Limits {
                    in_flight,
                    max_wait: self.join.timeout,
                    min_size: self.join.min_bytes,
                    max_size: self.join.max_bytes,
                    patient: false,
                };
                (limits, Sizer::Bytes)
            }
        };
        let room = match each.or(own) {
            Some(queue) => Room { size: queue.queue_size, sizer: queue.sizer },
            // Half of all, so that one backend cannot take the place of the others.
            None => Room { size: DEFAULT_CAPACITY / 2, sizer: Sizer::Bytes },
        };
        LaneSettings { limits, sizer, room }
    }

    /// Time for one attempt; 0 is no limit.
    fn attempt_timeout(&self) -> Duration {
        match (self.timeout, self.protocol.otlp.exporter.timeout) {
            (Duration::ZERO, timeout) | (timeout, Duration::ZERO) => timeout,
            (one, other) => one.min(other),
        }
    }

    /// Makes what stands in front of each backend.
    fn connect(&self, ctx: &Context, turned: Arc<Rotation>, core: Weak<Core>) -> Connect<Way> {
        let connecting = Connecting {
            ctx: ctx.clone(),
            exporter: OtlpGrpcConfig {
                sending_queue: Section::off(),
                retry_on_failure: RetryConfig::default(),
                ..self.protocol.otlp.exporter.clone()
            },
            timeout: self.attempt_timeout(),
            rotation: self.rotation.clone(),
            settings: self.lane(),
            turned,
        };
        Box::new(move |endpoint| {
            Ok(Arc::new(Way::new(connecting.lane(endpoint)?, Weak::clone(&core))))
        })
    }

    /// Joined requests are limited, and larger parts cut, only where the configuration says so.
    fn split_above(&self) -> Option<(usize, Sizer)> {
        let LaneSettings { limits, sizer, .. } = self.lane();
        (limits.patient && limits.max_size > 0).then_some((limits.max_size, sizer))
    }

    /// The exporter, with something else than the configured connections if a test wants that.
    pub(super) fn exporter(
        &self,
        ctx: &Context,
        key: RoutingKey,
        endpoints: Arc<Endpoints>,
        connect: impl FnOnce(Arc<Rotation>, Weak<Core>) -> Connect<Way>,
    ) -> Exporter {
        let turned =
            ctx.commons.get_or_make(&"rotation", || Ok::<_, BuildError>(Rotation::default()));
        let turned = turned.expect("making it cannot fail");
        let following = Following {
            exporter: ctx.id.to_string(),
            data_type: ctx.signal.name(),
            hash: self.ring,
            endpoints,
            rotation: (self.failover == Failover::Next).then(|| turned.subscribe()),
        };
        Exporter(Arc::new_cyclic(|core| {
            let table = RouteTable::start(following, connect(turned, Weak::clone(core)));
            Core::new(ctx, key, self.admission(), self.retry(), self.split_above(), table)
        }))
    }

    fn validate_protocol(&self, at: &Path<'_>, problems: &mut Problems) {
        let otlp = &self.protocol.otlp;
        otlp.exporter.client.validate(at, problems);
        otlp.exporter.retry_on_failure.validate(&at.key("retry_on_failure"), problems);
        if !otlp.exporter.client.endpoint.is_empty() {
            problems.warn(&at.key("endpoint"), "ignored: the resolver gives the endpoints");
        }
        if otlp.mentions_retry && self.retry_on_failure.is_some() {
            problems.warn(
                &at.key("retry_on_failure"),
                "ignored: the exporter's own retry_on_failure counts",
            );
        }
        let Some(queue) = otlp.queue() else { return };
        queue.validate(&at.key("sending_queue"), problems);
        if self.sending_queue.is_on() {
            problems.warn(
                &at.key("sending_queue"),
                "bounds what waits for one backend; the exporter's own sending_queue says when a \
                 request is acknowledged",
            );
        } else if !queue.wait_for_result {
            problems.warn(
                &at.key("sending_queue"),
                "requests are acknowledged before a backend has them; remove it, or set \
                 wait_for_result, to acknowledge what was delivered",
            );
        }
    }
}

impl JoinConfig {
    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.max_bytes > 0 && self.max_bytes < self.min_bytes {
            problems.report(&at.key("max_bytes"), "must not be less than min_bytes");
        }
    }
}

impl ExporterConfig for LoadBalancingConfig {
    const TYPE: &'static str = "load_balancing";
    const ALIASES: &'static [&'static str] = &["loadbalancing"];
    const SIGNALS: &'static [Signal] = &Signal::ALL;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        for (key, error) in RoutingKey::check(&self.routing_key, &self.routing_attributes) {
            problems.report(&at.key(key), error);
        }
        self.resolver.validate(&at.key("resolver"), problems);
        self.rotation.validate(&at.key("rotation"), problems);
        self.join.validate(&at.key("join"), problems);
        if let Some(retry) = &self.retry_on_failure {
            retry.validate(&at.key("retry_on_failure"), problems);
        }
        if let Some(queue) = self.sending_queue.as_ref() {
            queue.validate(&at.key("sending_queue"), problems);
        }
        self.validate_protocol(&at.key("protocol").key("otlp"), problems);
    }

    fn build(&self, ctx: &Context) -> Result<Next, BuildError> {
        let error = |text: &str| {
            BuildError::new(format!(
                "cannot configure loadbalancing {} exporter: {text}",
                ctx.signal
            ))
        };
        let key = RoutingKey::parse(ctx.signal, &self.routing_key, &self.routing_attributes)
            .map_err(|wrong| {
                let texts: Vec<_> = wrong.into_iter().map(|(_, text)| text).collect();
                error(&texts.join("; "))
            })?;
        // Unusable TLS files are said now, not when the first backend appears.
        drop(self.protocol.otlp.exporter.client("placeholder:4317", &ctx.commons)?);
        for queue in self.sending_queue.as_ref().into_iter().chain(self.protocol.otlp.queue()) {
            queue.want_metadata(&ctx.commons);
        }
        let endpoints = ctx.commons.get_or_make(&self.resolver, || {
            let resolver = self.resolver.build();
            let none = || error("no resolvers specified for the exporter");
            Ok::<_, BuildError>(Endpoints::follow(resolver.ok_or_else(none)?))
        })?;
        let exporter =
            self.exporter(ctx, key, endpoints, |turned, core| self.connect(ctx, turned, core));
        Ok(Arc::new(exporter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The section, what is wrong with it, and what should be changed.
    fn read(yaml: &str) -> (LoadBalancingConfig, Vec<String>, Vec<String>) {
        let node = shared::config::yaml::parse(yaml, 0).unwrap();
        let (at, mut problems) = (Path::ROOT.key("lb"), Problems::default());
        let config = LoadBalancingConfig::decode(&node, &at, &mut problems).unwrap_or_default();
        config.validate(&at, &mut problems);
        let texts = |problems: &[shared::config::Problem]| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        (config, texts(problems.errors()), texts(problems.warnings()))
    }

    fn valid(yaml: &str) -> LoadBalancingConfig {
        let (config, errors, _) = read(yaml);
        assert_eq!(errors, [""; 0], "{yaml}");
        config
    }

    const DNS: &str = "resolver: {dns: {hostname: backend}}\n";

    fn with(more: &str) -> LoadBalancingConfig {
        valid(&format!("{DNS}{more}"))
    }

    #[test]
    fn a_minimal_section_waits_for_the_backend_and_retries_soon() {
        let config = valid("protocol:\n  otlp:\nresolver:\n  dns:\n    hostname: backend\n");
        let retry = config.retry();
        assert!(retry.enabled);
        assert_eq!(retry.initial_interval, Duration::from_millis(250));
        assert_eq!(retry.max_elapsed_time, Duration::from_secs(300));
        let admission = config.admission();
        assert!(admission.wait_for_result);
        assert_eq!((admission.capacity, admission.sizer), (DEFAULT_CAPACITY, Sizer::Bytes));
        let lane = config.lane();
        assert_eq!(lane.room, Room { size: DEFAULT_CAPACITY / 2, sizer: Sizer::Bytes });
        assert_eq!((lane.limits.in_flight, lane.limits.patient), (10, false));
    }

    #[test]
    fn a_queue_for_each_backend_bounds_what_is_held_for_it() {
        for queue in ["", "{}", "{enabled: true}", "{queue_size: 1000}"] {
            let config = with(&format!("protocol: {{otlp: {{sending_queue: {queue}}}}}"));
            assert!(!config.admission().wait_for_result, "{queue:?}");
            assert_eq!(config.lane().room, Room { size: 1000, sizer: Sizer::Requests });
            assert_eq!(config.retry().max_elapsed_time, Duration::from_secs(300));
        }
        let config = with("protocol: {otlp: {sending_queue: {enabled: false}}}");
        assert!(config.admission().wait_for_result);
    }

    #[test]
    fn a_queue_ahead_of_the_ring_has_the_collectors_keys() {
        let config = with(
            "sending_queue: {queue_size: 10, num_consumers: 3, block_on_overflow: true, \
             batch: {min_size: 5, max_size: 7, flush_timeout: 1s}}",
        );
        let admission = config.admission();
        assert_eq!((admission.capacity, admission.sizer), (10, Sizer::Requests));
        assert!(admission.block_on_overflow && !admission.wait_for_result);
        let lane = config.lane();
        assert_eq!(lane.room, Room { size: 10, sizer: Sizer::Requests });
        let limits = Limits {
            in_flight: 3,
            max_wait: Duration::from_secs(1),
            min_size: 5,
            max_size: 7,
            patient: true,
        };
        assert_eq!((lane.limits, lane.sizer), (limits, Sizer::Items));
        assert_eq!(config.split_above(), Some((7, Sizer::Items)));
        assert!(with("sending_queue: {wait_for_result: true}").admission().wait_for_result);
    }

    #[test]
    fn the_shorter_timeout_counts() {
        let timeout = |yaml| with(yaml).attempt_timeout();
        assert_eq!(timeout(""), Duration::from_secs(5));
        assert_eq!(timeout("timeout: 2s"), Duration::from_secs(2));
        assert_eq!(timeout("timeout: 20s"), Duration::from_secs(5));
        assert_eq!(
            timeout("timeout: 20s\nprotocol: {otlp: {timeout: 0s}}"),
            Duration::from_secs(20)
        );
    }

    #[test]
    fn the_nearest_retry_that_is_written_counts() {
        let config = with("protocol: {otlp: {retry_on_failure: {initial_interval: 1s}}}");
        assert_eq!(config.retry().initial_interval, Duration::from_secs(1));
        assert_eq!(config.retry().max_elapsed_time, Duration::from_secs(300));
        let config = with("retry_on_failure: {enabled: true}");
        assert_eq!(config.retry().initial_interval, Duration::from_secs(5));
        assert!(!with("retry_on_failure: {enabled: false}").retry().enabled);
        let config = with("sending_queue: {}");
        assert_eq!(config.retry().max_elapsed_time, Duration::from_secs(300));
    }

    #[test]
    fn every_problem_is_named() {
        let (_, errors, _) = read(
            "routing_key: span\nretry_on_failure: {multiplier: -1}\n\
             sending_queue: {queue_size: 0}\nprotocol: {otlp: {compression: zlib}}",
        );
        assert_eq!(
            errors,
            [
                "lb::routing_key: unsupported routing_key: span (supported: traceID, service, resource, \
                 metric, streamID, attributes)",
                "lb::resolver: no resolvers specified for the exporter",
                "lb::retry_on_failure::multiplier: multiplier value must be greater than or equal to 0",
                "lb::sending_queue::queue_size: `queue_size` must be positive",
                "lb::protocol::otlp::compression: gRPC speaks gzip, zstd and snappy",
            ]
        );
    }

    #[test]
    fn settings_that_do_not_mean_what_they_seem_to_are_warned_of() {
        let (_, _, warnings) = read(&format!(
            "{DNS}retry_on_failure: {{enabled: true}}\nsending_queue: {{}}\n\
             protocol: {{otlp: {{endpoint: 'a:1', sending_queue: {{}}, retry_on_failure: {{}}}}}}"
        ));
        let starts = [
            "lb::protocol::otlp::endpoint: ignored",
            "lb::protocol::otlp::retry_on_failure: ignored",
            "lb::protocol::otlp::sending_queue: bounds",
        ];
        assert_eq!(warnings.len(), starts.len(), "{warnings:?}");
        assert!(warnings.iter().zip(starts).all(|(warning, start)| warning.starts_with(start)));
        let (_, _, warnings) = read(&format!("{DNS}protocol: {{otlp: {{sending_queue: {{}}}}}}"));
        assert!(warnings[0].contains("acknowledged before"), "{warnings:?}");
    }

    #[test]
    fn a_store_for_each_backend_is_an_error_that_says_where_it_belongs() {
        let (_, errors, _) =
            read(&format!("{DNS}protocol: {{otlp: {{sending_queue: {{storage: file}}}}}}"));
        let key = "lb::protocol::otlp::sending_queue::storage: ";
        assert!(errors.iter().any(|error| error.starts_with(key)), "{errors:?}");
    }

    #[test]
    fn exporters_share_what_is_alike() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _entered = runtime.enter();
        let commons = Arc::default();
        let connecting = |yaml: &str, signal| {
            let config = with(yaml);
            let ctx = Context {
                commons: Arc::clone(&commons),
                signal,
                ..crate::loadbalancing::tests::context()
            };
            let exporter = OtlpGrpcConfig {
                sending_queue: Section::off(),
                ..config.protocol.otlp.exporter.clone()
            };
            Connecting {
                ctx,
                exporter,
                timeout: config.attempt_timeout(),
                rotation: config.rotation.clone(),
                settings: config.lane(),
                turned: Arc::default(),
            }
        };
        let plain = "protocol: {otlp: {tls: {insecure: true}}}\n";
        let by_service = format!("{plain}routing_key: service");
        let others = format!("{plain}timeout: 1s");
        let lane = connecting(plain, Signal::Traces).lane("a").unwrap();
        let same = connecting(&by_service, Signal::Traces).lane("a:4317").unwrap();
        assert!(Arc::ptr_eq(&lane, &same));
        let logs = connecting(plain, Signal::Logs).lane("a").unwrap();
        assert!(!Arc::ptr_eq(&lane, &logs));
        assert!(Arc::ptr_eq(lane.peer(), logs.peer()), "one connection for all signals");
        let other = connecting(&others, Signal::Traces).lane("a").unwrap();
        assert!(!Arc::ptr_eq(lane.peer(), other.peer()));
    }

    #[test]
    fn the_ring_is_ours_unless_the_collectors_is_wanted() {
        assert_eq!(with("").ring, RingHash::Xxh3);
        assert_eq!(with("ring: otelcol_v0_156").ring, RingHash::OtelcolV0_156);
    }
}
