//! What survives of a log.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

struct Bench {
    directory: TempDir,
    max_size_bytes: u64,
}

impl Bench {
    fn new(max_size_bytes: u64) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), max_size_bytes }
    }

    fn open(&self) -> Log {
        let config = WalConfig {
            directory: self.directory.path().to_str().unwrap().to_owned(),
            max_size_bytes: self.max_size_bytes,
            ..WalConfig::default()
        };
        Log::open(&config, "prometheus_remote_write/a").unwrap()
    }

    fn segments(&self) -> Vec<PathBuf> {
        let directory = self.directory.path().join("prometheus_remote_write%2fa");
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|of| of == "wal")).collect();
        files.sort();
        files
    }
}

fn write(log: &Log, numbers: std::ops::Range<u32>) {
    numbers.for_each(|number| log.append(format!("batch {number}").as_bytes()).unwrap());
}

/// Reads all that is left.
fn read(log: &Log) -> (Vec<String>, Vec<Position>) {
    let records = std::iter::from_fn(|| log.read());
    records.map(|record| (String::from_utf8(record.request).unwrap(), record.position)).unzip()
}

fn batches(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("batch {number}")).collect()
}

#[test]
fn what_was_not_acknowledged_is_read_again_in_order() {
    let bench = Bench::new(1 << 20);
    let log = bench.open();
    write(&log, 0..5);
    let (read_now, positions) = read(&log);
    assert_eq!(read_now, batches(0..5));
    // The first two, and one behind a gap, which does not count.
    for index in [0, 1, 3] {
        positions[index].done();
    }
    log.truncate().unwrap();
    write(&log, 5..6);
    drop(log);
    assert_eq!(read(&bench.open()).0, batches(2..6));
}

#[test]
fn without_a_note_all_is_read_again() {
    let bench = Bench::new(1 << 20);
    let log = bench.open();
    write(&log, 0..3);
    read(&log).1.iter().for_each(Position::done);
    drop(log); // as a crash does, without truncation
    assert_eq!(read(&bench.open()).0, batches(0..3));
}

#[test]
fn a_log_that_all_is_taken_of_is_empty_and_counts_on() {
    let bench = Bench::new(1 << 20);
    let log = bench.open();
    write(&log, 0..3);
    read(&log).1.iter().for_each(Position::done);
    log.truncate().unwrap();
    assert_eq!(bench.segments().len(), 1);
    drop(log);
    let log = bench.open();
    assert_eq!(read(&log).0, [""; 0]);
    write(&log, 3..4);
    assert_eq!(read(&log).0, batches(3..4));
}

#[test]
fn a_torn_tail_is_cut_off_wherever_it_was_torn() {
    let whole = segment::record(1, b"batch 1").unwrap();
    for written in 1..whole.len() {
        let bench = Bench::new(1 << 20);
        write(&bench.open(), 0..2);
        let path = &bench.segments()[0];
        let size = fs::metadata(path).unwrap().len();
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(size - (whole.len() - written) as u64).unwrap();
        let log = bench.open();
        write(&log, 7..8);
        assert_eq!(read(&log).0, batches([0, 7]), "{written} bytes");
    }
}

#[test]
fn a_corrupt_record_is_passed_over() {
    let bench = Bench::new(1 << 20);
    write(&bench.open(), 0..3);
    let record = segment::record(0, b"batch 0").unwrap().len() as u64;
    let file = OpenOptions::new().write(true).open(&bench.segments()[0]).unwrap();
    file.write_all_at(b"X", 8 + record + 12).unwrap();
    let log = bench.open();
    assert_eq!(read(&log).0, batches([0, 2]));
}

#[test]
fn a_corrupt_length_costs_the_rest_of_its_file_and_no_more() {
    let bench = Bench::new(400); // files of 50 bytes: two batches each
    write(&bench.open(), 0..6);
    assert_eq!(bench.segments().len(), 3);
    let file = OpenOptions::new().write(true).open(&bench.segments()[1]).unwrap();
    file.write_all_at(&[0xff; 4], 8).unwrap();
    let log = bench.open();
    let (read_now, positions) = read(&log);
    assert_eq!(read_now, batches([0, 1, 4, 5]));
    positions.iter().for_each(Position::done);
    log.truncate().unwrap();
    assert_eq!(bench.segments().len(), 1);
}

#[test]
fn a_full_log_refuses_until_something_is_taken() {
    let bench = Bench::new(400);
    let log = bench.open();
    let mut written = 0;
    while log.append(format!("batch {written}").as_bytes()).is_ok() {
        written += 1;
    }
    assert!(matches!(log.append(b"batch x"), Err(NotWritten::Full)));
    let size: u64 = bench.segments().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(size <= 400, "{size}");
    let (read_now, positions) = read(&log);
    assert_eq!(read_now, batches(0..written));
    positions[..2].iter().for_each(Position::done);
    log.append(b"batch y").unwrap();
}

#[test]
fn a_log_has_one_user() {
    let bench = Bench::new(400);
    let _log = bench.open();
    let config = WalConfig {
        directory: bench.directory.path().to_str().unwrap().to_owned(),
        ..WalConfig::default()
    };
    let error = Log::open(&config, "prometheus_remote_write/a").err().unwrap();
    assert_eq!(error.to_string(), "another process uses it");
    Log::open(&config, "prometheus_remote_write/b").unwrap();
}
