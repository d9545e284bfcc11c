use std::path::Path;

use serde_json::json;

use super::*;
use crate::config::testing::section;
use crate::otlp::recorded::Recorded;
use crate::queue::tests::{context, spans};
use crate::service::ExporterConfig as _;
use crate::wire::Signal;

fn config(path: &Path, more: &serde_json::Value) -> FileConfig {
    let mut all = json!({"path": path, "flush_interval": "1h"});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    section(&all, FileConfig::validate).0
}

fn soon() -> Instant {
    clock::now() + Duration::from_secs(5)
}

/// Numbers of items of the requests in a file.
fn read(path: &Path) -> Vec<usize> {
    let recorded = Recorded::open(path, Signal::Traces).unwrap();
    recorded.map(|batch| batch.unwrap().items()).collect()
}

fn start(config: &FileConfig) -> (FileExporter, Context) {
    let ctx = context();
    (FileExporter::start(config, &ctx).unwrap(), ctx)
}

#[track_caller]
fn errors(json: &serde_json::Value, expected: &[&str]) {
    let (_, told, _) = section(json, FileConfig::validate);
    assert_eq!(told, expected);
}

#[test]
fn mistakes_are_named() {
    errors(&json!({}), &["a::path: must be non-empty"]);
    errors(
        &json!({"path": "a", "append": true, "rotation": null, "compression": "zstd"}),
        &[
            "a::append: append and compression zstd exclude each other",
            "a::append: append and rotation exclude each other",
        ],
    );
    errors(
        &json!({"path": "a", "directory_permissions": "0755", "rotation": {"localtime": true}}),
        &[
            "a::rotation::localtime: only UTC is supported",
            "a::directory_permissions: needs create_directory: true",
        ],
    );
    errors(
        &json!({"path": "a", "create_directory": true, "directory_permissions": "9"}),
        &["a::directory_permissions: must be an octal number of permissions, like \"0755\""],
    );
}

#[tokio::test]
async fn requests_are_in_the_file_after_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    for more in [
        json!({}),
        json!({"format": "proto"}),
        json!({"compression": "zstd"}),
        json!({"format": "proto", "compression": "gzip"}),
    ] {
        let path = directory.path().join("new/data");
        let mut more = more;
        more["create_directory"] = json!(true);
        let (exporter, ctx) = start(&config(&path, &more));
        for count in [1, 2, 3] {
            exporter.consume(spans(count)).await.unwrap();
        }
        exporter.shutdown(soon()).await;
        assert_eq!((read(&path), ctx.losses.total()), (vec![1, 2, 3], 0), "{more}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_written_after_the_flush_interval() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data.json");
    let (exporter, _) = start(&config(&path, &json!({"flush_interval": "5s"})));
    exporter.consume(spans(2)).await.unwrap();
    assert_eq!(read(&path), [0; 0]);
    while read(&path).is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(read(&path), [2]);
}

#[tokio::test]
async fn what_is_there_stays_if_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data.json");
    let run = async |more: serde_json::Value, count: usize| {
        let (exporter, _) = start(&config(&path, &more));
        exporter.consume(spans(count)).await.unwrap();
        exporter.shutdown(soon()).await;
        read(&path)
    };
    assert_eq!(run(json!({}), 1).await, [1]);
    assert_eq!(run(json!({"append": true}), 2).await, [1, 2]);
    assert_eq!(run(json!({"rotation": null}), 3).await, [1, 2, 3]);
    assert_eq!(run(json!({}), 4).await, [4]);
}

#[tokio::test]
async fn full_files_are_renamed_and_the_oldest_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data.otlp");
    let rotation = json!({"format": "proto", "rotation": {"max_megabytes": 1, "max_backups": 2}});
    let stranger = directory.path().join("data-of-somebody-else.otlp");
    std::fs::write(&stranger, "").unwrap();
    let (exporter, _) = start(&config(&path, &rotation));
    let large = spans(100_000);
    assert!(large.bytes().len() < 1 << 20);
    for _ in 0..10 {
        exporter.consume(large.clone()).await.unwrap();
    }
    exporter.shutdown(soon()).await;
    let mut names: Vec<String> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(stranger.exists());
    for name in names.iter().filter(|name| *name != "data-of-somebody-else.otlp") {
        let full = directory.path().join(name);
        assert!(read(&full).iter().all(|items| *items == 100_000), "{name}");
        assert!(full.metadata().unwrap().len() < 3 << 20, "{name}");
    }
}

#[tokio::test]
async fn two_exporters_do_not_write_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory.path().join("data"), &json!({}));
    let (_exporter, ctx) = start(&config);
    FileExporter::start(&config, &ctx).unwrap_or_else(|error| panic!("{error}"));
    let id = crate::service::ComponentId::parse("file/2").unwrap();
    let error = FileExporter::start(&config, &Context { id, ..ctx }).err().unwrap().to_string();
    assert!(error.ends_with("data is written by exporter \"test\" too"), "{error}");
}

#[tokio::test]
async fn a_full_disk_refuses_and_what_was_taken_is_counted_as_lost() {
    // Every write to this device fails as on a full disk.
    let (exporter, ctx) = start(&config(Path::new("/dev/full"), &json!({})));
    exporter.consume(spans(2)).await.unwrap();
    assert_eq!(exporter.file.flush().await, 2);
    let refused = exporter.consume(spans(3)).await.unwrap_err();
    assert_eq!(refused.batch.items(), 3);
    assert!(refused.reason.ends_with("the file cannot be written"), "{}", refused.reason);
    exporter.shutdown(soon()).await;
    assert_eq!(ctx.losses.total(), 2);
}
