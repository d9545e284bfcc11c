//! `headers_setter`: headers of requests that go out, from the configuration or from what the
//! batch came with. Source: contrib extension/headerssetterextension.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::auth::{Authenticator, ClientAuth, HttpRequest, Side, Unsigned};
use crate::config::{Path, Problems, Secret};
use crate::metadata::Metadata;
use crate::service::{BuildError, Commons, ComponentId, Extension, ExtensionConfig};
use crate::{config_enum, config_struct};

config_enum! {
    /// What is done with a header.
    pub enum Action {
        /// Set if it is not there.
        Insert = "insert",
        /// Set if it is there.
        Update = "update",
        /// Set.
        Upsert = "upsert",
        /// Removed.
        Delete = "delete",
    }
}

config_struct! {
    /// `headers_setter`.
    pub struct HeadersSetterConfig {
        /// What is done, in order.
        pub headers: Vec<HeaderConfig> = Vec::new(),
        /// The extension that signs requests before.
        pub additional_auth: String = String::new(),
    }
}

config_struct! {
    /// `headers_setter::headers`: one of them.
    pub struct HeaderConfig {
        /// What is done with it.
        pub action: Action = Action::Upsert,
        /// Its name.
        pub key: String = String::new(),
        /// Its value.
        pub value: Option<Secret> = None,
        /// The header of the batch's request whose value it gets.
        pub from_context: Option<String> = None,
        /// What the receiver's authenticator said of the sender under this name.
        pub from_attribute: Option<String> = None,
        /// Its value when there is none.
        pub default_value: Option<Secret> = None,
    }
}

impl HeaderConfig {
    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        match HeaderName::from_bytes(self.key.as_bytes()) {
            _ if self.key.is_empty() => problems.report(at, "missing header name"),
            Err(_) => {
                problems.report(&at.key("key"), format!("{:?} is not a header name", self.key));
            }
            Ok(_) => {}
        }
        for (key, value) in [("value", &self.value), ("default_value", &self.default_value)] {
            if header_value(value.as_ref()).is_err() {
                let text = "a header value holds visible ASCII characters only";
                problems.report(&at.key(key), text);
            }
        }
        if self.action == Action::Delete {
            return;
        }
        let sources =
            [self.value.is_some(), self.from_context.is_some(), self.from_attribute.is_some()];
        match sources.iter().filter(|is_set| **is_set).count() {
            0 => problems.report(
                at,
                "missing header source, must be 'from_context', 'from_attribute' or 'value'",
            ),
            1 => {}
            _ => problems.report(
                at,
                "invalid header source, must either 'from_context', 'from_attribute' or 'value'",
            ),
        }
    }

    fn build(&self) -> Result<Header, BuildError> {
        let wrong = |text: String| BuildError::new(format!("header {:?}: {text}", self.key));
        let name = HeaderName::from_bytes(self.key.as_bytes())
            .map_err(|_| wrong("is not a header name".to_owned()))?;
        let value = |value: Option<&Secret>| header_value(value).map_err(wrong);
        let source = match (&self.value, &self.from_context, &self.from_attribute) {
            (Some(fixed), ..) => Source::Fixed(value(Some(fixed))?),
            (None, Some(name), _) => Source::Context(name.to_ascii_lowercase()),
            (None, None, Some(name)) => Source::Attribute(name.clone()),
            (None, None, None) => Source::Fixed(HeaderValue::from_static("")),
        };
        Ok(Header {
            action: self.action,
            name,
            source,
            default: value(self.default_value.as_ref())?,
        })
    }
}

fn header_value(text: Option<&Secret>) -> Result<HeaderValue, String> {
    let text = text.map_or("", |secret| secret.0.as_str());
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| "a header value holds visible ASCII characters only".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[async_trait]
impl ExtensionConfig for HeadersSetterConfig {
    const TYPE: &'static str = "headers_setter";
    const AUTHENTICATES: &'static [Side] = &[Side::Client];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let headers = at.key("headers");
        if self.headers.is_empty() {
            problems.report(at, "missing headers configuration");
        }
        for (index, header) in self.headers.iter().enumerate() {
            header.validate(&headers.index(index), problems);
        }
        if !self.additional_auth.is_empty() {
            problems.refer(&at.key("additional_auth"), &self.additional_auth, Side::Client);
        }
    }

    async fn start(&self, _id: &ComponentId) -> Result<Box<dyn Extension>, BuildError> {
        let headers = self.headers.iter().map(HeaderConfig::build).collect::<Result<_, _>>()?;
        let first = Some(self.additional_auth.clone()).filter(|id| !id.is_empty());
        Ok(Box::new(HeadersSetter { headers, first }))
    }
}

