//! Keys, defaults, and what is refused.

use shared::config::{Data, Decode, Entry, Node, Place};

use super::*;

/// Reads a section of these lines of `key: value`, nested by dots.
fn read(lines: &[(&str, &str)]) -> (RemoteWriteConfig, Vec<String>, Vec<String>) {
    let mut root = Node::new(Data::Map(Vec::new()));
    for (key, text) in lines {
        insert(&mut root, key, text);
    }
    let mut problems = Problems::default();
    let at = Path::ROOT.key("a");
    let config = RemoteWriteConfig::decode(&root, &at, &mut problems).unwrap_or_default();
    config.check(&at, &mut problems);
    let texts = |list: &[shared::config::Problem]| list.iter().map(ToString::to_string).collect();
    (config, texts(problems.errors()), texts(problems.warnings()))
}

fn insert(node: &mut Node, key: &str, text: &str) {
    let Data::Map(entries) = &mut node.data else { panic!("{key} is below a value") };
    let (first, rest) = key.split_once('.').map_or((key, None), |(a, b)| (a, Some(b)));
    let index = entries.iter().position(|entry| entry.key == first).unwrap_or_else(|| {
        let value = match rest {
            Some(_) => Node::new(Data::Map(Vec::new())),
            None => scalar(text),
        };
        entries.push(Entry { key: first.to_owned(), place: Place::default(), value });
        entries.len() - 1
    });
    if let Some(rest) = rest {
        insert(&mut entries[index].value, rest, text);
    }
}

fn scalar(text: &str) -> Node {
    let data = match (text.parse::<i64>(), text.parse::<bool>()) {
        (Ok(number), _) => Data::Int(number),
        (_, Ok(flag)) => Data::Bool(flag),
        _ => Data::String(text.to_owned()),
    };
    Node { text: Some(text.to_owned()), ..Node::new(data) }
}

const ENDPOINT: (&str, &str) = ("endpoint", "https://mimir/api/v1/push");

#[track_caller]
fn check(lines: &[(&str, &str)], errors: &[&str], warnings: &[&str]) {
    let (_, found, warned) = read(lines);
    assert_eq!(found, errors);
    assert_eq!(warned, warnings);
}

#[test]
fn defaults_are_the_collectors() {
    let (config, errors, warnings) = read(&[ENDPOINT]);
    assert_eq!((errors, warnings), (vec![], vec![]));
    assert_eq!(config.timeout(), Duration::from_secs(5));
    assert_eq!(config.max_batch_size(), 3_000_000);
    assert_eq!(config.parallelism(), 5);
    assert_eq!(config.remote_write_queue.queue_size, 10_000);
    assert!(config.remote_write_queue.enabled && config.target_info.enabled);
    let retry = RetryConfig { initial_interval: Duration::from_millis(50), ..Default::default() };
    assert_eq!(config.retry(), retry);
    assert_eq!(config.strategy(), TranslationStrategy::UnderscoreEscapingWithSuffixes);
    assert_eq!(config.protobuf_message, Message::V1);
    assert!(!config.send_metadata && !config.disable_scope_info && !config.wal.is_on());
    let wal = WalConfig::default();
    assert_eq!((wal.buffer_size, wal.truncate_frequency), (300, Duration::from_secs(60)));
    assert_eq!(wal.lag_record_frequency, Duration::from_secs(15));
}

#[test]
fn a_retry_that_is_partly_given_keeps_the_other_defaults() {
    let (config, ..) = read(&[ENDPOINT, ("retry_on_failure.max_interval", "10s")]);
    assert_eq!(config.retry().initial_interval, Duration::from_millis(50));
    assert_eq!(config.retry().max_interval, Duration::from_secs(10));
}

#[test]
fn an_endpoint_is_needed_and_is_not_the_placeholder() {
    let needed =
        "a::endpoint: must be the receiver's URL, such as https://prometheus:9090/api/v1/write";
    check(&[], &[needed], &[]);
    check(
        &[("endpoint", PLACEHOLDER)],
        &["a::endpoint: is the Collector's placeholder, not a receiver"],
        &[],
    );
    check(
        &[("endpoint", "http://user:pass@mimir/push")],
        &["a::endpoint: credentials in the URL are not sent: use the extension basicauth"],
        &[],
    );
}

#[test]
fn the_block_http_takes_the_place_of_the_keys_outside() {
    let (config, errors, _) =
        read(&[("http.endpoint", "http://mimir/push"), ("http.timeout", "3s")]);
    assert_eq!(errors, [""; 0]);
    assert_eq!(config.client().endpoint, "http://mimir/push");
    assert_eq!(config.timeout(), Duration::from_secs(3));
    check(
        &[("http.endpoint", "http://mimir/push"), ENDPOINT, ("headers.x-tenant", "a")],
        &[
            "a::http::endpoint: endpoint also stands outside of http, where it is not read",
            "a::http::headers: headers also stands outside of http, where it is not read",
        ],
        &[],
    );
}

#[test]
fn every_mistake_is_named() {
    check(
        &[
            ENDPOINT,
            ("compression", "gzip"),
            ("remote_write_queue.queue_size", "0"),
            ("max_batch_request_parallelism", "0"),
            ("translation_strategy", "NoTranslation"),
            ("external_labels.cluster", ""),
            ("wal.buffer_size", "5"),
            ("include_metadata_keys", "user-agent"),
        ],
        &[
            "a::compression: compression type must be snappy",
            "a::remote_write_queue::queue_size: a 0 size queue will drop all the data",
            "a::max_batch_request_parallelism: max_batch_request_parallelism can't be set to below 1",
            "a::translation_strategy: translation strategy NoTranslation requires Prometheus \
             Remote Write 2.0 (UTF-8 support)",
            "a::external_labels: external labels configuration contains an empty key or value",
            "a::wal::directory: must be the directory that the log is kept in",
            "a::include_metadata_keys: headers are not kept in the write-ahead log: remove wal",
            "a::include_metadata_keys::0: include_metadata_keys entry \"user-agent\" collides \
             with a reserved remote write header",
        ],
        &[],
    );
}

#[test]
fn what_has_no_effect_is_said() {
    check(
        &[
            ENDPOINT,
            ("headers.user-agent", "mine"),
            ("add_metric_suffixes", "false"),
            ("keep_classic_histograms", "true"),
            ("protobuf_message", "io.prometheus.write.v2.Request"),
            ("send_metadata", "true"),
        ],
        &[],
        &[
            "a::headers: user-agent is set by the protocol, and not to what is given here",
            "a::add_metric_suffixes: is deprecated: set translation_strategy: \
             UnderscoreEscapingWithoutSuffixes",
            "a::keep_classic_histograms: has no effect without convert_explicit_histograms_to_nhcb",
            "a::send_metadata: has no effect: Remote-Write 2.0 always sends metadata",
        ],
    );
}
