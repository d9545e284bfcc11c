//! The exporter's section, and how it is built. Source: contrib `exporter/loadbalancingexporter`.

mod connecting;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};
use std::time::Duration;

use shared::config::{Decode, Node, Path, Problems, Section};
use shared::consumer::Next;
use shared::membership::{Connect, Endpoints, Following, ResolverConfig, RingHash, RouteTable};
use shared::otlp::OtlpGrpcConfig;
use shared::queue::{QueueConfig, RetryConfig, Sizer};
use shared::service::{BuildError, Context, ExporterConfig};
use shared::wire::Signal;
use shared::{config_enum, config_struct};

use super::Exporter;
use super::core::{Admission, Core};
use super::health::RotationConfig;
use super::lane::Limits;
use super::peer::Rotation;
use super::routing_key::RoutingKey;
use super::way::{LaneSettings, Room, Way};
use connecting::Connecting;

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
            names: self.resolver.names(),
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
