//! `basicauth`: user name and password, sent by clients or checked by servers.
//! Source: contrib extension/basicauthextension.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderValue, header};
use ring::digest::{SHA256, digest};
use tokio::sync::Semaphore;

use super::credential_file::CredentialFile;
use super::htpasswd::Users;
use crate::auth::{Authenticator, ClientAuth, ServerAuth, Side, Unauthenticated, Unsigned};
use crate::config::{Path, Problems, Secret, Section};
use crate::config_struct;
use crate::metadata::{Attributes, Metadata};
use crate::service::{BuildError, Commons, ComponentId, Extension, ExtensionConfig};

/// Credentials that were found right and are not hashed again; beyond, all are forgotten.
const MOST_REMEMBERED: usize = 1024;

/// Passwords that are hashed at a time: hashing is slow on purpose, and anybody may ask for it.
const HASHING: usize = 2;

config_struct! {
    /// `basicauth`: for servers or for clients, not for both.
    pub struct BasicAuthConfig {
        /// The users that a server lets in.
        pub htpasswd: Section<HtpasswdConfig> = Section::none(),
        /// Who a client says it is.
        pub client_auth: Section<ClientAuthConfig> = Section::none(),
    }
}

config_struct! {
    /// `htpasswd`: users and hashed passwords.
    pub struct HtpasswdConfig {
        /// File, read when the process starts.
        pub file: String = String::new(),
        /// The same in place; of users in both, these count.
        pub inline: Secret = Secret::default(),
    }
}

config_struct! {
    /// `client_auth`.
    pub struct ClientAuthConfig {
        /// User name.
        pub username: String = String::new(),
        /// File with it instead; read again when it changes.
        pub username_file: String = String::new(),
        /// Password.
        pub password: Secret = Secret::default(),
        /// File with it instead; read again when it changes.
        pub password_file: String = String::new(),
    }
}

#[async_trait]
impl ExtensionConfig for BasicAuthConfig {
    const TYPE: &'static str = "basicauth";
    const ALIASES: &'static [&'static str] = &["basic_auth"];
    const AUTHENTICATES: &'static [Side] = &[Side::Client, Side::Server];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        match (self.htpasswd.as_ref(), self.client_auth.as_ref()) {
            (Some(_), Some(_)) => {
                problems.report(at, "only one of `htpasswd` or `client_auth` can be specified");
            }
            (None, None) => problems.report(at, "no credential source provided"),
            (Some(htpasswd), None) => {
                let at = at.key("htpasswd");
                if htpasswd.file.is_empty() && htpasswd.inline.0.is_empty() {
                    problems.report(&at, "no credential source provided");
                }
                if let Err(error) = Users::read(&htpasswd.inline.0) {
                    problems.report(&at.key("inline"), error);
                }
            }
            (None, Some(client)) => {
                if client.username.contains(':') {
                    problems.report(&at.key("client_auth").key("username"), "must hold no colon");
                }
            }
        }
    }

    async fn start(&self, _id: &ComponentId) -> Result<Box<dyn Extension>, BuildError> {
        let authenticator = match (self.htpasswd.as_ref(), self.client_auth.as_ref()) {
            (Some(htpasswd), _) => {
                let server = Some(Arc::new(Server::new(htpasswd)?) as Arc<dyn ServerAuth>);
                Authenticator { server, client: None }
            }
            (_, Some(client)) => {
                let client = Some(Arc::new(Client::new(client)?) as Arc<dyn ClientAuth>);
                Authenticator { client, server: None }
            }
            (None, None) => return Err(BuildError::new("no credential source provided")),
        };
        Ok(Box::new(BasicAuth(authenticator)))
    }
}

struct BasicAuth(Authenticator);

#[async_trait]
impl Extension for BasicAuth {
    fn authenticator(&self, _: &Commons) -> Result<Option<Authenticator>, BuildError> {
        Ok(Some(self.0.clone()))
    }

    async fn shutdown(self: Box<Self>) {}
}

/// Half of a client's credentials.
enum Half {
    Fixed(String),
    File(CredentialFile<String>),
}

impl Half {
    fn new(given: &str, file: &str) -> Result<Self, BuildError> {
        match file {
            "" => Ok(Half::Fixed(given.to_owned())),
            file => Ok(Half::File(CredentialFile::open(file, |text| Ok(text.trim().to_owned()))?)),
        }
    }

