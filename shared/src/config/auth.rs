//! `auth`: which extension signs or checks requests. Source: collector config/configauth.

use super::decode::Section;
use super::problems::{Path, Problems};
use crate::auth::Side;
use crate::config_struct;

config_struct! {
    /// `auth`.
    #[derive(PartialEq)]
    pub struct AuthConfig {
        /// Id of the extension.
        pub authenticator: String = String::new(),
    }
}

impl Section<AuthConfig> {
    /// The id of the extension that authenticates, if one is to.
    pub fn authenticator(&self) -> Option<&str> {
        self.as_ref().map(|auth| auth.authenticator.as_str())
    }

    /// Reports what is wrong with an `auth` that stands at `at`; whether its extension can do
    /// this side's work is looked at when all sections are read.
    pub fn validate(&self, at: &Path<'_>, problems: &mut Problems, side: Side) {
        if let Some(id) = self.authenticator() {
            problems.refer(&at.key("authenticator"), id, side);
        }
    }
}
