//! Editors of maps.
//!
//! Of keys that occur twice all are deleted or kept, where the Collector takes the first.

use std::collections::{BTreeMap, BTreeSet};

use super::bytes::Entry;
use super::{Planned, check_int, check_word, edit_map, editor, optional, parameter};
use crate::ottl::compare::MAX_VALUE_DEPTH;
use crate::ottl::error::EvalError;
use crate::ottl::functions::{self, Argument, Call, Function, Kind, Prepared};
use crate::ottl::node::{Env, Node};
use crate::ottl::path::as_text;
use crate::ottl::value::{List, Map, Text, Value};

const TARGET: functions::Parameter = parameter("target", Kind::Target);

pub(super) const EDITORS: &[Function] = &[
    editor("delete_key", &[TARGET, parameter("key", Kind::Text)], |call, env| {
        let key = call.text(1, env)?;
        edit_map(call, env, |entries| {
            Ok(retain(entries, |entry| entry.key.as_bytes() != key.as_bytes()))
        })
    }),
    editor("delete_matching_keys", &[TARGET, parameter("pattern", Kind::Text)], |call, env| {
        let pattern = functions::pattern(call, 1, env)?;
        edit_map(call, env, |entries| {
            Ok(retain(entries, |entry| !pattern.is_match(entry.key.as_bytes())))
        })
    })
    .prepared_by(|arguments| functions::compile_literal(arguments, 1)),
    editor("keep_keys", &[TARGET, parameter("keys", Kind::Many(&Kind::Text))], |call, env| {
        match &call.prepared {
            Prepared::Keys(keys) => edit_map(call, env, |entries| {
                Ok(retain(entries, |entry| keys.contains(entry.key.as_bytes())))
            }),
            _ => {
                let mut keys = BTreeSet::new();
                for key in call.many(1) {
                    keys.insert(functions::text(key.evaluate(env)?)?.into_vec());
                }
                edit_map(call, env, |entries| {
                    Ok(retain(entries, |entry| keys.contains(entry.key.as_bytes())))
                })
            }
        }
    })
    .prepared_by(|arguments| Ok(literal_keys(arguments, 1))),
    editor("keep_matching_keys", &[TARGET, parameter("pattern", Kind::Text)], |call, env| {
        let pattern = functions::pattern(call, 1, env)?;
        edit_map(call, env, |entries| {
            Ok(retain(entries, |entry| pattern.is_match(entry.key.as_bytes())))
        })
    })
    .prepared_by(|arguments| functions::compile_literal(arguments, 1)),
    editor(
        "limit",
        &[
            TARGET,
            parameter("limit", Kind::LiteralInt),
            parameter("priority_keys", Kind::Many(&Kind::LiteralText)),
        ],
        limit,
    )
    .prepared_by(|arguments| {
        let limit = check_int(arguments, 1, 0)?.unwrap_or_default();
        let prepared = literal_keys(arguments, 2);
        match &prepared {
            Prepared::Keys(keys) if i64::try_from(keys.len()).unwrap_or(i64::MAX) > limit => {
                Err((1, "must be at least the number of priority keys".to_owned()))
            }
            _ => Ok(prepared),
        }
    }),
    editor(
        "truncate_all",
        &[TARGET, parameter("limit", Kind::LiteralInt), optional("utf8_safe", Kind::LiteralBool)],
        truncate_all,
    )
    .prepared_by(|arguments| check_int(arguments, 1, 0).map(|_| Prepared::Nothing)),
    editor("stringify_all", &[TARGET], |call, env| {
        edit_map(call, env, |entries| {
            let mut changed = false;
            for entry in entries {
                if !matches!(entry.value, Value::Text(_)) {
                    let text = as_text(entry.value.clone())?;
                    entry.set_value(Value::Text(text));
                    changed = true;
                }
            }
            Ok(changed)
        })
    }),
    editor(
        "merge_maps",
        &[TARGET, parameter("source", Kind::Map), parameter("strategy", Kind::LiteralText)],
        merge_maps,
    )
    .prepared_by(|arguments| check_word(arguments, 2, &["insert", "update", "upsert"])),
    editor(
        "flatten",
        &[
            TARGET,
            optional("prefix", Kind::LiteralText),
            optional("depth", Kind::LiteralInt),
            optional("resolve_conflicts", Kind::LiteralBool),
        ],
        flatten,
    )
    .prepared_by(|arguments| check_int(arguments, 2, 1).map(|_| Prepared::Nothing)),
];

fn retain(entries: &mut Vec<Entry<'_>>, keep: impl Fn(&Entry<'_>) -> bool) -> bool {
    let before = entries.len();
    entries.retain(|entry| keep(entry));
    entries.len() != before
}

/// The keys that an argument lists, if all are known.
fn literal_keys(arguments: &[Argument], index: usize) -> Prepared {
    let Some(Argument::Many(nodes)) = arguments.get(index) else { return Prepared::Nothing };
    let mut keys = BTreeSet::new();
    for node in nodes {
        let Node::Constant(Value::Text(key)) = node else {
            return Prepared::Nothing;
        };
        keys.insert(key.as_bytes().into());
    }
    Prepared::Keys(keys)
}

fn limit<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let limit = usize::try_from(call.int(1, env)?).unwrap_or_default();
    let Prepared::Keys(priority) = &call.prepared else { return Ok(None) };
    edit_map(call, env, |entries| {
        if entries.len() <= limit {
            return Ok(false);
        }
        let is_priority = |entry: &Entry<'_>| priority.contains(entry.key.as_bytes());
        let mut room =
            limit.saturating_sub(entries.iter().filter(|entry| is_priority(entry)).count());
        entries.retain(|entry| {
            if is_priority(entry) {
                return true;
            }
            let fits = room > 0;
            room = room.saturating_sub(1);
            fits
        });
        Ok(true)
    })
}

