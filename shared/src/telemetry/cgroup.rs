//! What the control group says: memory and CPU that the process may use, and memory it uses.
//!
//! Reads version 2 and version 1 at the places where Linux and container runtimes mount them.
//! Every figure is `None` where there is no control group, no limit, or no Linux.

use std::fs;
use std::path::{Path, PathBuf};

use crate::metric_set;

/// Where the control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// What of the memory in a control group is used, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// Everything that is charged, file cache included.
    pub usage: u64,
    /// Anonymous memory.
    pub rss: u64,
    /// Usage without the file cache that can be given up at once; what the OOM killer looks at.
    pub working_set: u64,
}

/// The memory limit of the process's control group in bytes, the tightest of its ancestors
/// included.
pub fn memory_limit() -> Option<u64> {
    Groups::of_process().memory_limit()
}

/// Memory used in the process's control group.
pub fn memory_use() -> Option<MemoryUse> {
    Groups::of_process().memory_use()
}

/// How many CPUs' worth of time the process's control group gets.
pub fn cpu_quota() -> Option<f64> {
    Groups::of_process().cpu_quota()
}

metric_set! {
    /// Memory of the control group.
    pub struct CgroupMetrics [];
    /// Memory charged to the control group, file cache included.
    usage: Gauge = "otelcol_cgroup_memory_usage_bytes", "By";
    /// Anonymous memory of the control group.
    rss: Gauge = "otelcol_cgroup_memory_rss_bytes", "By";
    /// Memory of the control group without the file cache that can be given up at once.
    working_set: Gauge = "otelcol_cgroup_memory_working_set_bytes", "By";
}

metric_set! {
    /// Limit of the control group; exists only where there is one.
    pub struct CgroupLimitMetrics [];
    /// Memory limit of the control group.
    limit: Gauge = "otelcol_cgroup_memory_limit_bytes", "By";
}

/// Brings the gauges up to date.
#[allow(clippy::cast_precision_loss, reason = "gauges are doubles; memory is far below 2^53")]
pub(super) fn observe() {
    if let Some(memory) = memory_use() {
        let metrics = CgroupMetrics::new(&[]);
        metrics.usage.set(memory.usage as f64);
        metrics.rss.set(memory.rss as f64);
        metrics.working_set.set(memory.working_set as f64);
    }
    if let Some(limit) = memory_limit() {
        CgroupLimitMetrics::new(&[]).limit.set(limit as f64);
    }
}

/// The directories of one process's control groups.
struct Groups {
    memory: Option<Group>,
    cpu: Option<Group>,
}

/// One control group: its directory, and the mount above which there is nothing.
struct Group {
    version: Version,
    mount: PathBuf,
    directory: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Groups {
    fn of_process() -> Self {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::find(Path::new(MOUNT), &membership)
    }

    /// Finds the groups from the text of `/proc/<pid>/cgroup`.
    fn find(mount: &Path, membership: &str) -> Self {
        let find = |controller: &str| {
            let mut second = None;
            for line in membership.lines() {
                let mut parts = line.splitn(3, ':');
                let (Some(_), Some(controllers), Some(path)) =
                    (parts.next(), parts.next(), parts.next())
                else {
                    continue;
                };
                if controllers.is_empty() {
                    second = Some(path);
                } else if controllers.split(',').any(|name| name == controller) {
                    return Group::at(Version::One, mount.join(controller), path);
                }
            }
            Group::at(Version::Two, mount.to_owned(), second?)
        };
        Self { memory: find("memory"), cpu: find("cpu") }
    }

    fn memory_limit(&self) -> Option<u64> {
        let group = self.memory.as_ref()?;
        match group.version {
            Version::Two => group.ancestors().filter_map(|at| number(&at, "memory.max")).min(),
            Version::One => {
                let limit = entry(&group.directory, "memory.stat", "hierarchical_memory_limit")
                    .or_else(|| number(&group.directory, "memory.limit_in_bytes"))?;
                // "No limit" is the largest multiple of the page size that fits.
                (limit < i64::MAX as u64 / 2).then_some(limit)
            }
        }
    }

    fn memory_use(&self) -> Option<MemoryUse> {
        let group = self.memory.as_ref()?;
        let at = &group.directory;
        let (usage, rss, inactive_file) = match group.version {
            Version::Two => ("memory.current", "anon", "inactive_file"),
            Version::One => ("memory.usage_in_bytes", "total_rss", "total_inactive_file"),
        };
        let usage = number(at, usage)?;
        let inactive_file = entry(at, "memory.stat", inactive_file).unwrap_or(0);
        Some(MemoryUse {
            usage,
            rss: entry(at, "memory.stat", rss)?,
            working_set: usage.saturating_sub(inactive_file),
        })
    }

    fn cpu_quota(&self) -> Option<f64> {
        let group = self.cpu.as_ref()?;
        group
            .ancestors()
            .filter_map(|at| match group.version {
                Version::Two => {
                    let text = fs::read_to_string(at.join("cpu.max")).ok()?;
                    let (quota, period) = text.trim().split_once(' ')?;
                    ratio(quota, period)
                }
                Version::One => {
                    let quota = fs::read_to_string(at.join("cpu.cfs_quota_us")).ok()?;
                    let period = fs::read_to_string(at.join("cpu.cfs_period_us")).ok()?;
                    ratio(quota.trim(), period.trim())
                }
            })
            .min_by(f64::total_cmp)
    }
}

impl Group {
    /// The group `path` below `mount`. Within a container the mount often shows the group itself
    /// while `path` is told as the host sees it; then the mount is what there is.
    fn at(version: Version, mount: PathBuf, path: &str) -> Option<Self> {
        let inner = mount.join(path.trim_start_matches('/'));
        let directory = match inner.is_dir() {
            true => inner,
            false => mount.clone(),
        };
        directory.is_dir().then_some(Self { version, mount, directory })
    }

