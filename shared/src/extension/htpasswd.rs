//! A list of users with hashed passwords, as Apache's `htpasswd` writes it.
//!
//! | form | hash |
//! |---|---|
//! | `$2y$…`, also `$2a$`, `$2b$` | bcrypt |
//! | `$apr1$…`, `$1$…` | MD5, a thousand times over |
//! | `{SHA}…`, `{SSHA}…` | SHA-1, without and with salt |
//! | anything else | the password itself |
//!
//! Source: github.com/tg123/go-htpasswd, which the Collector uses.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest, Md5};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use subtle::ConstantTimeEq;

/// Bytes of a SHA-1.
const SHA1: usize = 20;

/// The users.
pub(super) struct Users(BTreeMap<String, Hash>);

/// How one password is kept.
enum Hash {
    Bcrypt(String),
    Md5 { magic: &'static str, salt: String, hash: String },
    Sha1 { hash: Vec<u8>, salt: Vec<u8> },
    Plain(String),
}

impl Users {
    /// Reads lines of `user:hash`; of several for one user the last counts.
    ///
    /// # Errors
    /// Which line cannot be read; shows no hash.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut users = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let of = |error: &str| format!("line {}: {error}", index + 1);
            let (user, hash) = line.split_once(':').ok_or_else(|| of("expected user:hash"))?;
            users.insert(user.to_owned(), Hash::read(hash).map_err(|error| of(&error))?);
        }
        Ok(Self(users))
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is the user's password. Takes the time of a hash, which may be long.
    pub(super) fn is_right(&self, user: &str, password: &str) -> bool {
        // A user who does not exist takes as long as one who does.
        let hash = self.0.get(user).or_else(|| self.0.values().next());
        hash.is_some_and(|hash| hash.is_of(password)) && self.0.contains_key(user)
    }
}

impl Hash {
    fn read(text: &str) -> Result<Self, String> {
        if ["$2a$", "$2b$", "$2y$", "$2x$"].iter().any(|prefix| text.starts_with(prefix)) {
            drop(
                text.parse::<bcrypt::HashParts>()
                    .map_err(|_| "a bcrypt hash that cannot be read")?,
            );
            return Ok(Hash::Bcrypt(text.to_owned()));
        }
        for magic in ["$apr1$", "$1$"] {
            if let Some(rest) = text.strip_prefix(magic) {
                let (salt, hash) = rest.split_once('$').ok_or("an MD5 hash that cannot be read")?;
                let salt = salt.chars().take(8).collect();
                return Ok(Hash::Md5 { magic, salt, hash: hash.to_owned() });
            }
        }
        for (magic, is_salted) in [("{SHA}", false), ("{SSHA}", true)] {
            if let Some(rest) = text.strip_prefix(magic) {
                let bytes = BASE64_STANDARD.decode(rest).ok();
                let bytes = bytes.filter(|bytes| bytes.len() >= SHA1);
                let mut hash = bytes.ok_or("a SHA-1 hash that cannot be read")?;
                let salt = hash.split_off(SHA1);
                if salt.is_empty() == is_salted {
                    return Err("a SHA-1 hash that cannot be read".to_owned());
                }
                return Ok(Hash::Sha1 { hash, salt });
            }
        }
        if text.starts_with("$5$") || text.starts_with("$6$") {
            return Err("hashes of crypt with SHA-2 are not supported, use bcrypt".to_owned());
        }
        Ok(Hash::Plain(text.to_owned()))
    }

    fn is_of(&self, password: &str) -> bool {
        match self {
            Hash::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Hash::Md5 { magic, salt, hash } => {
                let made = md5_crypt(password.as_bytes(), magic.as_bytes(), salt.as_bytes());
                made.as_bytes().ct_eq(hash.as_bytes()).into()
            }
            Hash::Sha1 { hash, salt } => {
                let salted = [password.as_bytes(), salt].concat();
                digest(&SHA1_FOR_LEGACY_USE_ONLY, &salted).as_ref().ct_eq(hash).into()
            }
            Hash::Plain(known) => known.as_bytes().ct_eq(password.as_bytes()).into(),
        }
    }
}

/// The last part of an MD5 crypt. The steps are arbitrary, but everybody takes these.
fn md5_crypt(password: &[u8], magic: &[u8], salt: &[u8]) -> String {
    let mut digest: [u8; 16] = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    let mut first = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    for chunk in password.chunks(digest.len()) {
        first.update(&digest[..chunk.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        first.update(if bits & 1 == 1 { &[0] } else { &password[..1] });
        bits >>= 1;
    }
    digest = first.finalize().into();
    for round in 0..1000 {
        let is_odd = round % 2 == 1;
        let mut next = Md5::new();
        next.update(if is_odd { password } else { &digest });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if is_odd { &digest } else { password });
        digest = next.finalize().into();
    }
    md5_letters(&digest)
}

/// Base 64 in an order and an alphabet of its own.
fn md5_letters(digest: &[u8; 16]) -> String {
    const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut letters = String::with_capacity(22);
    let mut add = |mut value: u32, count: usize| {
        for _ in 0..count {
            letters.push(char::from(LETTERS[(value & 63) as usize]));
            value >>= 6;
        }
    };
    for [high, middle, low] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let [high, middle, low] = [high, middle, low].map(|at: usize| u32::from(digest[at]));
        add(high << 16 | middle << 8 | low, 4);
    }
    add(u32::from(digest[11]), 2);
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `secret`, as Apache's and OpenSSL's tools hash it.
    const SECRET: [&str; 6] = [
        "$2b$04$/AR7Kmu4aSq6JiSI7ZXe1.aEHJ.klMQzAq1FXiRPgw2J3rD9TnaJO",
        "$apr1$hfT7jp2q$EBxPAwfmZ1T5i5GW1dDSv1",
        "$1$abc$iCQ2D3nhptRYi27fDYv2s1",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0",
        "secret",
    ];

    #[test]
    fn every_form_takes_the_password_and_no_other() {
        for hash in SECRET {
            let users = Users::read(&format!("# users\n\nann:{hash}\n")).unwrap();
            assert!(users.is_right("ann", "secret"), "{hash}");
            for (user, password) in [("ann", "Secret"), ("ann", ""), ("bob", "secret")] {
                assert!(!users.is_right(user, password), "{hash}: {user} {password}");
            }
        }
    }

    #[test]
    fn a_long_password_is_hashed_to_its_end() {
        let users = Users::read("ann:$1$abc$sGYE33mgKoxoMPE03cldx/").unwrap();
        assert!(users.is_right("ann", "a longer password, of more than sixteen bytes"));
        assert!(!users.is_right("ann", "a longer password, of more than sixteen byteS"));
    }

    #[test]
    fn the_last_line_of_a_user_counts() {
        let users = Users::read("ann:one\nann:two").unwrap();
        assert!(users.is_right("ann", "two") && !users.is_right("ann", "one"));
        assert!(!Users::read("").unwrap().is_right("", ""));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_not_shown() {
        let cases = [
            ("ann", "line 1: expected user:hash"),
            ("ann:a\nbob:$2y$", "line 2: a bcrypt hash that cannot be read"),
            ("ann:$apr1$x", "line 1: an MD5 hash that cannot be read"),
            ("ann:{SHA}x", "line 1: a SHA-1 hash that cannot be read"),
            ("ann:$6$a$b", "line 1: hashes of crypt with SHA-2 are not supported, use bcrypt"),
        ];
        for (text, error) in cases {
            assert_eq!(Users::read(text).err().unwrap(), error);
        }
    }
}
