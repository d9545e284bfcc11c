//! `sigv4auth`: signs requests over HTTP for AWS, such as those to Amazon Managed Prometheus.
//!
//! Pure: `signature` and the reading in `credentials`. `fetch` asks services.
//!
//! Source: contrib extension/sigv4authextension.

mod credentials;
mod fetch;
mod signature;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Uri, header};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use self::credentials::{Credentials, Role, Source};
use self::signature::{Scope, Signed};
use crate::auth::{Authenticator, ClientAuth, HttpRequest, Side, Unsigned};
use crate::clock;
use crate::config::{Path, Problems, Process, World};
use crate::config_struct;
use crate::metadata::Metadata;
use crate::service::{BuildError, Commons, ComponentId, Extension, ExtensionConfig};

/// Credentials are got anew this long before they expire.
const AHEAD: Duration = Duration::from_secs(300);
/// The shortest time between two attempts to get them.
const PAUSE: Duration = Duration::from_secs(10);
/// The name of a session that has none.
const SESSION: &str = "tailrace";

config_struct! {
    /// `sigv4auth`.
    pub struct SigV4AuthConfig {
        /// The receiver's region; told from its host if that is one of AWS.
        pub region: String = String::new(),
        /// The receiver's service; told from its host if that is one of AWS.
        pub service: String = String::new(),
        /// A role to assume.
        pub assume_role: AssumeRoleConfig = AssumeRoleConfig::default(),
    }
}

config_struct! {
    /// `assume_role`.
    pub struct AssumeRoleConfig {
        /// The role's name.
        pub arn: String = String::new(),
        /// The session's name. The Collector takes no notice of it.
        pub session_name: String = String::new(),
        /// Where the role is assumed; else in `region`.
        pub sts_region: String = String::new(),
        /// A file with an identity provider's token, to assume the role with.
        pub web_identity_token_file: String = String::new(),
        /// What the role's owner demands of strangers.
        pub external_id: String = String::new(),
    }
}

#[async_trait]
impl ExtensionConfig for SigV4AuthConfig {
    const TYPE: &'static str = "sigv4auth";
    const AUTHENTICATES: &'static [Side] = &[Side::Client];

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let (at, role) = (at.key("assume_role"), &self.assume_role);
        if !role.arn.is_empty() {
            return;
        }
        if !role.web_identity_token_file.is_empty() {
            problems.report(&at, "must specify ARN when using WebIdentityTokenFile");
        }
        for (key, value) in [
            ("session_name", &role.session_name),
            ("sts_region", &role.sts_region),
            ("external_id", &role.external_id),
        ] {
            if !value.is_empty() {
                problems.warn(&at.key(key), "has no effect without arn");
            }
        }
    }

    async fn start(&self, id: &ComponentId) -> Result<Box<dyn Extension>, BuildError> {
        let source = self.source(&Process).map_err(BuildError::new)?;
        let keys = Arc::new(ArcSwapOption::empty());
        let mut refresh = None;
        if let Source::Fixed(credentials) = &source {
            keys.store(Some(Arc::new(credentials.clone())));
        } else {
            refresh = Some(tokio::spawn(renew(id.to_string(), source, Arc::clone(&keys))));
        }
        let signer = Signer { region: self.region.clone(), service: self.service.clone(), keys };
        Ok(Box::new(SigV4Auth { signer: Arc::new(signer), refresh }))
    }
}

impl SigV4AuthConfig {
    /// Where credentials come from.
    fn source(&self, world: &dyn World) -> Result<Source, String> {
        let role = &self.assume_role;
        if role.arn.is_empty() {
            return credentials::default_source(world, SESSION);
        }
        let configured = match role.sts_region.as_str() {
            "" => self.region.as_str(),
            region => region,
        };
        let region = credentials::region(world, configured)
            .ok_or("a role is assumed in a region: set assume_role::sts_region or region")?;
        let session_name = match role.session_name.as_str() {
            "" => SESSION,
            name => name,
        };
        let token_file = role.web_identity_token_file.clone();
        let role = Role {
            arn: role.arn.clone(),
            session_name: session_name.to_owned(),
            external_id: role.external_id.clone(),
            endpoint: credentials::sts_endpoint(world, &region),
            region,
        };
        Ok(match token_file.as_str() {
            "" => {
                let with = Box::new(credentials::default_source(world, SESSION)?);
                Source::AssumeRole { role, with }
            }
            _ => Source::WebIdentity { role, token_file },
        })
    }
}

struct SigV4Auth {
    signer: Arc<Signer>,
    refresh: Option<JoinHandle<()>>,
}

#[async_trait]
impl Extension for SigV4Auth {
    fn authenticator(&self, _: &Commons) -> Result<Option<Authenticator>, BuildError> {
        let client: Arc<dyn ClientAuth> = Arc::<Signer>::clone(&self.signer);
        Ok(Some(Authenticator { client: Some(client), server: None }))
    }