    /// The group's directory and those above it, up to the mount.
    fn ancestors(&self) -> impl Iterator<Item = PathBuf> {
        self.directory
            .ancestors()
            .take_while(|at| at.starts_with(&self.mount))
            .map(Path::to_path_buf)
    }
}

/// The file's number; `None` for "max", for a negative one and for no file.
fn number(directory: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
}

/// The number behind `key` in a file of such lines.
fn entry(directory: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(directory.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mount with these files, and what is found in it for a process of this membership.
    fn groups(files: &[(&str, &str)], membership: &str) -> (tempfile::TempDir, Groups) {
        let mount = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = mount.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let groups = Groups::find(mount.path(), membership);
        (mount, groups)
    }

    #[test]
    fn version_2_takes_the_tightest_limit_on_the_way_up() {
        let files = [
            ("pods/memory.max", "1000\n"),
            ("pods/a/memory.max", "max\n"),
            ("pods/a/memory.current", "700\n"),
            ("pods/a/memory.stat", "anon 400\nfile 300\ninactive_file 100\n"),
            ("pods/cpu.max", "150000 100000\n"),
            ("pods/a/cpu.max", "max 100000\n"),
        ];
        let (_mount, groups) = groups(&files, "0::/pods/a\n");
        assert_eq!(groups.memory_limit(), Some(1000));
        let memory = MemoryUse { usage: 700, rss: 400, working_set: 600 };
        assert_eq!(groups.memory_use(), Some(memory));
        assert_eq!(groups.cpu_quota(), Some(1.5));
    }

    #[test]
    fn version_1_is_read_from_its_controllers() {
        let stat = "total_rss 30\ntotal_inactive_file 50\nhierarchical_memory_limit 4096\n";
        let files = [
            ("memory/a/memory.usage_in_bytes", "90\n"),
            ("memory/a/memory.stat", stat),
            ("cpu/a/cpu.cfs_quota_us", "50000\n"),
            ("cpu/a/cpu.cfs_period_us", "100000\n"),
        ];
        let (_mount, groups) = groups(&files, "4:memory:/a\n3:cpu,cpuacct:/a\n0::/\n");
        assert_eq!(groups.memory_limit(), Some(4096));
        let memory = MemoryUse { usage: 90, rss: 30, working_set: 40 };
        assert_eq!(groups.memory_use(), Some(memory));
        assert_eq!(groups.cpu_quota(), Some(0.5));
    }

    #[test]
    fn no_limit_is_none() {
        let stat = "hierarchical_memory_limit 9223372036854771712\n";
        let files = [
            ("memory/memory.stat", stat),
            ("cpu/cpu.cfs_quota_us", "-1\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
        ];
        let (_mount, first) = groups(&files, "4:memory:/\n3:cpu:/\n");
        assert_eq!((first.memory_limit(), first.cpu_quota()), (None, None));
        let (_mount, second) = groups(&[("memory.max", "max\n")], "0::/\n");
        assert_eq!((second.memory_limit(), second.cpu_quota()), (None, None));
    }

    #[test]
    fn a_path_as_the_host_sees_it_falls_back_to_the_mount() {
        let (_mount, groups) = groups(&[("memory.max", "5000\n")], "0::/docker/abc\n");
        assert_eq!(groups.memory_limit(), Some(5000));
    }
}