fn truncate_all<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let limit = usize::try_from(call.int(1, env)?).unwrap_or(usize::MAX);
    let is_utf8_safe = !matches!(call.value(2, env)?, Value::Bool(false));
    edit_map(call, env, |entries| {
        let mut changed = false;
        for entry in entries {
            let Value::Text(text) = &entry.value else { continue };
            let bytes = text.as_bytes();
            if bytes.len() <= limit {
                continue;
            }
            let mut end = limit;
            while is_utf8_safe && end > 0 && bytes.get(end).is_some_and(|byte| byte & 0xc0 == 0x80)
            {
                end -= 1;
            }
            entry.set_value(Value::Text(text.clone().slice(0, end)));
            changed = true;
        }
        Ok(changed)
    })
}

fn merge_maps<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let source = call.map(1, env)?.into_entries();
    let strategy = call.text(2, env)?;
    let (inserts, updates) = match strategy.as_bytes() {
        b"insert" => (true, false),
        b"update" => (false, true),
        _ => (true, true),
    };
    edit_map(call, env, |entries| {
        let mut changed = false;
        for (key, value) in source {
            match entries.iter_mut().find(|entry| entry.key.as_bytes() == key.as_bytes()) {
                Some(entry) if updates => entry.set_value(value),
                None if inserts => entries.push(Entry::new(key, value)),
                _ => continue,
            }
            changed = true;
        }
        Ok(changed)
    })
}

fn flatten<'a>(call: &'a Call, env: &Env<'a, '_>) -> Planned {
    let prefix = match call.value(1, env)? {
        Value::Text(text) => text.into_vec(),
        _ => Vec::new(),
    };
    let depth = match call.value(2, env)? {
        Value::Int(depth) => u32::try_from(depth).unwrap_or(u32::MAX),
        _ => u32::MAX,
    };
    let resolves = matches!(call.value(3, env)?, Value::Bool(true));
    edit_map(call, env, |entries| {
        let is_flat = |entry: &Entry<'_>| !matches!(entry.value, Value::Map(_) | Value::List(_));
        if prefix.is_empty() && entries.iter().all(is_flat) {
            return Ok(false);
        }
        let mut flat = Flat { entries: Vec::new(), conflicts: BTreeMap::new(), depth, resolves };
        for entry in entries.drain(..) {
            let key = joined(&prefix, entry.key.as_bytes());
            flat.add(key, entry.value, 0)?;
        }
        *entries = flat.entries;
        Ok(true)
    })
}

/// A map without maps and lists in it, as it is built.
struct Flat<'a> {
    entries: Vec<Entry<'a>>,
    /// How often a key came that was there already.
    conflicts: BTreeMap<Vec<u8>, u64>,
    /// Up to where maps and lists are taken apart.
    depth: u32,
    /// Whether a key that is there already gets a number; else the later value wins.
    resolves: bool,
}

impl<'a> Flat<'a> {
    fn add(&mut self, key: Vec<u8>, value: Value<'a>, level: u32) -> Result<(), EvalError> {
        if level > MAX_VALUE_DEPTH {
            return Err(EvalError::fixed("the value is nested too deep"));
        }
        match value {
            Value::Map(map) if level < self.depth => self.add_map(&key, map, level),
            Value::List(list) if level < self.depth => self.add_list(&key, list, level),
            value => {
                self.put(key, value);
                Ok(())
            }
        }
    }

    fn add_map(&mut self, key: &[u8], map: Map<'a>, level: u32) -> Result<(), EvalError> {
        for (inner, value) in map.into_entries() {
            self.add(joined(key, inner.as_bytes()), value, level + 1)?;
        }
        Ok(())
    }

    /// With conflicts resolved, the plain items of a list all have its key, and so a number.
    fn add_list(&mut self, key: &[u8], list: List<'a>, level: u32) -> Result<(), EvalError> {
        for (index, item) in list.into_items().into_iter().enumerate() {
            let numbered = joined(key, index.to_string().as_bytes());
            match item {
                Value::Map(_) | Value::List(_) if level + 1 < self.depth => {
                    self.add(numbered, item, level + 1)?;
                }
                item if self.resolves => self.put(key.to_vec(), item),
                item => self.put(numbered, item),
            }
        }
        Ok(())
    }

    fn put(&mut self, key: Vec<u8>, value: Value<'a>) {
        let old = self.entries.iter_mut().find(|entry| entry.key.as_bytes() == key);
        match old {
            None => {
                if self.resolves {
                    self.conflicts.insert(key.clone(), 0);
                }
                self.entries.push(Entry::new(Text::Owned(key), value));
            }
            Some(entry) if !self.resolves => entry.set_value(value),
            Some(_) => {
                let count = self.conflicts.entry(key.clone()).or_default();
                let numbered = joined(&key, count.to_string().as_bytes());
                *count += 1;
                match self.entries.iter_mut().find(|entry| entry.key.as_bytes() == numbered) {
                    Some(entry) => entry.set_value(value),
                    None => self.entries.push(Entry::new(Text::Owned(numbered), value)),
                }
            }
        }
    }
}

fn joined(prefix: &[u8], key: &[u8]) -> Vec<u8> {
    match prefix.is_empty() {
        true => key.to_vec(),
        false => [prefix, b".", key].concat(),
    }
}
