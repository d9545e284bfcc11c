//! `bearertokenauth`: a token in a header, sent by clients and demanded by servers.
//! Source: contrib extension/bearertokenauthextension.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue};
use subtle::{Choice, ConstantTimeEq};

use super::credential_file::CredentialFile;
use crate::auth::{Authenticator, ClientAuth, ServerAuth, Side, Unauthenticated, Unsigned};
use crate::config::{Path, Problems, Secret};
use crate::config_struct;
use crate::metadata::{Attributes, Metadata};
use crate::service::{BuildError, Commons, ComponentId, Extension, ExtensionConfig};

config_struct! {
    /// `bearertokenauth`.
    pub struct BearerTokenAuthConfig {
        /// The header that the token is in.
        pub header: String = "Authorization".to_owned(),
        /// What stands in front of the token; may be empty.
        pub scheme: String = "Bearer".to_owned(),
        /// The token.
        pub token: Secret = Secret::default(),
        /// Several: servers take each, clients send the first.
        pub tokens: Vec<Secret> = Vec::new(),
        /// File with the tokens, one on a line, instead; read again when it changes.
        pub filename: String = String::new(),
    }
}

#[async_trait]
impl ExtensionConfig for BearerTokenAuthConfig {
    const TYPE: &'static str = "bearertokenauth";
    const AUTHENTICATES: &'static [Side] = &[Side::Client, Side::Server];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let has_token = !self.token.0.is_empty();
        if self.filename.is_empty() && !has_token && self.tokens.is_empty() {
            problems.report(at, "no bearer token provided");
        }
        if has_token && !self.tokens.is_empty() {
            problems.report(at, "either tokens or token should be provided, not both");
        }
        if !self.filename.is_empty() && (has_token || !self.tokens.is_empty()) {
            problems.warn(&at.key("filename"), "is read, and the tokens given here are ignored");
        }
        if HeaderName::from_bytes(self.header.as_bytes()).is_err() {
            problems.report(&at.key("header"), format!("{:?} is not a header name", self.header));
        }
        if let Some(token) = self.given().find(|token| self.value(token).is_err()) {
            let key = if token == self.token.0 { "token" } else { "tokens" };
            problems
                .report(&at.key(key), "a token holds visible ASCII characters, and at least one");
        }
    }

    async fn start(&self, _id: &ComponentId) -> Result<Box<dyn Extension>, BuildError> {
        let header = HeaderName::from_bytes(self.header.as_bytes())
            .map_err(|_| BuildError::new(format!("{:?} is not a header name", self.header)))?;
        let tokens = match self.filename.as_str() {
            "" => {
                let values = self.given().map(|token| self.value(token));
                Tokens::Fixed(values.collect::<Result<_, _>>().map_err(BuildError::new)?)
            }
            path => Tokens::File(CredentialFile::open(path, lines)?, self.scheme.clone()),
        };
        Ok(Box::new(BearerTokenAuth(Arc::new(Bearer { header, tokens }))))
    }
}

impl BearerTokenAuthConfig {
    fn given(&self) -> impl Iterator<Item = &str> {
        let one = Some(self.token.0.as_str()).filter(|token| !token.is_empty());
        one.into_iter().chain(self.tokens.iter().map(|token| token.0.as_str()))
    }

    fn value(&self, token: &str) -> Result<HeaderValue, String> {
        value(&self.scheme, token)
    }
}

/// What stands in the header.
fn value(scheme: &str, token: &str) -> Result<HeaderValue, String> {
    let text = match scheme {
        "" => token.to_owned(),
        scheme => format!("{scheme} {token}"),
    };
    let mut value = HeaderValue::from_str(&text)
        .ok()
        .filter(|_| !token.is_empty())
        .ok_or("a token holds visible ASCII characters, and at least one")?;
    value.set_sensitive(true);
    Ok(value)
}

/// The tokens in a file.
fn lines(text: &str) -> Result<Vec<String>, String> {
    // An empty line is no token: it would let everybody in.
    let tokens: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match tokens.iter().all(|token| HeaderValue::from_str(token).is_ok()) {
        _ if tokens.is_empty() => Err("holds no token".to_owned()),
        true => Ok(tokens.into_iter().map(str::to_owned).collect()),
        false => Err("a token holds visible ASCII characters only".to_owned()),
    }
}

struct BearerTokenAuth(Arc<Bearer>);

#[async_trait]
impl Extension for BearerTokenAuth {
    fn authenticator(&self, _: &Commons) -> Result<Option<Authenticator>, BuildError> {
        let (client, server) = (Arc::clone(&self.0), Arc::clone(&self.0));
        Ok(Some(Authenticator { client: Some(client), server: Some(server) }))
    }

    async fn shutdown(self: Box<Self>) {}
}

struct Bearer {
    header: HeaderName,
    tokens: Tokens,
}

