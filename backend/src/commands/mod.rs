//! Subcommands of this tier: `replay`.

mod replay;

use shared::service::TierCommand;

/// The subcommands of this tier.
pub(crate) fn all() -> Vec<TierCommand> {
    vec![TierCommand { define: replay::define, run: replay::run }]
}
