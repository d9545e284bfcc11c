//! The detector `env`: what the user says in a variable.
//!
//! Source: contrib `resourcedetectionprocessor/internal/env/env.go`.

use super::detect::Detected;
use crate::config::World;
use crate::processor::actions::text;

/// The variable, and the name it had before.
const VARIABLES: [&str; 2] = ["OTEL_RESOURCE_ATTRIBUTES", "OTEL_RESOURCE"];
/// Most bytes of a key or a value as it is written.
const MAX_TEXT: usize = 256;

/// The attributes that the variable names: `key=value,key=value`, values percent-encoded.
pub(super) fn detect(
    world: &dyn World,
    allowlist: Option<&[String]>,
) -> Result<Vec<Detected>, String> {
    let written = VARIABLES.into_iter().find_map(|name| {
        world.variable(name).filter(|written| !written.trim().is_empty()).map(|text| (name, text))
    });
    let Some((name, written)) = written else { return Ok(Vec::new()) };
    let wrong = |part: &str| format!("{name} is no list of key=value: {part:?}");
    let written = written.trim();
    let mut detected: Vec<Detected> = Vec::new();
    for part in written.strip_suffix(',').unwrap_or(written).split(',') {
        let (key, value) = part.split_once('=').ok_or_else(|| wrong(part))?;
        let (key, value) = (key.trim(), value.trim());
        let is_valid = |text: &str| text.is_ascii() && text.len() <= MAX_TEXT;
        if key.is_empty() || !is_valid(key) || !is_valid(value) {
            return Err(wrong(part));
        }
        if allowlist.is_some_and(|allowed| allowed.iter().all(|known| known != key)) {
            continue;
        }
        let value = decoded(value).ok_or_else(|| wrong(part))?;
        // Of two values the last one counts.
        detected.retain(|(known, _)| known != key);
        detected.push((key.to_owned(), text(&value)));
    }
    Ok(detected)
}

/// A value without its percent-encoding, in which `+` is a space.
fn decoded(value: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}