struct HeadersSetter {
    headers: Vec<Header>,
    /// Who signs before.
    first: Option<String>,
}

#[async_trait]
impl Extension for HeadersSetter {
    fn authenticator(&self, commons: &Commons) -> Result<Option<Authenticator>, BuildError> {
        let first = match &self.first {
            Some(id) => Some(commons.client_auth(id)?),
            None => None,
        };
        commons.want(|wanted| {
            for header in &self.headers {
                match &header.source {
                    Source::Context(name) => wanted.header(name),
                    Source::Attribute(name) => wanted.attribute(name),
                    Source::Fixed(_) => {}
                }
            }
        });
        let client = Arc::new(Setter { headers: self.headers.clone(), first });
        Ok(Some(Authenticator { client: Some(client), server: None }))
    }

    async fn shutdown(self: Box<Self>) {}
}

#[derive(Clone)]
struct Header {
    action: Action,
    name: HeaderName,
    source: Source,
    default: HeaderValue,
}

#[derive(Clone)]
enum Source {
    Fixed(HeaderValue),
    /// By lower-case name.
    Context(String),
    Attribute(String),
}

impl Header {
    fn value(&self, metadata: Option<&Metadata>) -> Result<HeaderValue, Unsigned> {
        let found = match (&self.source, metadata) {
            (Source::Fixed(value), _) => Some(value.clone()),
            (_, None) => None,
            (Source::Context(name), Some(metadata)) => match metadata.header(name) {
                [] => None,
                [only] => Some(only.clone()),
                several => {
                    let text = format!(
                        "{} source keys found in the context, can't determine which one to use",
                        several.len()
                    );
                    return Err(Unsigned::ForEver(text));
                }
            },
            (Source::Attribute(name), Some(metadata)) => match metadata.attribute(name) {
                None => None,
                Some(text) => Some(HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
                    Unsigned::ForEver(format!("the sender's {name} is no header value"))
                })?),
            },
        };
        Ok(found.unwrap_or_else(|| self.default.clone()))
    }

    fn apply(&self, headers: &mut HeaderMap, metadata: Option<&Metadata>) -> Result<(), Unsigned> {
        let is_there = headers.get(&self.name).is_some_and(|value| !value.is_empty());
        match self.action {
            Action::Delete => drop(headers.remove(&self.name)),
            Action::Insert if is_there => {}
            Action::Update if !is_there => {}
            Action::Insert | Action::Update | Action::Upsert => {
                headers.insert(self.name.clone(), self.value(metadata)?);
            }
        }
        Ok(())
    }
}

struct Setter {
    headers: Vec<Header>,
    first: Option<Arc<dyn ClientAuth>>,
}

impl ClientAuth for Setter {
    fn sign(&self, metadata: Option<&Metadata>, headers: &mut HeaderMap) -> Result<(), Unsigned> {
        if let Some(first) = &self.first {
            first.sign(metadata, headers)?;
        }
        self.headers.iter().try_for_each(|header| header.apply(headers, metadata))
    }

    /// One that signs the whole request comes last, since it signs the headers too.
    fn sign_http(
        &self,
        metadata: Option<&Metadata>,
        request: &mut HttpRequest<'_>,
    ) -> Result<(), Unsigned> {
        let whole = self.first.as_ref().filter(|first| first.is_http_only());
        let Some(whole) = whole else { return self.sign(metadata, request.headers) };
        self.headers.iter().try_for_each(|header| header.apply(request.headers, metadata))?;
        whole.sign_http(metadata, request)
    }

    fn needs_tls(&self) -> bool {
        self.first.as_ref().is_some_and(|first| first.needs_tls())
    }

