//! Upper bounds of the buckets of each histogram that the process keeps about itself.

/// Upper bounds of a histogram's buckets.
pub(super) fn bounds(name: &str) -> &'static [f64] {
    match name {
        "otelcol_loadbalancer_backend_latency" => BACKEND_LATENCY_BOUNDS,
        "otelcol_loadbalancer_backend_queue_time" => QUEUE_TIME_BOUNDS,
        "otelcol_processor_tail_sampling_sampling_decision_timer_latency" => {
            DECISION_LATENCY_BOUNDS
        }
        "otelcol_exporter_prometheusremotewrite_wal_read_latency"
        | "otelcol_exporter_prometheusremotewrite_wal_write_latency" => WAL_LATENCY_BOUNDS,
        "otelcol_processor_batch_batch_send_size"
        | "otelcol_exporter_queue_batch_send_size"
        | "otelcol_exporter_enqueue_size" => COUNT_BOUNDS,
        name if name.ends_with("_bytes") => BYTE_BOUNDS,
        name if name.ends_with("_duration") || name.ends_with("_seconds") => SECONDS_BOUNDS,
        _ => DEFAULT_BOUNDS,
    }
}

/// The OpenTelemetry SDK's default.
pub(super) const DEFAULT_BOUNDS: &[f64] =
    &[0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1e3, 2.5e3, 5e3, 7.5e3, 1e4];

/// Batch sizes in items. Source: collector exporter/exporterhelper/metadata.yaml.
const COUNT_BOUNDS: &[f64] = &[
    10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1e3, 2e3, 3e3, 4e3, 5e3, 6e3, 7e3, 8e3,
    9e3, 1e4, 2e4, 3e4, 5e4, 1e5,
];

/// Batch sizes in bytes: 128 · 2^k. Source: collector exporter/exporterhelper/metadata.yaml.
const BYTE_BOUNDS: &[f64] = &[
    128.0,
    256.0,
    512.0,
    1024.0,
    2048.0,
    4096.0,
    8192.0,
    16384.0,
    32768.0,
    65536.0,
    131_072.0,
    262_144.0,
    524_288.0,
    1_048_576.0,
    2_097_152.0,
    4_194_304.0,
    8_388_608.0,
    16_777_216.0,
];

/// From the time that parts wait for each other to that of an attempt, in seconds.
const QUEUE_TIME_BOUNDS: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Source: contrib exporter/loadbalancingexporter/metadata.yaml.
const BACKEND_LATENCY_BOUNDS: &[f64] = &[5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3];

/// Source: contrib exporter/prometheusremotewriteexporter/metadata.yaml.
const WAL_LATENCY_BOUNDS: &[f64] = &[5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3];

/// Source: contrib processor/tailsamplingprocessor/metadata.yaml.
const DECISION_LATENCY_BOUNDS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 400.0, 500.0, 750.0, 1e3,
    2e3, 3e3, 4e3, 5e3, 1e4, 2e4, 3e4, 5e4,
];

/// Durations of requests in seconds. Source: OpenTelemetry semantic conventions.
const SECONDS_BOUNDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
