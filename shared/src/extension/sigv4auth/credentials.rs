//! AWS credentials, and what says them: the environment, files, services of the platform.
//!
//! Source: the AWS SDKs and Tools Reference Guide, "Standardized credential providers".

use std::fmt;

use crate::clock;
use crate::config::World;

/// What requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) session_token: Option<String>,
    /// Seconds since the Unix epoch; `None` if they last.
    pub(super) expires_s: Option<u64>,
}

/// Without what is secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, expires {:?})", self.access_key_id, self.expires_s)
    }
}

impl Credentials {
    /// Those that last; `None` if a part is missing.
    fn lasting(id: Option<String>, secret: Option<String>, token: Option<String>) -> Option<Self> {
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        Some(Self {
            access_key_id: set(id)?,
            secret_access_key: set(secret)?,
            session_token: set(token),
            expires_s: None,
        })
    }

    /// As containers and instances are told them.
    pub(super) fn from_json(text: &[u8]) -> Result<Self, String> {
        let answer: serde_json::Value =
            serde_json::from_slice(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let get = |key: &str| answer.get(key)?.as_str().map(str::to_owned);
        let credentials = Self::lasting(get("AccessKeyId"), get("SecretAccessKey"), get("Token"));
        let credentials = credentials.ok_or("it names no access key")?;
        let expires_s = get("Expiration").and_then(|text| clock::parse_rfc3339(&text));
        Ok(Self { expires_s, ..credentials })
    }

    /// As the Security Token Service says them.
    pub(super) fn from_xml(text: &str) -> Result<Self, String> {
        let get = |name: &str| element(text, name).map(str::to_owned);
        let credentials =
            Self::lasting(get("AccessKeyId"), get("SecretAccessKey"), get("SessionToken"));
        let credentials = credentials.ok_or("it names no access key")?;
        let expires_s = get("Expiration").and_then(|text| clock::parse_rfc3339(&text));
        Ok(Self { expires_s, ..credentials })
    }
}

/// The text of the first element of this name.
pub(super) fn element<'x>(xml: &'x str, name: &str) -> Option<&'x str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}

/// Where credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// They are known.
    Fixed(Credentials),
    /// A role that is assumed with a token of an identity provider.
    WebIdentity { role: Role, token_file: String },
    /// A role that is assumed with other credentials.
    AssumeRole { role: Role, with: Box<Source> },
    /// A service of the container's platform.
    Container { url: String, token: Token },
    /// The instance's metadata service.
    Instance { url: String },
}

/// A role, and where it is assumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) session_name: String,
    pub(super) external_id: String,
    pub(super) region: String,
    /// The Security Token Service's URL.
    pub(super) endpoint: String,
}

/// What a container's service is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    None,
    Text(String),
    /// Read each time, since it changes.
    File(String),
}

/// A file of profiles as the command line tools keep it, as far as it holds keys.
fn profile(text: &str, name: &str) -> Option<Vec<(String, String)>> {
    let mut found = None;
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let section = section.trim();
            let section = section.strip_prefix("profile ").map_or(section, str::trim);
            is_inside = section == name;
            if is_inside && found.is_none() {
                found = Some(Vec::new());
            }
        } else if is_inside
            && let Some((key, value)) = line.split_once('=')
            && let Some(found) = &mut found
        {
            found.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    found
}

/// The keys of the profile that the environment names.
///
/// # Errors
/// When it is named and there is none, or it says to get keys in a way that is not known here.
fn from_profile(world: &dyn World) -> Result<Option<Credentials>, String> {
    let named = variable(world, "AWS_PROFILE");
    let name = named.clone().unwrap_or_else(|| "default".to_owned());
    let home = variable(world, "HOME").unwrap_or_default();
    let mut entries = Vec::new();
    let mut exists = false;
    for (name_of_file, default) in
        [("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")]
    {
        let path = variable(world, name_of_file);
        let path = path.unwrap_or_else(|| format!("{home}/.aws/{default}"));
        let found = world.file(&path).ok().and_then(|text| profile(&text, &name));
        exists |= found.is_some();
        entries.extend(found.unwrap_or_default());
    }
    let get =
        |key: &str| entries.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let keys = Credentials::lasting(
        get("aws_access_key_id"),
        get("aws_secret_access_key"),
        get("aws_session_token"),
    );
    let other = ["role_arn", "credential_process", "sso_session", "sso_start_url"];
    match (keys, other.into_iter().find(|key| get(key).is_some()), named) {
        (Some(keys), ..) => Ok(Some(keys)),
        (None, Some(key), _) => Err(format!(
            "profile {name:?} has {key}, which is not supported: set keys there, or assume_role"
        )),
        (None, None, Some(name)) if !exists => Err(format!("there is no profile {name:?}")),
        _ => Ok(None),
    }
}

/// The first of the places where the SDKs look, in their order.
///
/// # Errors
/// When what the environment says cannot be used.
pub(super) fn default_source(world: &dyn World, session: &str) -> Result<Source, String> {
    let get = |name: &str| variable(world, name);
    let keys = Credentials::lasting(
        get("AWS_ACCESS_KEY_ID"),
        get("AWS_SECRET_ACCESS_KEY"),
        get("AWS_SESSION_TOKEN"),
    );
    if let Some(keys) = keys {
        return Ok(Source::Fixed(keys));
    }
    if let (Some(token_file), Some(arn)) = (get("AWS_WEB_IDENTITY_TOKEN_FILE"), get("AWS_ROLE_ARN"))
    {
        let region = region(world, "")
            .ok_or("AWS_WEB_IDENTITY_TOKEN_FILE is set, and no region: set AWS_REGION")?;
        let role = Role {
            arn,
            session_name: get("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| session.to_owned()),
            external_id: String::new(),
            endpoint: sts_endpoint(world, &region),
            region,
        };
        return Ok(Source::WebIdentity { role, token_file });
    }
    if let Some(keys) = from_profile(world)? {
        return Ok(Source::Fixed(keys));
    }
    let relative = get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let relative = relative.map(|path| format!("http://169.254.170.2{path}"));
    if let Some(url) = relative.or_else(|| get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
        let token = match (
            get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        ) {
            (Some(file), _) => Token::File(file),
            (None, Some(text)) => Token::Text(text),
            (None, None) => Token::None,
        };
        return Ok(Source::Container { url, token });
    }
    if get("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err("there are no AWS credentials: none in the environment, no profile, and the \
                    instance's metadata are disabled"
            .to_owned());
    }
    let url = get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let url = url.unwrap_or_else(|| "http://169.254.169.254".to_owned());
    Ok(Source::Instance { url: url.trim_end_matches('/').to_owned() })
}

/// A region that is configured, or the environment's.
pub(super) fn region(world: &dyn World, configured: &str) -> Option<String> {
    let configured = (!configured.is_empty()).then(|| configured.to_owned());
    configured
        .or_else(|| variable(world, "AWS_REGION"))
        .or_else(|| variable(world, "AWS_DEFAULT_REGION"))
}

/// Where roles are assumed.
pub(super) fn sts_endpoint(world: &dyn World, region: &str) -> String {
    let given = variable(world, "AWS_ENDPOINT_URL_STS");
    given.unwrap_or_else(|| {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://sts.{region}.{domain}")
    })
}

fn variable(world: &dyn World, name: &str) -> Option<String> {
    world.variable(name).filter(|value| !value.is_empty())
}
