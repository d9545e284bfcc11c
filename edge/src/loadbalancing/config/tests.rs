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
    assert_eq!(timeout("timeout: 20s\nprotocol: {otlp: {timeout: 0s}}"), Duration::from_secs(20));
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
            names: config.resolver.names(),
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
    let srv = "resolver: {srv: {hostname: _b, nameservers: [10.0.0.10]}}";
    let names = valid(srv).resolver.names();
    assert!(names.is_some());
    let by_names = Connecting { names, ..connecting(plain, Signal::Traces) }.lane("a").unwrap();
    assert!(!Arc::ptr_eq(lane.peer(), by_names.peer()), "the name may lead elsewhere");
}

#[test]
fn the_ring_is_ours_unless_the_collectors_is_wanted() {
    assert_eq!(with("").ring, RingHash::Xxh3);
    assert_eq!(with("ring: otelcol_v0_156").ring, RingHash::OtelcolV0_156);
}
