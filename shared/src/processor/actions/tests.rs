use serde_json::{Value, json};

use super::*;
use crate::config::testing::section;
use crate::metadata::testing::tenant;
use crate::wire::text::put_text;
use crate::wire::{Attributes, Writer};

config_struct! {
    /// A section of actions.
    struct Section {
        /// The actions.
        pub actions: Vec<ActionConfig> = Vec::new(),
    }
}

fn actions(json: &Value) -> (Actions, Vec<String>) {
    let (section, problems, _) =
        section::<Section>(&json!({"actions": json}), |section, at, out| {
            validate(&section.actions, &at.key("actions"), out);
        });
    (Actions::new(&section.actions), problems)
}

/// A message with these attributes; numbers and texts.
fn message(attributes: &[(&str, Value)]) -> Vec<u8> {
    let mut writer = Writer::new();
    for (key, value) in attributes {
        match value {
            Value::String(text) => {
                writer.string_attribute(1, key.as_bytes(), text.as_bytes());
            }
            number => writer.int_attribute(1, key.as_bytes(), number.as_i64().unwrap()),
        }
    }
    writer.into_vec()
}

/// What attributes are left, as `key=text`.
#[track_caller]
fn check(json: &Value, before: &[(&str, Value)], after: &[&str]) {
    let (actions, problems) = actions(json);
    assert_eq!(problems, [""; 0]);
    let metadata = tenant("acme");
    let given = actions.given(metadata.as_deref());
    let message = message(before);
    let mut list = AttributeList::default();
    list.read(1, std::iter::once(&message[..]));
    actions.apply(&given, &mut list);
    let mut new = Writer::new();
    list.write(&std::iter::once(&message[..]), &mut new);
    let read = Attributes::new(new.as_slice(), 1).map(|(key, value)| {
        let mut text = [key, b"="].concat();
        put_text(&mut text, value);
        String::from_utf8(text).unwrap()
    });
    assert_eq!(read.collect::<Vec<_>>(), after);
}

#[test]
fn insert_update_and_upsert_differ_in_what_was_there() {
    let before = [("old", json!("x"))];
    check(&json!([{"key": "new", "action": "insert", "value": 7}]), &before, &["old=x", "new=7"]);
    check(&json!([{"key": "old", "action": "insert", "value": 7}]), &before, &["old=x"]);
    check(&json!([{"key": "new", "action": "update", "value": 7}]), &before, &["old=x"]);
    check(&json!([{"key": "old", "action": "update", "value": 7}]), &before, &["old=7"]);
    check(&json!([{"key": "new", "action": "UPSERT", "value": 7}]), &before, &["old=x", "new=7"]);
    check(&json!([{"key": "old", "action": "Upsert", "value": true}]), &before, &["old=true"]);
}

#[test]
fn values_come_from_attributes_and_the_request_or_are_defaults() {
    let before = [("a", json!(5))];
    let set = |rest: Value| {
        let mut action = json!({"key": "b", "action": "upsert"});
        action.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!([action])
    };
    check(&set(json!({"from_attribute": "a"})), &before, &["a=5", "b=5"]);
    check(&set(json!({"from_attribute": "z"})), &before, &["a=5"]);
    let with_default = set(json!({"from_attribute": "z", "default_value": "d"}));
    check(&with_default, &before, &["a=5", "b=d"]);
    check(&set(json!({"from_context": "metadata.X-Tenant"})), &before, &["a=5", "b=acme"]);
    check(&set(json!({"from_context": "x-tenant"})), &before, &["a=5", "b=acme"]);
    check(&set(json!({"from_context": "metadata.other"})), &before, &["a=5"]);
    let with_default = set(json!({"from_context": "auth.username", "default_value": 1.5}));
    check(&with_default, &before, &["a=5", "b=1.5"]);
    check(&set(json!({"default_value": "d"})), &before, &["a=5", "b=d"]);
}

