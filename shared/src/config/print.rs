//! Writes a configuration back, as YAML or as JSON.

use std::fmt::Write as _;

use super::node::{Data, Node};

/// What stands in place of a secret.
const REDACTED: &str = "[REDACTED]";

/// `node` with the values of keys that hold secrets replaced.
///
/// Secrets are passwords, tokens, keys given inline, URLs of proxies and all header values, by the
/// name of their key: also in sections that no component of this tier reads.
pub fn redacted(node: &Node) -> Node {
    let mut node = node.clone();
    redact(&mut node);
    node
}

fn redact(node: &mut Node) {
    match &mut node.data {
        Data::List(items) => items.iter_mut().for_each(redact),
        Data::Map(entries) => {
            for entry in entries {
                match is_secret(&entry.key) {
                    true => hide(&mut entry.value),
                    false => redact(&mut entry.value),
                }
            }
        }
        _ => {}
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let is_word = |word: &&str| key == *word || key.ends_with(&format!("_{word}"));
    ["headers", "authorization", "inline", "proxy_url"].contains(&key.as_str())
        || ["password", "passphrase", "token", "tokens", "secret", "pem", "api_key"]
            .iter()
            .any(is_word)
}

/// Replaces every scalar below, but keeps the shape and the names of headers.
fn hide(node: &mut Node) {
    match &mut node.data {
        Data::Null => {}
        Data::List(items) => items.iter_mut().for_each(hide),
        Data::Map(entries) => entries
            .iter_mut()
            .filter(|entry| entry.key != "name")
            .for_each(|entry| hide(&mut entry.value)),
        _ => {
            node.data = Data::String(REDACTED.to_owned());
            node.text = None;
        }
    }
}

/// `node` as block-style YAML that reads back as the same values.
pub fn yaml(node: &Node) -> String {
    let mut out = String::new();
    match &node.data {
        Data::Map(entries) if !entries.is_empty() => block(node, 0, &mut out),
        Data::List(items) if !items.is_empty() => block(node, 0, &mut out),
        _ => out = json_line(node) + "\n",
    }
    out
}

/// The lines of a list or map that is not empty, each indented by `depth` steps.
fn block(node: &Node, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match &node.data {
        Data::Map(entries) => {
            for entry in entries {
                write!(out, "{indent}{}:", word(&entry.key)).expect("a string takes any text");
                block_value(&entry.value, depth, out);
            }
        }
        Data::List(items) => {
            for item in items {
                out.push_str(&indent);
                out.push('-');
                block_value(item, depth, out);
            }
        }
        _ => {}
    }
}

/// What stands behind `key:` or `-`, with the line's end.
fn block_value(node: &Node, depth: usize, out: &mut String) {
    match &node.data {
        Data::Null => out.push('\n'),
        Data::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            block(node, depth + 1, out);
        }
        Data::List(items) if !items.is_empty() => {
            out.push('\n');
            block(node, depth + 1, out);
        }
        Data::String(text) => {
            out.push(' ');
            out.push_str(&word(text));
            out.push('\n');
        }
        _ => {
            out.push(' ');
            match &node.text {
                // As it was written, where that reads back the same: `0123`, `0x1F`.
                Some(text) if super::scalar::resolve(text) == node.data => out.push_str(text),
                _ => scalar_into(node, out),
            }
            out.push('\n');
        }
    }
}

fn scalar_into(node: &Node, out: &mut String) {
    match node.data {
        Data::Float(value) => out.push_str(&float(value)),
        _ => json_into(node, None, out),
    }
}

fn float(value: f64) -> String {
    if value.is_nan() {
        ".nan".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { ".inf" } else { "-.inf" }.to_owned()
    } else {
        format!("{value:?}")
    }
}