    fn current(&self) -> String {
        match self {
            Half::Fixed(text) => text.clone(),
            Half::File(file) => file.current().as_ref().clone(),
        }
    }
}

struct Client {
    username: Half,
    password: Half,
}

impl Client {
    fn new(config: &ClientAuthConfig) -> Result<Self, BuildError> {
        Ok(Self {
            username: Half::new(&config.username, &config.username_file)?,
            password: Half::new(&config.password.0, &config.password_file)?,
        })
    }
}

impl ClientAuth for Client {
    fn sign(&self, _: Option<&Metadata>, headers: &mut HeaderMap) -> Result<(), Unsigned> {
        let username = self.username.current();
        if username.contains(':') {
            return Err(Unsigned::ForNow("the user name holds a colon".to_owned()));
        }
        let credentials = format!("{username}:{}", self.password.current());
        let text = format!("Basic {}", BASE64_STANDARD.encode(credentials));
        let mut value = HeaderValue::from_str(&text).expect("base 64 is of visible characters");
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
        Ok(())
    }

    fn needs_tls(&self) -> bool {
        true
    }
}

struct Server {
    users: Arc<Users>,
    /// Makes digests of credentials useless to others.
    salt: [u8; 32],
    /// User names, by the salted digest of credentials that were found right.
    remembered: Mutex<BTreeMap<[u8; 32], Arc<str>>>,
    hashing: Semaphore,
}

impl Server {
    fn new(config: &HtpasswdConfig) -> Result<Self, BuildError> {
        let mut text = String::new();
        if !config.file.is_empty() {
            text = std::fs::read_to_string(&config.file).map_err(|error| {
                BuildError::new(format!("open htpasswd file {:?}: {error}", config.file))
            })?;
            text.push('\n');
        }
        text.push_str(&config.inline.0);
        let users = Users::read(&text)
            .map_err(|error| BuildError::new(format!("read htpasswd content: {error}")))?;
        if users.is_empty() {
            return Err(BuildError::new("read htpasswd content: there is no user in it"));
        }
        Ok(Self {
            users: Arc::new(users),
            salt: rand::random(),
            remembered: Mutex::default(),
            hashing: Semaphore::new(HASHING),
        })
    }

    fn key(&self, encoded: &str) -> [u8; 32] {
        let digest = digest(&SHA256, &[&self.salt, encoded.as_bytes()].concat());
        digest.as_ref().try_into().expect("a SHA-256 has 32 bytes")
    }

    fn recall(&self, key: &[u8; 32]) -> Option<Arc<str>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn remember(&self, key: [u8; 32], user: &Arc<str>) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MOST_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(key, Arc::clone(user));
    }

    /// Hashes the password, away from the workers that serve.
    async fn is_right(&self, user: &Arc<str>, password: String) -> bool {
        let _permit = self.hashing.acquire().await;
        let (users, user) = (Arc::clone(&self.users), Arc::clone(user));
        let hashing = tokio::task::spawn_blocking(move || users.is_right(&user, &password));
        hashing.await.unwrap_or(false)
    }
}

