//! Which cores a process may run on.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::TestbedError;

/// Some of this machine's cores, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cores(CpuSet);

const THIS_THREAD: Pid = Pid::from_raw(0);

impl Cores {
    /// Those that this thread may use now.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn available() -> Result<Self, TestbedError> {
        sched_getaffinity(THIS_THREAD).map(Self).map_err(failed)
    }

    /// Exactly these, by their numbers.
    ///
    /// # Errors
    /// When there are none, or a number is too large.
    pub fn only(numbers: &[usize]) -> Result<Self, TestbedError> {
        let mut cores = CpuSet::new();
        for number in numbers {
            cores.set(*number).map_err(failed)?;
        }
        match numbers.is_empty() {
            true => Err(TestbedError::new("a process needs at least one core")),
            false => Ok(Self(cores)),
        }
    }

    /// Their numbers, ascending.
    pub fn numbers(self) -> Vec<usize> {
        (0..CpuSet::count()).filter(|core| self.0.is_set(*core).unwrap_or(false)).collect()
    }

    /// Runs `spawn` on these cores; a child that it starts stays there.
    ///
    /// # Errors
    /// Of `spawn`, or when this process may not use these cores.
    pub fn run<T>(self, spawn: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
        let before = sched_getaffinity(THIS_THREAD)?;
        sched_setaffinity(THIS_THREAD, &self.0)?;
        let spawned = spawn();
        sched_setaffinity(THIS_THREAD, &before)?;
        spawned
    }

    /// Moves the calling thread to these cores; threads that it starts follow.
    ///
    /// # Errors
    /// When this process may not use these cores.
    pub fn move_this_thread(self) -> Result<(), TestbedError> {
        sched_setaffinity(THIS_THREAD, &self.0).map_err(failed)
    }

    /// Moves every thread of this process to these cores; those that are yet to come follow.
    ///
    /// # Errors
    /// When this process may not use these cores.
    pub fn move_this_process(self) -> Result<(), TestbedError> {
        let tasks = std::fs::read_dir("/proc/self/task")
            .map_err(|error| TestbedError::new(format!("cannot list threads: {error}")))?;
        for task in tasks.flatten() {
            let Some(id) = task.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            match sched_setaffinity(Pid::from_raw(id), &self.0) {
                // A thread that ended meanwhile needs no core.
                Ok(()) | Err(nix::Error::ESRCH) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

fn failed(error: nix::Error) -> TestbedError {
    TestbedError::new(format!("cannot choose cores: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_known_by_their_numbers() {
        assert_eq!(Cores::only(&[2, 0]).unwrap().numbers(), [0, 2]);
        assert!(Cores::only(&[]).is_err());
    }

    #[test]
    fn what_is_run_on_a_core_runs_there_and_the_thread_comes_back() {
        let before = Cores::available().unwrap();
        let first = Cores::only(&before.numbers()[..1]).unwrap();
        let during = first.run(|| Ok(Cores::available().unwrap())).unwrap();
        assert_eq!((during, Cores::available().unwrap()), (first, before));
    }
}
