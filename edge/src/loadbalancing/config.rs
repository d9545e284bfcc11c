//! The exporter's section, and how it is built. Source: contrib `exporter/loadbalancingexporter`.

use std::sync::Arc;
use std::time::Duration;

use shared::config::{Decode, Node, Path, Problems, Section};
use shared::config_struct;
use shared::consumer::Next;
use shared::membership::{Connect, ResolverConfig, RingHash};
use shared::otlp::OtlpGrpcConfig;
use shared::queue::{ChainSettings, QueueConfig, RetryConfig, Sender, chain};
use shared::service::{BuildError, ComponentId, Context, ExporterConfig};
use shared::wire::Signal;

use super::backend::{Direct, Measured, Queued, Reroute};
use super::routing_key::RoutingKey;
use super::{Exporter, LoadBalancer};

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
        /// Time for one attempt at a whole batch, over all backends; 0 is no limit.
        pub timeout: Duration = Duration::ZERO,
        /// Whether and how undelivered parts are tried again, routed anew.
        pub retry_on_failure: Option<RetryConfig> = None,
        /// What waits to be routed.
        pub sending_queue: Section<QueueConfig> = Section::off(),
        /// Ours: which ring.
        pub ring: RingHash = RingHash::Xxh3,
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
        Some(Self {
            exporter: OtlpGrpcConfig::decode(node, at, problems)?,
            mentions_queue: node.get("sending_queue").is_some(),
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

/// How undelivered parts are tried again while the sender waits: soon, since its own deadline is
/// some seconds, and not for long, since it comes again by itself.
fn retry_while_the_sender_waits() -> RetryConfig {
    RetryConfig {
        initial_interval: Duration::from_millis(250),
        max_interval: Duration::from_secs(5),
        max_elapsed_time: Duration::from_secs(30),
        ..RetryConfig::default()
    }
}

impl LoadBalancingConfig {
    /// How a batch's undelivered parts are tried again.
    pub(super) fn retry(&self) -> RetryConfig {
        let otlp = &self.protocol.otlp;
        match &self.retry_on_failure {
            Some(retry) => retry.clone(),
            // Each backend's own queue retries; what is handed back here was not queued.
            None if otlp.queue().is_some() => {
                RetryConfig { enabled: false, ..RetryConfig::default() }
            }
            None if otlp.mentions_retry || self.sending_queue.is_on() => {
                otlp.exporter.retry_on_failure.clone()
            }
            None => retry_while_the_sender_waits(),
        }
    }

    /// Makes what stands in front of each backend.
    fn connect(&self, ctx: &Context, reroute: Reroute) -> Connect {
        let (otlp, ctx) = (self.protocol.otlp.clone(), ctx.clone());
        Box::new(move |endpoint| {
            let sender = otlp.exporter.sender(&shared::membership::dial_address(endpoint))?;
            Ok(match otlp.queue() {
                None => {
                    Arc::new(Direct::new(Measured::new(endpoint, sender), otlp.exporter.timeout))
                }
                Some(queue) => {
                    let settings = ChainSettings {
                        timeout: otlp.exporter.timeout,
                        retry: otlp.exporter.retry_on_failure.clone(),
                        queue: Section::on(queue.clone()),
                        destination: Some(host_and_port(endpoint)),
                    };
                    let measured = Measured::new(endpoint, sender);
                    Arc::new(Queued::new(measured, reroute.clone(), |sender| {
                        chain(&child_context(&ctx), settings, sender)
                    }))
                }
            })
        })
    }
}

/// The Collector gives the exporters behind this one a single id: their type, our name.
fn child_context(ctx: &Context) -> Context {
    let id = ComponentId { kind: OtlpGrpcConfig::TYPE.to_owned(), name: ctx.id.name.clone() };
    Context { id, ..ctx.clone() }
}

fn host_and_port(endpoint: &str) -> (String, u16) {
    let address = shared::membership::dial_address(endpoint);
    let (host, port) = address.rsplit_once(':').unwrap_or((&address, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host.to_owned(), port.parse().unwrap_or(shared::membership::DEFAULT_PORT))
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
        if let Some(retry) = &self.retry_on_failure {
            retry.validate(&at.key("retry_on_failure"), problems);
        }
        if let Some(queue) = self.sending_queue.as_ref() {
            queue.validate(&at.key("sending_queue"), problems);
        }
        let (protocol, otlp) = (at.key("protocol"), &self.protocol.otlp);
        let at = protocol.key("otlp");
        otlp.exporter.client.validate(&at, problems);
        otlp.exporter.retry_on_failure.validate(&at.key("retry_on_failure"), problems);
        if !otlp.exporter.client.endpoint.is_empty() {
            problems.warn(&at.key("endpoint"), "ignored: the resolver gives the endpoints");
        }
        let Some(queue) = otlp.queue() else { return };
        queue.validate(&at.key("sending_queue"), problems);
        if self.retry_on_failure.as_ref().is_some_and(|retry| retry.enabled) {
            problems.warn(
                &at.key("sending_queue"),
                "a queue for each backend hides its failures from the exporter's retry_on_failure; \
                 remove it to have undelivered parts routed anew",
            );
        }
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
        let resolver = self.resolver.build();
        let resolver = resolver.ok_or_else(|| error("no resolvers specified for the exporter"))?;
        // Unusable TLS files are said now, not when the first backend appears.
        let probe: Arc<dyn Sender> = self.protocol.otlp.exporter.sender("placeholder:4317")?;
        drop(probe);
        let balancer = LoadBalancer::start(ctx, key, self.ring, resolver, |reroute| {
            self.connect(ctx, reroute)
        });
        let settings = ChainSettings {
            timeout: self.timeout,
            retry: self.retry(),
            queue: self.sending_queue.clone(),
            destination: None,
        };
        Ok(Arc::new(Exporter::new(ctx, settings, balancer)))
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
        assert!(config.protocol.otlp.queue().is_none());
        let retry = config.retry();
        assert!(retry.enabled);
        assert_eq!(retry.initial_interval, Duration::from_millis(250));
        assert_eq!(retry.max_elapsed_time, Duration::from_secs(30));
        assert!(!config.sending_queue.is_on());
    }

    #[test]
    fn a_queue_for_each_backend_is_there_when_it_is_asked_for() {
        for queue in ["", "{}", "{enabled: true}", "{queue_size: 5}"] {
            let config = with(&format!("protocol: {{otlp: {{sending_queue: {queue}}}}}"));
            assert!(config.protocol.otlp.queue().is_some(), "{queue:?}");
            assert!(!config.retry().enabled);
        }
        let config = with("protocol: {otlp: {sending_queue: {enabled: false}}}");
        assert!(config.protocol.otlp.queue().is_none());
        assert!(config.retry().enabled);
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
                "lb::protocol::otlp::compression: gRPC speaks gzip and zstd",
            ]
        );
    }

    #[test]
    fn settings_that_do_nothing_are_warned_of() {
        let (_, _, warnings) = read(&format!(
            "{DNS}retry_on_failure: {{enabled: true}}\n\
             protocol: {{otlp: {{endpoint: 'a:1', sending_queue: {{}}}}}}"
        ));
        let starts =
            ["lb::protocol::otlp::endpoint: ignored", "lb::protocol::otlp::sending_queue: a q"];
        assert_eq!(warnings.len(), 2);
        assert!(warnings.iter().zip(starts).all(|(warning, start)| warning.starts_with(start)));
    }

    #[test]
    fn the_ring_is_ours_unless_the_collectors_is_wanted() {
        assert_eq!(with("").ring, RingHash::Xxh3);
        assert_eq!(with("ring: otelcol_v0_156").ring, RingHash::OtelcolV0_156);
    }

    #[test]
    fn addresses_are_split_for_labels() {
        assert_eq!(host_and_port("10.0.0.1"), ("10.0.0.1".to_owned(), 4317));
        assert_eq!(host_and_port("[fd00::1]:55"), ("fd00::1".to_owned(), 55));
    }
}
