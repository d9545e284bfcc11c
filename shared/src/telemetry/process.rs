//! What the kernel says of this process.
//!
//! Of the Collector's process metrics, `otelcol_process_runtime_heap_alloc_bytes` and
//! `otelcol_process_runtime_total_alloc_bytes` are left out: they are numbers of Go's allocator,
//! and ours keeps none that would mean the same. `otelcol_memory_held_bytes` says what the heap
//! is used for.

use std::fs;
use std::time::{Duration, Instant};

use super::metrics::{Descriptor, Kind};
use crate::metric_set;

/// Ticks in a second of the CPU times under `/proc`: `USER_HZ`, which is 100 wherever Rust runs
/// on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

metric_set! {
    /// Memory of the process.
    pub struct ProcessMetrics [];
    /// Total physical memory (resident set size).
    memory_rss: Gauge = "otelcol_process_memory_rss", "By";
    /// Total bytes of private memory obtained from the operating system, resident or not.
    total_sys_memory: Gauge = "otelcol_process_runtime_total_sys_memory_bytes", "By";
    /// Bytes of telemetry held by queues and buffers.
    held: Gauge = "otelcol_memory_held_bytes", "By";
}

/// Counters that are not whole numbers. The `metrics` crate has none such, so these two have no
/// handle; the page asks `uptime_and_cpu_seconds`.
pub const SECONDS: &[Descriptor] = &[
    Descriptor {
        name: "otelcol_process_uptime",
        kind: Kind::Counter,
        unit: "s",
        labels: &[],
        help: "Uptime of the process.",
        expires: false,
    },
    Descriptor {
        name: "otelcol_process_cpu_seconds",
        kind: Kind::Counter,
        unit: "s",
        labels: &[],
        help: "Total CPU user and system time.",
        expires: false,
    },
];

/// The values of [`SECONDS`]; CPU time is left out where it cannot be read.
pub(super) fn uptime_and_cpu_seconds(started: Instant, now: Instant) -> [Option<f64>; 2] {
    let uptime = now.saturating_duration_since(started).as_secs_f64();
    [Some(uptime), cpu_time().map(|time| time.as_secs_f64())]
}

/// Brings the gauges up to date.
#[allow(clippy::cast_precision_loss, reason = "gauges are doubles; memory is far below 2^53")]
pub(super) fn observe() {
    let metrics = ProcessMetrics::new(&[]);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(rss) = status_bytes(&status, "VmRSS:") {
        metrics.memory_rss.set(rss as f64);
    }
    if let Some(data) = status_bytes(&status, "VmData:") {
        metrics.total_sys_memory.set(data as f64);
    }
    metrics.held.set(super::memory::held_bytes() as f64);
}

/// Resident set size in bytes.
pub fn rss() -> Option<u64> {
    status_bytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Memory of the machine in bytes.
pub fn machine_memory() -> Option<u64> {
    status_bytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// CPU time of all threads so far, user and system.
pub fn cpu_time() -> Option<Duration> {
    cpu_time_of(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Reads user and system time from a line of `/proc/<pid>/stat`.
fn cpu_time_of(stat: &str) -> Option<Duration> {
    // The second field is the command in brackets, which may hold spaces and brackets.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Duration::from_secs_f64((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND))
}

/// The figure behind `key`, which the kernel gives in units of 1024 bytes.
fn status_bytes(status: &str, key: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_a_command_with_brackets() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 123 45 0 0 20 0 3 0 99 1 1";
        assert_eq!(cpu_time_of(stat), Some(Duration::from_millis(1680)));
        assert_eq!(cpu_time_of("7 (a"), None);
    }

    #[test]
    fn sizes_are_given_in_bytes() {
        let status = "Name:\ta\nVmRSS:\t    2048 kB\nVmData:\t   10 kB\n";
        assert_eq!(status_bytes(status, "VmRSS:"), Some(2_097_152));
        assert_eq!(status_bytes(status, "VmSwap:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_time() {
        assert!(rss().unwrap() > 100_000);
        assert!(machine_memory().unwrap() > rss().unwrap());
        assert!(cpu_time().is_some());
    }
}
