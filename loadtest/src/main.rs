//! `loadtest`: shows, loads and measures both tiers.

use std::process::ExitCode;

/// The same allocator as in the tiers.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    loadtest::cli::main().await
}