#[test]
fn attributes_are_deleted_and_hashed_by_key_and_by_pattern() {
    let before = [("user.id", json!("1")), ("user.name", json!("ann")), ("other", json!("2"))];
    check(&json!([{"key": "other", "action": "delete"}]), &before, &["user.id=1", "user.name=ann"]);
    check(&json!([{"pattern": "^user\\.", "action": "delete"}]), &before, &["other=2"]);
    check(
        &json!([{"key": "other", "pattern": "id", "action": "delete"}]),
        &before,
        &["user.name=ann"],
    );
    let hash = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
    check(
        &json!([{"pattern": "\\.id$", "action": "hash"}]),
        &before,
        &[&format!("user.id={hash}"), "user.name=ann", "other=2"],
    );
}

#[test]
fn groups_of_a_pattern_become_attributes() {
    let extract = json!([{
        "key": "http.url", "action": "extract",
        "pattern": "^(?P<scheme>https?)://(?P<host>[^/:]+)(:(?P<port>\\d+))?",
    }]);
    let (_, problems) = actions(&extract);
    assert_eq!(problems, ["a::actions::0::pattern: contains at least one unnamed matcher group"]);
    let extract = json!([{
        "key": "http.url", "action": "extract",
        "pattern": "^(?P<scheme>https?)://(?P<host>[^/:]+)(?::(?P<port>\\d+))?",
    }]);
    let before = [("http.url", json!("https://shop.test/cart")), ("host", json!("old"))];
    let after = ["http.url=https://shop.test/cart", "host=shop.test", "scheme=https", "port="];
    check(&extract, &before, &after);
    check(&extract, &[("http.url", json!("ftp://x"))], &["http.url=ftp://x"]);
    check(&extract, &[("http.url", json!(1))], &["http.url=1"]);
}

#[test]
fn actions_are_done_in_order() {
    let json = json!([
        {"key": "id", "action": "convert", "converted_type": "string"},
        {"key": "copy", "action": "insert", "from_attribute": "id"},
        {"key": "copy", "action": "extract", "pattern": "(?P<first>\\d)"},
        {"key": "id", "action": "delete"},
        {"key": "id", "action": "update", "value": "never"},
    ]);
    check(&json, &[("id", json!(42))], &["copy=42", "first=4"]);
}

#[test]
fn everything_that_is_wrong_is_named() {
    let check = |json: Value, expected: &str| {
        let (_, problems) = actions(&json!([json]));
        assert_eq!(problems, [format!("a::actions::0{expected}")], "{json}");
    };
    check(json!({"key": "a"}), ": missing required field \"action\"");
    check(json!({"action": "insert", "value": 1}), ": missing required field \"key\"");
    let sources = "one of \"value\", \"from_attribute\", \"from_context\" and \"default_value\"";
    check(json!({"key": "a", "action": "insert"}), &format!(": {sources} must be specified"));
    check(
        json!({"key": "a", "action": "insert", "value": 1, "from_attribute": "b"}),
        ": only one of \"value\", \"from_attribute\" and \"from_context\" may be specified",
    );
    check(
        json!({"key": "a", "action": "update", "value": 1, "pattern": "x"}),
        "::pattern: action \"update\" does not use it",
    );
    check(
        json!({"key": "a", "action": "delete", "value": 1}),
        "::value: action \"delete\" does not use it",
    );
    check(json!({"action": "hash"}), ": missing required field: \"key\" or \"pattern\"");
    check(
        json!({"key": "a", "action": "extract", "pattern": "b+"}),
        "::pattern: contains no named matcher groups",
    );
    check(json!({"key": "a", "action": "extract"}), ": missing required field \"pattern\"");
    check(json!({"key": "a", "action": "convert"}), ": missing required field \"converted_type\"");
    let known =
        "is not known here, only client.address, metadata.<header>, auth.username and auth.raw";
    for context in ["auth.subject", "auth."] {
        check(
            json!({"key": "a", "action": "insert", "from_context": context}),
            &format!("::from_context: \"{context}\" {known}"),
        );
    }
    let (_, problems) = actions(&json!([]));
    assert_eq!(problems, ["a::actions: at least one action must be specified"]);
}
