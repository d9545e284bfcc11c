//! What a process uses, from `/proc`.

use std::time::Duration;

use super::TestbedError;

/// CPU time and memory of a process so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time of all threads, ended ones included; in steps of 10 ms.
    pub cpu: Duration,
    /// Resident memory now, in bytes.
    pub rss: u64,
    /// The most resident memory it ever had, in bytes.
    pub peak_rss: u64,
}

/// Linux counts processes' times in hundredths of a second, whatever its own tick is.
const TICK: Duration = Duration::from_millis(10);

impl Usage {
    /// What `pid` has used.
    ///
    /// # Errors
    /// When there is no such process, or no `/proc`.
    pub fn of(pid: u32) -> Result<Self, TestbedError> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::read_to_string(&path)
                .map_err(|error| TestbedError::new(format!("cannot read {path}: {error}")))
        };
        let stat = read("stat")?;
        let ticks = cpu_ticks(&stat)
            .ok_or_else(|| TestbedError::new(format!("/proc/{pid}/stat has another format")))?;
        let status = read("status")?;
        Ok(Self {
            cpu: TICK * ticks,
            rss: kibibytes(&status, "VmRSS:") * 1024,
            peak_rss: kibibytes(&status, "VmHWM:") * 1024,
        })
    }

    /// Lets the peak begin anew at what is resident now.
    ///
    /// # Errors
    /// When the process is not ours.
    pub fn reset_peak(pid: u32) -> Result<(), TestbedError> {
        let path = format!("/proc/{pid}/clear_refs");
        std::fs::write(&path, "5")
            .map_err(|error| TestbedError::new(format!("cannot write {path}: {error}")))
    }
}

/// The sum of fields 14 and 15; the second field may hold spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11).map(str::parse::<u32>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

fn kibibytes(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 100";
        assert_eq!(cpu_ticks(stat), Some(300));
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss > 0 && usage.peak_rss >= usage.rss);
    }
}