    async fn shutdown(self: Box<Self>) {
        if let Some(refresh) = self.refresh {
            refresh.abort();
        }
    }
}

/// Gets credentials, and gets them anew before they expire.
async fn renew(id: String, source: Source, keys: Arc<ArcSwapOption<Credentials>>) {
    loop {
        let pause = match source.fetch().await {
            Ok(credentials) => {
                info!(
                    extension = id,
                    access_key_id = credentials.access_key_id,
                    "AWS credentials were got"
                );
                let now_s = clock::unix_ns() / 1_000_000_000;
                let left = credentials.expires_s.map(|at| at.saturating_sub(now_s));
                keys.store(Some(Arc::new(credentials)));
                let Some(left) = left else { return };
                Duration::from_secs(left).saturating_sub(AHEAD).max(PAUSE)
            }
            Err(error) => {
                warn!(extension = id, error, "AWS credentials cannot be got, will try again");
                PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

struct Signer {
    region: String,
    service: String,
    keys: Arc<ArcSwapOption<Credentials>>,
}

impl Signer {
    /// What is configured, or else what the receiver's host tells.
    fn scope<'a>(&'a self, host: &'a str) -> Result<Scope<'a>, Unsigned> {
        let told = told_by(host);
        let pick = |configured: &'a str, told: Option<&'a str>, key: &str| match configured {
            "" => told.ok_or_else(|| {
                let reason = format!("sigv4auth: the host does not tell the {key}: configure it");
                Unsigned::ForEver(reason)
            }),
            configured => Ok(configured),
        };
        Ok(Scope {
            region: pick(&self.region, told.map(|told| told.region), "region")?,
            service: pick(&self.service, told.map(|told| told.service), "service")?,
        })
    }
}

impl ClientAuth for Signer {
    fn sign(&self, _: Option<&Metadata>, _: &mut HeaderMap) -> Result<(), Unsigned> {
        Err(Unsigned::ForEver("sigv4auth signs requests over HTTP only".to_owned()))
    }

    fn sign_http(
        &self,
        _: Option<&Metadata>,
        request: &mut HttpRequest<'_>,
    ) -> Result<(), Unsigned> {
        let keys = self.keys.load_full();
        let now_s = clock::unix_ns() / 1_000_000_000;
        let keys = match keys {
            None => return Err(Unsigned::ForNow("there are no AWS credentials yet".to_owned())),
            Some(keys) if keys.expires_s.is_some_and(|at| at <= now_s) => {
                return Err(Unsigned::ForNow("the AWS credentials have expired".to_owned()));
            }
            Some(keys) => keys,
        };
        let host = sent_host(request.url, request.headers);
        let scope = self.scope(&host)?;
        let content_type = request.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let mut headers = vec![("host", host.as_str())];
        headers.extend(content_type.map(|value| ("content-type", value)));
        let signed = Signed {
            method: request.method.as_str(),
            path: request.url.path(),
            query: request.url.query().unwrap_or_default(),
            headers,
            body: request.body,
        };
        let signature = signature::sign(&signed, &keys, scope, now_s);
        let token = keys.session_token.as_ref().map(|token| ("x-amz-security-token", token));
        let added = [("x-amz-date", &signature.date), ("authorization", &signature.authorization)];
        for (name, value) in added.into_iter().chain(token) {
            let value = HeaderValue::from_str(value);
            let mut value = value.map_err(|_| {
                Unsigned::ForEver("AWS credentials hold what no header can hold".to_owned())
            })?;
            value.set_sensitive(true);
            request.headers.insert(name, value);
        }
        Ok(())
    }

    /// A signature is good for one request and a few minutes.
    fn needs_tls(&self) -> bool {
        false
    }

    fn is_http_only(&self) -> bool {
        true
    }
}

/// The `Host` that is sent: without a port that goes without saying.
fn sent_host(url: &Uri, headers: &HeaderMap) -> String {
    if let Some(host) = headers.get(header::HOST).and_then(|value| value.to_str().ok()) {
        return host.to_owned();
    }
    let host = url.host().unwrap_or_default();
    match (url.port_u16(), url.scheme_str()) {
        (None, _) | (Some(443), Some("https")) | (Some(80), Some("http")) => host.to_owned(),
        (Some(port), _) => format!("{host}:{port}"),
    }
}

/// What the name of a host of AWS tells: `aps-workspaces.eu-west-1.amazonaws.com`.
fn told_by(host: &str) -> Option<Scope<'_>> {
    const SERVICES: [(&str, &str); 5] = [
        ("aps-workspaces", "aps"),
        ("search-", "es"),
        ("logs", "logs"),
        ("xray", "xray"),
        ("monitoring", "monitoring"),
    ];
    let (_, service) = SERVICES.into_iter().find(|(prefix, _)| host.starts_with(prefix))?;
    let (_, rest) = host.split_once('.')?;
    let (region, _) = rest.split_once('.')?;
    Some(Scope { region, service })
}
