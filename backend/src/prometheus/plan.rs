//! Under which names families are exposed.
//!
//! Two metrics of OTLP may have one name in Prometheus: `x` as a counter and `x.total` as a gauge
//! are both `x_total`. Of equal type they are one family; of different types the one whose type is
//! first in [`FamilyKind`] keeps the name and the other has its type behind it: `x_total_gauge`.
//! So it is with names of samples, as a counter `x_count` beside a histogram `x`. Which name a
//! family has depends on what there is, not on what came first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::names::{Charset, escaped_metric};
use super::value::FamilyKind;

/// A family as it is exposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) kind: FamilyKind,
    pub(crate) help: Arc<str>,
    /// The names by which its series are kept.
    pub(crate) members: Vec<Arc<str>>,
}

/// All families in the order of their names.
pub(crate) struct Plan {
    pub(crate) families: Vec<Planned>,
    /// How many have another name than theirs.
    pub(crate) renamed: usize,
}

impl Plan {
    /// Takes families in the order of their names, and the characters that the scraper takes.
    pub(crate) fn new(families: &[(&Arc<str>, FamilyKind, &Arc<str>)], charset: Charset) -> Self {
        let mut planned: BTreeMap<String, Planned> = BTreeMap::new();
        // Which family has samples of a name.
        let mut owners: HashMap<String, String> = HashMap::new();
        let mut renamed = 0;
        for kind in FamilyKind::ALL {
            for (name, _, help) in families.iter().filter(|(_, other, _)| *other == kind) {
                let wanted = match charset {
                    Charset::Legacy => escaped_metric(name),
                    Charset::Utf8 => name.as_ref().into(),
                };
                let exposed = free_name(&wanted, kind, &planned, &owners);
                renamed += usize::from(exposed != wanted);
                for suffix in kind.suffixes() {
                    owners.insert(format!("{exposed}{suffix}"), exposed.clone());
                }
                let family = planned.entry(exposed.clone()).or_insert_with(|| Planned {
                    name: exposed,
                    kind,
                    help: Arc::clone(help),
                    members: Vec::new(),
                });
                family.members.push(Arc::clone(name));
            }
        }
        Self { families: planned.into_values().collect(), renamed }
    }
}

/// A name that no family of another type has samples of.
fn free_name(
    wanted: &str,
    kind: FamilyKind,
    planned: &BTreeMap<String, Planned>,
    owners: &HashMap<String, String>,
) -> String {
    let mut name = wanted.to_owned();
    loop {
        let is_taken = |suffix: &&str| {
            owners.get(&format!("{name}{suffix}")).is_some_and(|owner| {
                *owner != name || planned.get(owner).is_some_and(|family| family.kind != kind)
            })
        };
        if !kind.suffixes().iter().any(is_taken) {
            return name;
        }
        name.push('_');
        name.push_str(kind.name());
    }
}

#[cfg(test)]
mod tests {
    use super::FamilyKind::{Counter, Gauge, Histogram, Summary};
    use super::*;

    #[track_caller]
    fn check(families: &[(&str, FamilyKind)], charset: Charset, expected: &[(&str, &[&str])]) {
        let help: Arc<str> = "".into();
        let owned: Vec<(Arc<str>, FamilyKind)> =
            families.iter().map(|(name, kind)| ((*name).into(), *kind)).collect();
        let families: Vec<_> = owned.iter().map(|(name, kind)| (name, *kind, &help)).collect();
        let plan = Plan::new(&families, charset);
        let found: Vec<(&str, Vec<&str>)> = plan
            .families
            .iter()
            .map(|family| (&*family.name, family.members.iter().map(|name| &**name).collect()))
            .collect();
        let expected: Vec<_> =
            expected.iter().map(|(name, members)| (*name, members.to_vec())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn of_two_types_under_one_name_one_gets_its_type_behind_it() {
        check(
            &[("x_total", Counter), ("x_total", Gauge), ("y", Summary), ("y", Histogram)],
            Charset::Legacy,
            &[
                ("x_total", &["x_total"]),
                ("x_total_gauge", &["x_total"]),
                ("y", &["y"]),
                ("y_summary", &["y"]),
            ],
        );
    }

    #[test]
    fn names_of_samples_do_not_coincide_either() {
        check(
            &[("x", Histogram), ("x_count", Counter), ("x_count_counter", Gauge), ("z_sum", Gauge)],
            Charset::Legacy,
            &[
                ("x", &["x"]),
                ("x_count_counter", &["x_count"]),
                ("x_count_counter_gauge", &["x_count_counter"]),
                ("z_sum", &["z_sum"]),
            ],
        );
    }

    #[test]
    fn names_that_coincide_once_they_are_escaped_are_one_family() {
        let families = [("a.b", Gauge), ("a.c", Counter), ("a_b", Gauge), ("a_c", Gauge)];
        check(
            &families,
            Charset::Legacy,
            &[("a_b", &["a.b", "a_b"]), ("a_c", &["a.c"]), ("a_c_gauge", &["a_c"])],
        );
        let apart =
            [("a.b", &["a.b"][..]), ("a.c", &["a.c"]), ("a_b", &["a_b"]), ("a_c", &["a_c"])];
        check(&families, Charset::Utf8, &apart);
    }
}