enum Tokens {
    Fixed(Vec<HeaderValue>),
    /// With the scheme.
    File(CredentialFile<Vec<String>>, String),
}

impl Tokens {
    /// What the header may be; the first is sent.
    fn values(&self) -> Vec<HeaderValue> {
        match self {
            Tokens::Fixed(values) => values.clone(),
            Tokens::File(file, scheme) => {
                file.current().iter().filter_map(|token| value(scheme, token).ok()).collect()
            }
        }
    }
}

impl ClientAuth for Bearer {
    fn sign(&self, _: Option<&Metadata>, headers: &mut HeaderMap) -> Result<(), Unsigned> {
        let first = self.tokens.values().into_iter().next();
        let first = first.ok_or_else(|| Unsigned::ForNow("there is no bearer token".to_owned()))?;
        headers.insert(self.header.clone(), first);
        Ok(())
    }

    fn needs_tls(&self) -> bool {
        true
    }
}

#[async_trait]
impl ServerAuth for Bearer {
    async fn check(&self, headers: &HeaderMap) -> Result<Attributes, Unauthenticated> {
        let Some(given) = headers.get(&self.header) else {
            let text = format!("missing or empty authorization header: {}", self.header);
            return Err(Unauthenticated(text.into()));
        };
        // All are compared, so that the time tells nothing of which one is near.
        let values = self.tokens.values();
        let matches = values.iter().map(|value| value.as_bytes().ct_eq(given.as_bytes()));
        match bool::from(matches.fold(Choice::from(0), |any, matches| any | matches)) {
            true => Ok(Attributes::new()),
            false => Err(Unauthenticated("scheme or token does not match".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::testing::section;

    async fn start(json: &Value) -> Authenticator {
        let (config, problems, _) = section(json, BearerTokenAuthConfig::validate);
        assert_eq!(problems, [""; 0]);
        let extension = config.start(&ComponentId::parse("bearertokenauth").unwrap()).await;
        extension.unwrap().authenticator(&Commons::default()).unwrap().unwrap()
    }

    fn signed(authenticator: &Authenticator) -> HeaderMap {
        let mut headers = HeaderMap::new();
        authenticator.client.as_ref().unwrap().sign(None, &mut headers).unwrap();
        headers
    }

    async fn admits(authenticator: &Authenticator, name: &'static str, value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        authenticator.server.as_ref().unwrap().check(&headers).await.is_ok()
    }

    #[tokio::test]
    async fn what_a_client_sends_a_server_takes() {
        let token = start(&json!({"token": "abc"})).await;
        let headers = signed(&token);
        assert_eq!(headers["authorization"], "Bearer abc");
        assert!(headers["authorization"].is_sensitive());
        assert!(token.server.as_ref().unwrap().check(&headers).await.is_ok());
        for wrong in ["abc", "Bearer abd", "Bearer ab", "Bearer abcd", "bearer abc", "Bearer "] {
            assert!(!admits(&token, "authorization", wrong).await, "{wrong:?}");
        }
        let missing = token.server.as_ref().unwrap().check(&HeaderMap::new()).await.unwrap_err();
        assert_eq!(missing.to_string(), "missing or empty authorization header: authorization");
    }

    #[tokio::test]
    async fn of_several_tokens_the_first_is_sent_and_each_is_taken() {
        let json = json!({"tokens": ["one", "two"], "scheme": "", "header": "X-Key"});
        let tokens = start(&json).await;
        assert_eq!(signed(&tokens)["x-key"], "one");
        assert!(admits(&tokens, "x-key", "one").await && admits(&tokens, "x-key", "two").await);
        assert!(!admits(&tokens, "authorization", "one").await);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_of_a_file_change_with_it_and_an_empty_line_is_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\n\ntwo\n").unwrap();
        let tokens = start(&json!({"filename": file.path().to_str().unwrap()})).await;
        assert_eq!(signed(&tokens)["authorization"], "Bearer one");
        assert!(admits(&tokens, "authorization", "Bearer two").await);
        assert!(!admits(&tokens, "authorization", "Bearer ").await);
        std::fs::write(file.path(), "three").unwrap();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(signed(&tokens)["authorization"], "Bearer three");
        assert!(!admits(&tokens, "authorization", "Bearer two").await);
    }

    #[test]
    fn every_problem_is_named_and_no_token_shown() {
        let problems = |json: Value| section(&json, BearerTokenAuthConfig::validate).1;
        assert_eq!(problems(json!({})), ["a: no bearer token provided"]);
        assert_eq!(
            problems(json!({"token": "a\nb", "tokens": ["c"], "header": "a b"})),
            [
                "a: either tokens or token should be provided, not both",
                "a::header: \"a b\" is not a header name",
                "a::token: a token holds visible ASCII characters, and at least one",
            ]
        );
        let config = section(&json!({"tokens": ["secret"]}), BearerTokenAuthConfig::validate).0;
        assert!(!format!("{config:?}").contains("secret"));
    }
}
