//! The component types of this tier, and the metrics they count: nothing else names them all.

use shared::connector::count::{self, CountConfig};
use shared::connector::service_graph::{self, ServiceGraphConfig};
use shared::connector::span_metrics::{self, SpanMetricsConfig};
use shared::exporter::debug::DebugConfig;
use shared::exporter::file::{self, FileConfig};
use shared::extension::basicauth::BasicAuthConfig;
use shared::extension::bearertokenauth::BearerTokenAuthConfig;
use shared::extension::headers_setter::HeadersSetterConfig;
use shared::extension::health_check::HealthCheckConfig;
use shared::extension::sigv4auth::SigV4AuthConfig;
use shared::membership::resolver;
use shared::otlp::{self, OtlpGrpcConfig, OtlpHttpConfig, OtlpReceiverConfig};
use shared::processor::attributes::AttributesConfig;
use shared::processor::batch::{self, BatchConfig};
use shared::processor::delta_to_cumulative::{self, DeltaToCumulativeConfig};
use shared::processor::filter::{self, FilterConfig};
use shared::processor::group_by_trace::{self, GroupByTraceConfig};
use shared::processor::items;
use shared::processor::memory_limiter::{self, MemoryLimiterConfig};
use shared::processor::probabilistic_sampler::{self, ProbabilisticSamplerConfig};
use shared::processor::resource::ResourceConfig;
use shared::processor::resource_detection::ResourceDetectionConfig;
use shared::processor::transform::{self, TransformConfig};
use shared::queue;
use shared::service::{self, Kind, Registry};
use shared::telemetry::metrics::Descriptor;

use crate::loadbalancing::{self, LoadBalancingConfig};

/// The component types that `edge` knows. A new one is one line.
pub(crate) fn registry() -> Registry {
    let registry = span_metrics::GATES.into_iter().fold(Registry::new(), Registry::gate);
    registry
        .receiver::<OtlpReceiverConfig>()
        .exporter::<OtlpGrpcConfig>()
        .exporter::<OtlpHttpConfig>()
        .processor::<BatchConfig>()
        .processor::<MemoryLimiterConfig>()
        .processor::<AttributesConfig>()
        .processor::<ResourceConfig>()
        .processor::<DeltaToCumulativeConfig>()
        .processor::<FilterConfig>()
        .processor::<TransformConfig>()
        .processor::<ResourceDetectionConfig>()
        .processor::<ProbabilisticSamplerConfig>()
        .processor::<GroupByTraceConfig>()
        .exporter::<LoadBalancingConfig>()
        .exporter::<DebugConfig>()
        .exporter::<FileConfig>()
        .extension::<HealthCheckConfig>()
        .extension::<BearerTokenAuthConfig>()
        .extension::<BasicAuthConfig>()
        .extension::<HeadersSetterConfig>()
        .extension::<SigV4AuthConfig>()
        .connector::<SpanMetricsConfig>()
        .connector::<ServiceGraphConfig>()
        .connector::<CountConfig>()
        .elsewhere(Kind::Processor, "tail_sampling", "backend")
        .elsewhere(Kind::Exporter, "prometheus", "backend")
        .elsewhere(Kind::Exporter, "prometheus_remote_write", "backend")
        .elsewhere(Kind::Exporter, "prometheusremotewrite", "backend")
}

/// The metrics of those components. A new set is one line.
pub(crate) fn descriptors() -> Vec<&'static [Descriptor]> {
    [
        otlp::DESCRIPTORS,
        batch::DESCRIPTORS,
        memory_limiter::DESCRIPTORS,
        items::DESCRIPTORS,
        delta_to_cumulative::DESCRIPTORS,
        filter::DESCRIPTORS,
        transform::DESCRIPTORS,
        probabilistic_sampler::DESCRIPTORS,
        group_by_trace::DESCRIPTORS,
        queue::DESCRIPTORS,
        service::DESCRIPTORS,
        file::DESCRIPTORS,
        span_metrics::DESCRIPTORS,
        service_graph::DESCRIPTORS,
        count::DESCRIPTORS,
        loadbalancing::DESCRIPTORS,
        resolver::DESCRIPTORS,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_metrics_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let written = std::fs::read_to_string(path).unwrap();
        let page = shared::telemetry::docs::updated(&written, "edge", &descriptors());
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, &page).unwrap();
        } else {
            assert!(written == page, "{path} is stale: run this test with UPDATE_EXPECT=1");
        }
    }
}
