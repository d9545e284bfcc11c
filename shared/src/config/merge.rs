//! Lays one source of the configuration over another.

use super::node::{Data, Entry, Node};

/// `over` on top of `base`: maps are merged, everything else replaces, and a null wipes.
pub(super) fn merge(base: &mut Node, over: Node) {
    match (&mut base.data, over.data) {
        (Data::Map(entries), Data::Map(more)) => {
            for entry in more {
                match entries.iter_mut().find(|known| known.key == entry.key) {
                    Some(known) => merge_entry(known, entry),
                    None => entries.push(entry),
                }
            }
        }
        (_, data) => *base = Node { data, ..over },
    }
}

/// The key's place is the one to blame: where its value was set last.
fn merge_entry(known: &mut Entry, over: Entry) {
    let both_maps = matches!((&known.value.data, &over.value.data), (Data::Map(_), Data::Map(_)));
    if !both_maps {
        known.place = over.place;
    }
    merge(&mut known.value, over.value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{print, yaml};

    #[track_caller]
    fn check(base: &str, over: &str, merged: &str) {
        let mut node = yaml::parse(base, 0).unwrap();
        merge(&mut node, yaml::parse(over, 1).unwrap());
        assert_eq!(print::json_line(&node), merged);
    }

    #[test]
    fn maps_merge_and_everything_else_replaces() {
        check("a: {x: 1, y: 2}", "a: {y: 3, z: 4}", r#"{"a":{"x":1,"y":3,"z":4}}"#);
        check("a: [1, 2]", "a: [3]", r#"{"a":[3]}"#);
        check("a: 1", "a: {b: 2}", r#"{"a":{"b":2}}"#);
    }

    #[test]
    fn a_later_null_wipes_and_a_later_empty_map_keeps() {
        check("a: {x: 1}", "a:", r#"{"a":null}"#);
        check("a: {x: 1}", "a: {}", r#"{"a":{"x":1}}"#);
        check("a:", "a: {x: 1}", r#"{"a":{"x":1}}"#);
    }

    #[test]
    fn values_keep_the_place_where_they_were_set_last() {
        let mut node = yaml::parse("a:\n  x: 1\n  y: 2\n", 0).unwrap();
        merge(&mut node, yaml::parse("\n\n\na:\n  y: 3\n", 1).unwrap());
        let a = &node.entries()[0];
        let places: Vec<_> = a.value.entries().iter().map(|entry| entry.place).collect();
        assert_eq!((a.place.source, a.place.line), (0, 1));
        assert_eq!((places[0].source, places[0].line), (0, 2));
        assert_eq!((places[1].source, places[1].line), (1, 5));
    }
}