#[async_trait]
impl ServerAuth for Server {
    async fn check(&self, headers: &HeaderMap) -> Result<Attributes, Unauthenticated> {
        let refused = |text: &'static str| Unauthenticated(text.into());
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let value = value.ok_or(refused("no basic auth provided"))?;
        let encoded = match value.split_once(' ') {
            Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("basic") => encoded,
            _ => return Err(refused("invalid authorization scheme prefix")),
        };
        let key = self.key(encoded);
        let user = match self.recall(&key) {
            Some(user) => user,
            None => {
                let decoded = BASE64_STANDARD.decode(encoded).ok();
                let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
                let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
                let (user, password) = pair.ok_or(refused("invalid authorization format"))?;
                let user: Arc<str> = user.into();
                if !self.is_right(&user, password.to_owned()).await {
                    return Err(refused("invalid credentials"));
                }
                self.remember(key, &user);
                user
            }
        };
        Ok(vec![("username", user), ("raw", encoded.into())])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::testing::section;

    async fn start(json: &Value) -> Result<Authenticator, String> {
        let (config, problems, _) = section(json, BasicAuthConfig::validate);
        assert_eq!(problems, [""; 0]);
        let extension = config.start(&ComponentId::parse("basicauth").unwrap()).await;
        let extension = extension.map_err(|error| error.to_string())?;
        Ok(extension.authenticator(&Commons::default()).unwrap().unwrap())
    }

    async fn server(htpasswd: Value) -> Arc<dyn ServerAuth> {
        start(&json!({ "htpasswd": htpasswd })).await.unwrap().server.unwrap()
    }

    fn signed(client: &Arc<dyn ClientAuth>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        client.sign(None, &mut headers).unwrap();
        headers
    }

    async fn refusal(server: &Arc<dyn ServerAuth>, value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        server.check(&headers).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_a_client_sends_a_server_takes_and_knows_the_user() {
        let client = json!({"client_auth": {"username": "ann", "password": "a:b"}});
        let client = start(&client).await.unwrap().client.unwrap();
        let server = server(json!({"inline": "bob:c\nann:a:b"})).await;
        for _ in 0..2 {
            let sender = server.check(&signed(&client)).await.unwrap();
            assert_eq!(sender, [("username", "ann".into()), ("raw", "YW5uOmE6Yg==".into())]);
        }
        assert!(client.needs_tls());
    }

    #[tokio::test]
    async fn everybody_else_is_turned_away_with_the_reason() {
        let server = server(json!({"inline": "ann:secret"})).await;
        let none = server.check(&HeaderMap::new()).await.unwrap_err().to_string();
        assert_eq!(none, "no basic auth provided");
        assert_eq!(refusal(&server, "Bearer x").await, "invalid authorization scheme prefix");
        assert_eq!(refusal(&server, "Basic !").await, "invalid authorization format");
        assert_eq!(refusal(&server, "Basic YW5u").await, "invalid authorization format");
        let wrong = format!("Basic {}", BASE64_STANDARD.encode("ann:Secret"));
        for _ in 0..2 {
            assert_eq!(refusal(&server, &wrong).await, "invalid credentials");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_of_files_change_with_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\n").unwrap();
        let path = file.path().to_str().unwrap();
        let client = json!({"client_auth": {"username": "ann", "password_file": path}});
        let client = start(&client).await.unwrap().client.unwrap();
        let of = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        assert_eq!(signed(&client)["authorization"], of("ann:one"));
        std::fs::write(file.path(), "two\n").unwrap();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(signed(&client)["authorization"], of("ann:two"));
    }

    #[tokio::test]
    async fn users_in_place_replace_those_of_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "ann:old\nbob:b").unwrap();
        let path = file.path().to_str().unwrap();
        let server = server(json!({"file": path, "inline": "ann:new"})).await;
        let basic = |text: &str| {
            let value = format!("Basic {}", BASE64_STANDARD.encode(text));
            HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
        };
        assert!(server.check(&basic("ann:new")).await.is_ok());
        assert!(server.check(&basic("bob:b")).await.is_ok());
        assert!(server.check(&basic("ann:old")).await.is_err());
    }

    #[tokio::test]
    async fn a_source_without_users_does_not_start() {
        let missing = start(&json!({"htpasswd": {"file": "/no/such/file"}})).await.err().unwrap();
        assert!(missing.starts_with("open htpasswd file \"/no/such/file\": "), "{missing}");
        let empty = start(&json!({"htpasswd": {"inline": "# nobody"}})).await.err().unwrap();
        assert_eq!(empty, "read htpasswd content: there is no user in it");
    }

    #[test]
    fn every_problem_is_named() {
        let problems = |json: Value| section(&json, BasicAuthConfig::validate).1;
        assert_eq!(problems(json!({})), ["a: no credential source provided"]);
        assert_eq!(
            problems(json!({"htpasswd": {"inline": "a:b"}, "client_auth": {"username": "a"}})),
            ["a: only one of `htpasswd` or `client_auth` can be specified"]
        );
        assert_eq!(
            problems(json!({"htpasswd": {"inline": "ann"}})),
            ["a::htpasswd::inline: line 1: expected user:hash"]
        );
        assert_eq!(
            problems(json!({"client_auth": {"username": "a:b"}})),
            ["a::client_auth::username: must hold no colon"]
        );
    }
}