    fn is_http_only(&self) -> bool {
        self.first.as_ref().is_some_and(|first| first.is_http_only())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::testing::section;
    use crate::extension::bearertokenauth::BearerTokenAuthConfig;
    use crate::metadata::testing::tenant;

    async fn extension(json: &Value) -> Box<dyn Extension> {
        let (config, problems, _) = section(json, HeadersSetterConfig::validate);
        assert_eq!(problems, [""; 0]);
        config.start(&ComponentId::parse("headers_setter").unwrap()).await.unwrap()
    }

    /// The headers of a request that had `x-here: old`, after these settings.
    async fn signed(headers: Value, metadata: Option<&Metadata>) -> Result<HeaderMap, Unsigned> {
        let extension = extension(&json!({ "headers": headers })).await;
        let authenticator = extension.authenticator(&Commons::default()).unwrap().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-here", HeaderValue::from_static("old"));
        authenticator.client.unwrap().sign(metadata, &mut headers)?;
        Ok(headers)
    }

    #[tokio::test]
    async fn actions_do_what_they_are_called() {
        let cases = [
            ("insert", Some("old"), Some("new")),
            ("update", Some("new"), None),
            ("upsert", Some("new"), Some("new")),
            ("delete", None, None),
        ];
        for (action, here, there) in cases {
            let of = |key| json!({"action": action, "key": key, "value": "new"});
            let headers = signed(json!([of("X-Here"), of("X-There")]), None).await.unwrap();
            let value = |name| headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!((value("x-here"), value("x-there")), (here, there), "{action}");
        }
    }

    #[tokio::test]
    async fn a_header_of_the_sender_is_passed_on_or_has_a_default() {
        let json =
            json!([{"key": "X-Scope-OrgID", "from_context": "X-Tenant", "default_value": "d"}]);
        let headers = signed(json.clone(), tenant("a").as_deref()).await.unwrap();
        assert_eq!(headers["x-scope-orgid"], "a");
        assert_eq!(signed(json, None).await.unwrap()["x-scope-orgid"], "d");
        let json = json!([{"key": "X-Scope-OrgID", "from_context": "X-Tenant"}]);
        assert_eq!(signed(json, None).await.unwrap()["x-scope-orgid"], "");
    }

    #[tokio::test]
    async fn of_several_values_none_is_guessed() {
        let commons = Commons::default();
        commons.want(|wanted| wanted.header("x-tenant"));
        let headers = [("x-tenant", "a"), ("x-tenant", "b")];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers = headers.into_iter().collect();
        let metadata = commons.wanted().of(&http::Uri::default(), &headers, &Vec::new(), None);
        let json = json!([{"key": "x-tenant", "from_context": "x-tenant"}]);
        let unsigned = signed(json, metadata.as_deref()).await.unwrap_err();
        assert!(matches!(unsigned, Unsigned::ForEver(text) if text.starts_with("2 source keys")));
    }

    #[tokio::test]
    async fn what_is_read_is_wanted() {
        let commons = Commons::default();
        let json = json!({"headers": [
            {"key": "a", "from_context": "X-Tenant"},
            {"key": "b", "from_attribute": "username"},
            {"key": "c", "value": "fixed"},
        ]});
        extension(&json).await.authenticator(&commons).unwrap();
        let mut wanted = crate::metadata::Wanted::default();
        wanted.header("x-tenant");
        wanted.attribute("username");
        assert_eq!(commons.wanted(), wanted);
    }

    #[tokio::test]
    async fn another_extension_signs_before() {
        let json = json!({
            "headers": [{"key": "x-a", "value": "b"}], "additional_auth": "bearertokenauth",
        });
        let (setter, commons) = (extension(&json).await, Commons::default());
        assert!(setter.authenticator(&commons).is_err(), "it is not there yet");
        let id = ComponentId::parse("bearertokenauth").unwrap();
        let bearer = section(&json!({"token": "t"}), BearerTokenAuthConfig::validate).0;
        let bearer = bearer.start(&id).await.unwrap().authenticator(&commons).unwrap().unwrap();
        commons.add_authenticator(id, bearer);
        let client = setter.authenticator(&commons).unwrap().unwrap().client.unwrap();
        let mut headers = HeaderMap::new();
        client.sign(None, &mut headers).unwrap();
        assert_eq!(
            (&headers["authorization"], &headers["x-a"]),
            (&HeaderValue::from_static("Bearer t"), &HeaderValue::from_static("b"),)
        );
        assert!(client.needs_tls());
    }

    #[test]
    fn every_problem_is_named() {
        let problems = |json: Value| section(&json, HeadersSetterConfig::validate).1;
        assert_eq!(problems(json!({})), ["a: missing headers configuration"]);
        assert_eq!(
            problems(json!({"headers": [
                {"value": "b"},
                {"key": "a b", "value": "c\nd"},
                {"key": "a"},
                {"key": "a", "value": "b", "from_context": "c"},
                {"key": "a", "action": "delete"},
            ]})),
            [
                "a::headers::0: missing header name",
                "a::headers::1::key: \"a b\" is not a header name",
                "a::headers::1::value: a header value holds visible ASCII characters only",
                "a::headers::2: missing header source, must be 'from_context', 'from_attribute' or 'value'",
                "a::headers::3: invalid header source, must either 'from_context', 'from_attribute' or 'value'",
            ]
        );
    }
}
