//! CPU time of processes and threads, by the clocks that the kernel keeps for each.
//!
//! These clocks count nanoseconds, and of a process the threads that have ended too;
//! `/proc/PID/stat` counts hundredths of a second.

use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use crate::testbed::TestbedError;

/// Linux gives out smaller process ids than this.
const MAX_PID: u32 = 1 << 22;

/// What all threads of a process have used so far, user and system time.
///
/// # Errors
/// When there is no such process.
pub fn of_process(pid: u32) -> Result<Duration, TestbedError> {
    let failed =
        |error| TestbedError::new(format!("cannot read the CPU time of process {pid}: {error}"));
    // Of a larger number the C library would make a clock of another process.
    if pid >= MAX_PID {
        return Err(failed(nix::Error::ESRCH));
    }
    let pid = Pid::from_raw(pid.cast_signed());
    let now = clock_getcpuclockid(pid).and_then(ClockId::now).map_err(failed)?;
    Ok(now.into())
}

/// What the calling thread has used so far, user and system time.
///
/// # Errors
/// When the kernel keeps no such clock.
pub fn of_thread() -> Result<Duration, TestbedError> {
    let now = ClockId::CLOCK_THREAD_CPUTIME_ID.now().map_err(|error| {
        TestbedError::new(format!("cannot read the CPU time of a thread: {error}"))
    })?;
    Ok(now.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_uses_no_more_than_its_process() {
        let before = of_process(std::process::id()).unwrap();
        let thread = of_thread().unwrap();
        assert!(std::hint::black_box((0..100_000_u64).sum::<u64>()) > 0);
        let used = of_thread().unwrap().saturating_sub(thread);
        let all = of_process(std::process::id()).unwrap().saturating_sub(before);
        assert!(used > Duration::ZERO && used <= all, "{used:?} of {all:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = of_process(u32::MAX).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the CPU time of process 4294967295: "), "{error}");
    }
}
