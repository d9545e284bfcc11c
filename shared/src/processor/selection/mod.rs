//! Which records are meant: `include` and `exclude`.
//!
//! A record is meant if it matches `include`, where there is one, and not `exclude`. What a resource
//! and a scope decide is decided once for all records below them.
//!
//! Source: contrib internal/filter/{filterconfig,filtermatcher,filterspan,filterlog,filtermetric}.

mod config;
mod matcher;

pub(super) use self::config::{
    AttributeConfig, MatchConfig, MatchType, RegexpConfig, Severity, SeverityConfig,
};
use self::matcher::Matcher;
use crate::service::BuildError;
use crate::wire::{ResourceEntry, ScopeEntry, Signal, Visit};

/// Tells which records are meant.
#[derive(Debug)]
pub(in crate::processor) struct Selection {
    include: Option<Matcher>,
    exclude: Option<Matcher>,
}

/// What the resource and the scope say.
#[derive(Debug, Default)]
pub(in crate::processor) struct Place {
    include: Agreement,
    exclude: Agreement,
}

#[derive(Debug, Default, Clone, Copy)]
struct Agreement {
    resource: bool,
    scope: bool,
}

impl Selection {
    /// Of sections that were found valid, for records of `signal`.
    pub(in crate::processor) fn new(
        include: Option<&MatchConfig>,
        exclude: Option<&MatchConfig>,
        signal: Signal,
    ) -> Result<Self, BuildError> {
        let matcher = |key: &str, config: Option<&MatchConfig>| {
            let Some(config) = config else { return Ok(None) };
            config
                .check_signal(signal)
                .map_err(|problem| BuildError::new(format!("{key}: {problem}")))?;
            Ok(Some(Matcher::new(config)))
        };
        Ok(Self { include: matcher("include", include)?, exclude: matcher("exclude", exclude)? })
    }

    pub(in crate::processor) fn enter_resource(
        &self,
        entry: ResourceEntry<'_>,
        place: &mut Place,
    ) -> Visit {
        let agrees = |matcher: &Option<Matcher>| matcher.as_ref().map(|it| it.has_resource(entry));
        place.include.resource = agrees(&self.include).unwrap_or(true);
        place.exclude.resource = agrees(&self.exclude).unwrap_or(false);
        if place.include.resource { Visit::Into } else { Visit::Over }
    }

    pub(in crate::processor) fn enter_scope(
        &self,
        scope: ScopeEntry<'_>,
        place: &mut Place,
    ) -> Visit {
        let agrees = |matcher: &Option<Matcher>| matcher.as_ref().map(|it| it.has_scope(scope));
        place.include.scope = agrees(&self.include).unwrap_or(true);
        place.exclude.scope = agrees(&self.exclude).unwrap_or(false);
        if place.include.scope { Visit::Into } else { Visit::Over }
    }

    /// Whether a record is meant that stands in a place that `include` agrees to.
    pub(in crate::processor) fn has(&self, record: &[u8], signal: Signal, place: &Place) -> bool {
        if let Some(include) = &self.include
            && !include.has_record(record, signal)
        {
            return false;
        }
        let is_excluded = place.exclude.resource && place.exclude.scope;
        let exclude = self.exclude.as_ref().filter(|_| is_excluded);
        !exclude.is_some_and(|exclude| exclude.has_record(record, signal))
    }
}