/// A text as YAML: bare if it reads back as itself, else in double quotes as JSON has them.
pub(crate) fn word(text: &str) -> String {
    let bare = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "/._".contains(c))
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/._-@%+=(), ".contains(c) || c == ':')
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && matches!(super::scalar::resolve(text), Data::String(_));
    match bare {
        true => text.to_owned(),
        false => quoted(text),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `node` as JSON over several lines, keys in their order.
pub fn json(node: &Node) -> String {
    let mut out = String::new();
    json_into(node, Some(0), &mut out);
    out + "\n"
}

/// `node` as JSON in one line, keys in their order.
pub fn json_line(node: &Node) -> String {
    let mut out = String::new();
    json_into(node, None, &mut out);
    out
}

/// Appends `node`; lists and maps take a line for each element if `depth` is given.
fn json_into(node: &Node, depth: Option<usize>, out: &mut String) {
    match &node.data {
        Data::Null => out.push_str("null"),
        Data::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Data::Int(value) => out.push_str(&value.to_string()),
        // JSON has no word for these.
        Data::Float(value) if !value.is_finite() => out.push_str(&quoted(&float(*value))),
        Data::Float(value) => out.push_str(&float(*value)),
        Data::String(text) => out.push_str(&quoted(text)),
        Data::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(index, depth, out);
                json_into(item, depth.map(|depth| depth + 1), out);
            }
            close(']', items.len(), depth, out);
        }
        Data::Map(entries) => {
            out.push('{');
            for (index, entry) in entries.iter().enumerate() {
                separate(index, depth, out);
                out.push_str(&quoted(&entry.key));
                out.push_str(if depth.is_some() { ": " } else { ":" });
                json_into(&entry.value, depth.map(|depth| depth + 1), out);
            }
            close('}', entries.len(), depth, out);
        }
    }
}

fn separate(index: usize, depth: Option<usize>, out: &mut String) {
    if index > 0 {
        out.push(',');
    }
    if let Some(depth) = depth {
        out.push('\n');
        out.push_str(&"  ".repeat(depth + 1));
    }
}

fn close(bracket: char, elements: usize, depth: Option<usize>, out: &mut String) {
    if let Some(depth) = depth
        && elements > 0
    {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
    out.push(bracket);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::parse;

    #[track_caller]
    fn check(text: &str, printed: &str) {
        let node = parse(text, 0).unwrap();
        assert_eq!(yaml(&node), printed);
        let again = parse(printed, 0).unwrap();
        assert_eq!(json_line(&again), json_line(&node), "it reads back as it was");
    }

    #[test]
    fn yaml_reads_back_as_the_same_values() {
        check("{a: {b: [1, {c: 2}], d: {}}, e: }", {
            "a:\n  b:\n    - 1\n    -\n      c: 2\n  d: {}\ne:\n"
        });
        check("x: '1'\ny: 'a: b'\nz: '- c'\ntrue: \"no # comment\"", {
            "x: \"1\"\ny: \"a: b\"\nz: \"- c\"\n\"true\": \"no # comment\"\n"
        });
        check("url: http://a:4317/v1", "url: http://a:4317/v1\n");
        check("[.inf, 1.5, 0x1F, '']", "- .inf\n- 1.5\n- 0x1F\n- \"\"\n");
        check("[]", "[]\n");
    }

    #[test]
    fn json_keeps_the_order_of_keys() {
        let node = parse("{b: [1, .nan], a: {}}", 0).unwrap();
        assert_eq!(json(&node), "{\n  \"b\": [\n    1,\n    \".nan\"\n  ],\n  \"a\": {}\n}\n");
    }

    #[test]
    fn secrets_are_hidden_by_the_names_of_their_keys() {
        let text = "headers: {x-key: abc, n: 1}\nhost: a\ntls: {key_pem: k, key_file: f}\n\
                    auth: {token: t, password: }\nlist: [{headers: [{name: x, value: y}]}]";
        let node = redacted(&parse(text, 0).unwrap());
        assert_eq!(
            json_line(&node),
            r#"{"headers":{"x-key":"[REDACTED]","n":"[REDACTED]"},"host":"a","#.to_owned()
                + r#""tls":{"key_pem":"[REDACTED]","key_file":"f"},"#
                + r#""auth":{"token":"[REDACTED]","password":null},"#
                + r#""list":[{"headers":[{"name":"x","value":"[REDACTED]"}]}]}"#
        );
    }
}
