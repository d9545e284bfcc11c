//! The async runtime that the components run in.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Threads for what must block: files. Of the data path only the `file` exporter needs them,
/// one for each file at a time.
const MAX_BLOCKING_THREADS: usize = 16;

/// CPUs that this process may use: its affinity and its control group's quota (v1 or v2), rounded
/// down, at least one.
///
/// More workers than that would be throttled together at the end of each quota period.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A runtime with a worker for each of [`cpus`].
///
/// Also a single worker gets the multi-thread scheduler: it is the one that all tests and larger
/// machines use, its atomics are cheap when nobody contends, and the thread that waits for signals
/// is not the one that works, so a second signal is seen whatever the worker does.
///
/// # Errors
/// When the system gives no threads or no epoll.
pub fn start() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(cpus())
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .thread_name("worker")
        .enable_all()
        .build()
}
