//! What a process and its descendants use, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use super::cpu;
use crate::testbed::TestbedError;

/// Linux counts processes' times in hundredths of a second, whatever its own tick is.
const TICK: Duration = Duration::from_millis(10);

/// The roots, and every process below them.
pub(super) fn descendants(roots: &[u32]) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid
            && let Some(stat) = Stat::of(pid)
        {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.get(pid).into_iter().flatten().copied());
        next += 1;
    }
    found
}

/// What was used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// User and system time, of ended threads and waited-for children too.
    cpu: Duration,
    /// The two apart, in coarser steps.
    user: Duration,
    system: Duration,
    voluntary: u64,
    involuntary: u64,
}

/// What was used between two looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) user: Duration,
    pub(super) system: Duration,
    pub(super) voluntary: u64,
    pub(super) involuntary: u64,
}

impl Usage {
    /// Of `roots` and everything below them.
    ///
    /// # Errors
    /// When a root has ended.
    pub(super) fn of(roots: &[u32]) -> Result<Self, TestbedError> {
        let mut usage = Self::default();
        for pid in descendants(roots) {
            // A child may end at any moment; then its parent has its time.
            let (cpu, stat) = match (cpu::of_process(pid), Stat::of(pid)) {
                (Ok(cpu), Some(stat)) => (cpu, stat),
                _ if !roots.contains(&pid) => continue,
                (Err(error), _) => return Err(error),
                (_, None) => return Err(TestbedError::new(format!("process {pid} has ended"))),
            };
            usage.cpu += cpu + stat.children;
            usage.user += stat.user;
            usage.system += stat.system;
            let (voluntary, involuntary) = switches(pid);
            usage.voluntary += voluntary;
            usage.involuntary += involuntary;
        }
        Ok(usage)
    }

    /// What was used since `before`.
    ///
    /// The sum is exact; its parts are as those of the coarser clock.
    pub(super) fn since(self, before: Self) -> Used {
        let cpu = self.cpu.saturating_sub(before.cpu);
        let user = self.user.saturating_sub(before.user);
        let system = self.system.saturating_sub(before.system);
        let share = user.as_secs_f64() / (user + system).as_secs_f64().max(1e-9);
        let user = cpu.mul_f64(share.clamp(0.0, 1.0));
        Used {
            user,
            system: cpu.saturating_sub(user),
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
        }
    }
}

/// Fields of `/proc/PID/stat`.
struct Stat {
    parent: u32,
    user: Duration,
    system: Duration,
    /// Both, of children that were waited for.
    children: Duration,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Fields 4 and 14 to 17; the second field may hold spaces and parentheses.
    fn parse(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks = |field: usize| Some(TICK * fields.get(field - 3)?.parse::<u32>().ok()?);
        let (user, system) = (ticks(14)?, ticks(15)?);
        let (child_user, child_system) = (ticks(16)?, ticks(17)?);
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            user: user + child_user,
            system: system + child_system,
            children: child_user + child_system,
        })
    }
}

/// Context switches of all threads, voluntary and not.
fn switches(pid: u32) -> (u64, u64) {
    let mut sum = (0, 0);
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        sum.0 += number(&status, "voluntary_ctxt_switches:");
        sum.1 += number(&status, "nonvoluntary_ctxt_switches:");
    }
    sum
}

/// Resident memory of processes, in bytes; of those that have ended none.
pub(super) fn resident(pids: &[u32]) -> u64 {
    sum_of(pids, "VmRSS:")
}

/// The most resident memory that each of them had since it was last reset, in bytes.
pub(super) fn peak(pids: &[u32]) -> u64 {
    sum_of(pids, "VmHWM:")
}

/// Lets the peaks begin anew at what is resident now.
pub(super) fn reset_peak(pids: &[u32]) {
    for pid in pids {
        // One that has ended has no peak.
        drop(crate::testbed::usage::Usage::reset_peak(*pid));
    }
}

fn sum_of(pids: &[u32], key: &str) -> u64 {
    let of = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    pids.iter().map(|pid| number(&of(pid), key) * 1024).sum()
}

fn number(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Time of all cores so far, and how much of it the host took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Machine {
    all: u64,
    stolen: u64,
}

impl Machine {
    /// Now; nothing if the kernel does not say.
    pub(super) fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// `cpu user nice system idle iowait irq softirq steal …`; what guests used is in `user`.
    fn parse(stat: &str) -> Self {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
        let ticks: Vec<u64> =
            line.split_whitespace().take(8).map(|field| field.parse().unwrap_or(0)).collect();
        Self { all: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }

    /// The share that was taken away since `before`, in percent.
    pub(super) fn stolen_since(self, before: Self) -> f64 {
        let all = super::spread::real(self.all.saturating_sub(before.all));
        super::spread::real(self.stolen.saturating_sub(before.stolen)) * 100.0 / all.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_ended_children_count() {
        let stat = "42 (a) b) S 7 42 42 0 -1 4194304 100 0 0 0 250 50 30 20 20 0 3 0 100";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!(stat.parent, 7);
        assert_eq!((stat.user, stat.system), (TICK * 280, TICK * 70));
        assert_eq!(stat.children, TICK * 50);
    }

    #[test]
    fn parts_add_up_to_the_exact_sum() {
        let before = Usage::default();
        let after = Usage {
            cpu: Duration::from_micros(123_456),
            user: TICK * 9,
            system: TICK * 3,
            ..before
        };
        let used = after.since(before);
        assert_eq!(used.user + used.system, Duration::from_micros(123_456));
        assert_eq!(used.user, Duration::from_micros(92_592));
    }

    #[test]
    fn a_child_is_found_below_this_process() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = descendants(&[std::process::id()]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()) && found[0] == std::process::id());
    }

    #[test]
    fn steal_is_a_share_of_all_time() {
        let before = Machine::parse("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1");
        let after = Machine::parse("cpu  150 0 100 840 0 0 0 10 0 0\ncpu0 1");
        assert!((after.stolen_since(before) - 10.0).abs() < 1e-9);
    }
}
