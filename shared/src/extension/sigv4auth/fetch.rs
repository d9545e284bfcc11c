//! Gets credentials from where they are.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderValue, Method, Request, Uri};

use super::credentials::{Credentials, Role, Source, Token, element};
use super::signature::{Scope, Signed, encoded, sign};
use crate::clock;
use crate::config::{HttpClientConfig, Process, World as _};
use crate::service::Commons;
use crate::transport::http::request::Requester;
use crate::transport::status;

/// Time for one request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a token for an instance's metadata is asked for, in seconds.
const INSTANCE_TOKEN_SECONDS: &str = "300";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

impl Source {
    /// Gets them.
    ///
    /// # Errors
    /// Why that is not possible now, for people.
    pub(super) async fn fetch(&self) -> Result<Credentials, String> {
        match self {
            Source::Fixed(credentials) => Ok(credentials.clone()),
            Source::WebIdentity { role, token_file } => {
                let token = file(token_file)?;
                let action = "AssumeRoleWithWebIdentity";
                let form = form(role, action, &[("WebIdentityToken", token.trim())]);
                role.assume(form, None).await
            }
            Source::AssumeRole { role, with } => {
                let credentials = Box::pin(with.fetch()).await?;
                let id = role.external_id.as_str();
                let id = (!id.is_empty()).then_some(("ExternalId", id));
                let form = form(role, "AssumeRole", id.as_slice());
                role.assume(form, Some(&credentials)).await
            }
            Source::Container { url, token } => {
                let token = match token {
                    Token::None => None,
                    Token::Text(text) => Some(text.clone()),
                    Token::File(path) => Some(file(path)?.trim().to_owned()),
                };
                let headers = token.as_deref().map(|token| ("authorization", token));
                let answer = send(Method::GET, url, headers.as_slice(), Bytes::new()).await?;
                Credentials::from_json(&answer).map_err(|error| unusable(url, &error))
            }
            Source::Instance { url } => from_instance(url).await,
        }
    }
}

impl Role {
    async fn assume(
        &self,
        form: String,
        credentials: Option<&Credentials>,
    ) -> Result<Credentials, String> {
        let url = format!("{}/", self.endpoint.trim_end_matches('/'));
        let host = host(&url)?;
        let mut headers = vec![("content-type", FORM)];
        let signature = credentials.map(|credentials| {
            let request = Signed {
                method: "POST",
                path: "/",
                query: "",
                headers: vec![("content-type", FORM), ("host", &host)],
                body: form.as_bytes(),
            };
            let scope = Scope { region: &self.region, service: "sts" };
            sign(&request, credentials, scope, clock::unix_ns() / 1_000_000_000)
        });
        if let Some(signature) = &signature {
            headers.push(("x-amz-date", &signature.date));
            headers.push(("authorization", &signature.authorization));
        }
        if let Some(token) = credentials.and_then(|of| of.session_token.as_deref()) {
            headers.push(("x-amz-security-token", token));
        }
        let answer = send(Method::POST, &url, &headers, Bytes::from(form.clone())).await?;
        let answer = String::from_utf8_lossy(&answer);
        Credentials::from_xml(&answer).map_err(|error| unusable(&url, &error))
    }
}

fn form(role: &Role, action: &str, others: &[(&str, &str)]) -> String {
    let common = [
        ("Action", action),
        ("Version", "2011-06-15"),
        ("RoleArn", &role.arn),
        ("RoleSessionName", &role.session_name),
    ];
    let fields = common.iter().chain(others);
    let fields: Vec<_> =
        fields.map(|(name, value)| format!("{name}={}", encoded(value.as_bytes()))).collect();
    fields.join("&")
}

async fn from_instance(url: &str) -> Result<Credentials, String> {
    let ttl = [("x-aws-ec2-metadata-token-ttl-seconds", INSTANCE_TOKEN_SECONDS)];
    let token = send(Method::PUT, &format!("{url}/latest/api/token"), &ttl, Bytes::new()).await?;
    let token = String::from_utf8_lossy(&token).trim().to_owned();
    let headers = [("x-aws-ec2-metadata-token", token.as_str())];
    let roles = format!("{url}/latest/meta-data/iam/security-credentials/");
    let role = send(Method::GET, &roles, &headers, Bytes::new()).await?;
    let role = String::from_utf8_lossy(&role);
    let role = role.lines().next().unwrap_or_default().trim();
    let url = format!("{roles}{role}");
    let answer = send(Method::GET, &url, &headers, Bytes::new()).await?;
    Credentials::from_json(&answer).map_err(|error| unusable(&url, &error))
}

async fn send(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Bytes, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
    let config = HttpClientConfig::default();
    let requester = Requester::new(&config, uri.scheme_str(), &Commons::default());
    let requester = requester.map_err(|error| error.to_string())?;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let name = name.expect("names of headers are written here");
        let value = HeaderValue::from_str(value);
        let mut value = value.map_err(|_| format!("what {url} is to be shown is no text"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    let answer = match tokio::time::timeout(TIMEOUT, requester.send(None, request)).await {
        Err(_) => return Err(format!("{url} did not answer in time")),
        Ok(Err(error)) => {
            let reason = error.connection().map(status::connection_reason).unwrap_or_default();
            return Err(format!("{url}: {reason}"));
        }
        Ok(Ok(answer)) => answer,
    };
    match answer.status.is_success() {
        true => Ok(answer.body),
        false => {
            let body = String::from_utf8_lossy(&answer.body);
            let text = element(&body, "Message").unwrap_or_default();
            Err(format!("{url} answered with HTTP status {}: {text}", answer.status.as_u16()))
        }
    }
}

fn unusable(url: &str, error: &str) -> String {
    format!("the answer of {url} cannot be used: {error}")
}

fn host(url: &str) -> Result<String, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
    uri.authority().map(ToString::to_string).ok_or_else(|| format!("{url:?} names no host"))
}

fn file(path: &str) -> Result<String, String> {
    Process.file(path).map_err(|error| format!("{path}: {error}"))
}
