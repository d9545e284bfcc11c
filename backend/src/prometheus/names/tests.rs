use super::NameKind::{Counter, Gauge, Other};
use super::*;

fn naming(strategy: TranslationStrategy) -> Naming {
    Naming {
        namespace: String::new(),
        suffixes: strategy.suffixes(),
        charset: strategy.charset(),
        underscores: Underscores::Kept,
    }
}

#[track_caller]
fn check(name: &str, unit: &str, kind: NameKind, expected: &str) {
    let found =
        naming(TranslationStrategy::UnderscoreEscapingWithSuffixes).metric(name, unit, kind);
    assert_eq!(found.as_deref(), Some(expected));
}

/// These are what the Collector's exporter exposed.
#[test]
fn units_and_types_become_suffixes() {
    check("traces.span.metrics.calls", "", Counter, "traces_span_metrics_calls_total");
    check("traces.span.metrics.duration", "ms", Other, "traces_span_metrics_duration_milliseconds");
    check("system.memory.utilization", "1", Gauge, "system_memory_utilization_ratio");
    check("system.filesystem.usage", "By", Gauge, "system_filesystem_usage_bytes");
    check("astro.light.speed", "m/s", Gauge, "astro_light_speed_meters_per_second");
    check("9lives", "{cats}", Gauge, "_9lives");
    check("queue.depth", "{items}/s", Gauge, "queue_depth_per_second");
    check("storage.fs.utilization", "%", Gauge, "storage_fs_utilization_percent");
    check("inflight", "1", Other, "inflight");
    check("requests_total", "1", Counter, "requests_total");
    check("network.io.seconds", "s", Counter, "network_io_seconds_total");
    check("a.total.count", "", Counter, "a_count_total");
    check("rate", "1/s", Gauge, "rate_per_second");
    check("acc", "m/s^2", Gauge, "acc_meters_per_s_2");
    check("disk", "KiBy", Gauge, "disk_kibibytes");
    check("disk2", "kBy", Gauge, "disk2_kBy");
    check("ratio.x", "1", Gauge, "x_ratio");
    check("odd", "m/^", Gauge, "odd_meters");
}

#[test]
fn every_strategy_names_in_its_way() {
    use TranslationStrategy::{
        NoTranslation, NoUtf8EscapingWithSuffixes, UnderscoreEscapingWithSuffixes,
        UnderscoreEscapingWithoutSuffixes,
    };
    for (strategy, calls, duration, memory) in [
        (UnderscoreEscapingWithSuffixes, "s_calls_total", "s_duration_milliseconds", "m_b_ratio"),
        (UnderscoreEscapingWithoutSuffixes, "s_calls", "s_duration", "m_b"),
        (NoUtf8EscapingWithSuffixes, "s.calls_total", "s.duration_milliseconds", "m.b_ratio"),
        (NoTranslation, "s.calls", "s.duration", "m.b"),
    ] {
        let naming = naming(strategy);
        assert_eq!(naming.metric("s.calls", "", Counter).as_deref(), Some(calls));
        assert_eq!(naming.metric("s.duration", "ms", Other).as_deref(), Some(duration));
        assert_eq!(naming.metric("m.b", "1", Gauge).as_deref(), Some(memory));
    }
}

#[test]
fn a_utf8_name_does_not_repeat_its_suffixes() {
    let naming = naming(TranslationStrategy::NoUtf8EscapingWithSuffixes);
    for (name, unit, kind, expected) in [
        ("requests.total", "", Counter, "requests_total"),
        ("subtotal", "", Counter, "subtotal_total"),
        ("total", "", Counter, "total_total"),
        ("io.per_second", "By/s", Gauge, "io_bytes_per_second"),
        ("wait.seconds", "s", Other, "wait.seconds"),
        ("größe", "By", Gauge, "größe_bytes"),
        ("x.ratio", "1", Gauge, "x_ratio"),
        ("depth", "{items}", Gauge, "depth"),
    ] {
        assert_eq!(naming.metric(name, unit, kind).as_deref(), Some(expected));
    }
}

#[test]
fn without_suffixes_only_the_characters_change() {
    let naming = naming(TranslationStrategy::UnderscoreEscapingWithoutSuffixes);
    let name = |name| naming.metric(name, "ms", Counter);
    assert_eq!(name("traces.span.metrics.calls").as_deref(), Some("traces_span_metrics_calls"));
    assert_eq!(name("a__b").as_deref(), Some("a__b"));
}

#[test]
fn a_namespace_goes_in_front() {
    let name = |namespace: &str, strategy| {
        Naming { namespace: namespace.to_owned(), ..naming(strategy) }.metric("any", "", Gauge)
    };
    let escaping = TranslationStrategy::UnderscoreEscapingWithSuffixes;
    assert_eq!(name("9ns", escaping).as_deref(), Some("_9ns_any"));
    assert_eq!(name("test-space", escaping).as_deref(), Some("test_space_any"));
    let keeping = TranslationStrategy::NoTranslation;
    assert_eq!(name("test-space", keeping).as_deref(), Some("test-space_any"));
}

#[test]
fn a_name_without_letters_is_no_name() {
    for name in ["", "...", "_"] {
        let escaping = naming(TranslationStrategy::UnderscoreEscapingWithSuffixes);
        assert_eq!(escaping.metric(name, "s", Counter), None);
    }
    assert_eq!(naming(TranslationStrategy::NoTranslation).metric("", "s", Counter), None);
}

/// For scraping, for remote write, and with all characters.
#[test]
fn labels_never_vanish_and_never_become_those_of_prometheus() {
    let scraped = naming(TranslationStrategy::UnderscoreEscapingWithSuffixes);
    let written = Naming { underscores: Underscores::Collapsed, ..scraped.clone() };
    let utf8 = naming(TranslationStrategy::NoTranslation);
    for (attribute, scraped_as, written_as, utf8_as) in [
        ("http.method", "http_method", "http_method", "http.method"),
        ("2 cents", "key_2_cents", "key_2_cents", "2 cents"),
        ("_name", "_name", "key_name", "_name"),
        ("a..b", "a__b", "a_b", "a..b"),
        ("a___.__b", "a______b", "a_b", "a___.__b"),
        ("name (of the host)", "name__of_the_host_", "name_of_the_host_", "name (of the host)"),
        ("Ünï", "_n_", "key_n_", "Ünï"),
        ("__name", "key__name", "key_name", "key__name"),
        (
            "otel.metric.overflow",
            "otel_metric_overflow",
            "otel_metric_overflow",
            "otel.metric.overflow",
        ),
        ("", "key_", "key_", "key_"),
    ] {
        assert_eq!(scraped.label(attribute), scraped_as);
        assert_eq!(written.label(attribute), written_as);
        assert_eq!(utf8.label(attribute), utf8_as);
    }
}

#[test]
fn a_utf8_name_can_be_escaped_afterwards() {
    assert_eq!(escaped_metric("traces.span.metrics.calls"), "traces_span_metrics_calls");
    assert_eq!(escaped_metric("9lives"), "_9lives");
    assert_eq!(escaped_metric("ok:name_1"), "ok:name_1");
}
