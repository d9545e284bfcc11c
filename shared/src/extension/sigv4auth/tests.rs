//! Signatures, where credentials come from, and what is sent.

use std::collections::BTreeMap;
use std::io;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post, put};
use http::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::credentials::Token;
use super::*;
use crate::config::testing::section;

fn example(token: Option<&str>) -> Credentials {
    Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        session_token: token.map(str::to_owned),
        expires_s: None,
    }
}

/// 2015-08-30T12:36:00Z.
const THEN: u64 = 1_440_938_160;
const SCOPE: Scope<'static> = Scope { region: "us-east-1", service: "service" };
const HOST: (&str, &str) = ("host", "example.amazonaws.com");

#[track_caller]
fn signed(request: &Signed<'_>, token: Option<&str>, names: &str, signature: &str) {
    let found = signature::sign(request, &example(token), SCOPE, THEN);
    assert_eq!(found.date, "20150830T123600Z");
    assert_eq!(
        found.authorization,
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders={names}, Signature={signature}"
        )
    );
}

/// Method, path, query and signature. Source: AWS's signing test suite, version 4,
/// `*/header-signature.txt`.
const VECTORS: &[(&str, &str, &str, &str)] = &[
    ("GET", "/", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("GET", "/", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    (
        "GET",
        "/",
        "Param2=value2&Param1=value1",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "GET",
        "/",
        "Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    ),
    (
        "GET",
        "/",
        "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    (
        "GET",
        "/",
        "Param1=value1",
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    ("GET", "/", "ሴ=bar", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
    ("GET", "/ሴ", "", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    (
        "GET",
        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    (
        "GET",
        "/example space/",
        "",
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    ("GET", "//", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("GET", "//example//", "", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
    ("GET", "/./", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("GET", "/./example", "", "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"),
    ("GET", "/example/..", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    (
        "GET",
        "/example1/example2/../..",
        "",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    ("POST", "/", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (
        "POST",
        "/",
        "Param1=value1",
        "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
    (
        "POST",
        "/",
        "Param1=value1",
        "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
];

#[test]
fn signatures_are_those_of_the_published_vectors() {
    for (method, path, query, signature) in VECTORS {
        let headers = vec![HOST];
        let request = Signed { method, path, query, headers, body: b"" };
        signed(&request, None, "host;x-amz-date", signature);
    }
}

#[test]
fn headers_are_trimmed_and_signed_in_order() {
    let headers = vec![("my-header2", "\"a   b   c\""), HOST, ("my-header1", "value1")];
    let request = Signed { method: "GET", path: "/", query: "", headers, body: b"" };
    let names = "host;my-header1;my-header2;x-amz-date";
    signed(
        &request,
        None,
        names,
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    );
}

#[test]
fn the_body_is_signed() {
    let hash = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";
    let headers = vec![
        ("content-type", "application/x-www-form-urlencoded"),
        HOST,
        ("content-length", "13"),
        ("x-amz-content-sha256", hash),
    ];
    let body = b"Param1=value1";
    let request = Signed { method: "POST", path: "/", query: "", headers, body };
    let names = "content-length;content-type;host;x-amz-content-sha256;x-amz-date";
    let signature = "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b";
    signed(&request, None, names, signature);
}

#[test]
fn a_session_token_is_signed() {
    let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwA\
                 eMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8p\
                 hUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT\
                 38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabI\
                 Qwj2ICCR/oLxBA==";
    let headers = vec![HOST];
    let request = Signed { method: "POST", path: "/", query: "", headers, body: b"" };
    let signature = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead";
    signed(&request, Some(token), "host;x-amz-date;x-amz-security-token", signature);
}

fn signer(region: &str, service: &str) -> Signer {
    let keys = Arc::new(ArcSwapOption::from_pointee(example(Some("token"))));
    Signer { region: region.to_owned(), service: service.to_owned(), keys }
}

fn sign(signer: &Signer, url: &str) -> Result<HeaderMap, Unsigned> {
    let (url, mut headers) = (url.parse().unwrap(), HeaderMap::new());
    let mut request =
        HttpRequest { method: &Method::POST, url: &url, body: b"body", headers: &mut headers };
    signer.sign_http(None, &mut request).map(|()| headers)
}

#[test]
fn region_and_service_are_told_by_the_host_unless_configured() {
    let amp = "https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/ws-1/api/v1/remote_write";
    for (region, service, url, scope) in [
        ("", "", amp, "/eu-west-1/aps/aws4_request"),
        ("eu-north-1", "x", amp, "/eu-north-1/x/aws4_request"),
        ("", "", "https://xray.us-east-1.amazonaws.com/", "/us-east-1/xray/aws4_request"),
        ("r", "s", "http://localhost:9090/", "/r/s/aws4_request"),
    ] {
        let headers = sign(&signer(region, service), url).unwrap();
        let authorization = headers["authorization"].to_str().unwrap();
        assert!(authorization.contains(scope), "{authorization}");
        assert!(headers.contains_key("x-amz-date"));
        assert_eq!(headers["x-amz-security-token"], "token");
    }
    let Err(Unsigned::ForEver(reason)) = sign(&signer("", "aps"), "http://localhost/") else {
        panic!("the host tells no region");
    };
    assert_eq!(reason, "sigv4auth: the host does not tell the region: configure it");
}

#[test]
fn a_port_that_is_sent_is_signed() {
    let host = |url: &str| sent_host(&url.parse().unwrap(), &HeaderMap::new());
    assert_eq!(host("https://a:443/"), "a");
    assert_eq!(host("https://a:8443/"), "a:8443");
    assert_eq!(host("http://a/"), "a");
}

#[test]
fn without_credentials_requests_wait() {
    let signer = Signer { keys: Arc::default(), ..signer("r", "s") };
    assert!(matches!(sign(&signer, "http://a/"), Err(Unsigned::ForNow(_))));
    let expired = Credentials { expires_s: Some(THEN), ..example(None) };
    signer.keys.store(Some(Arc::new(expired)));
    assert!(matches!(sign(&signer, "http://a/"), Err(Unsigned::ForNow(_))));
}

/// An environment and files.
#[derive(Default)]
struct Fake {
    variables: BTreeMap<&'static str, String>,
    files: BTreeMap<String, String>,
}

impl World for Fake {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn file(&self, path: &str) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn world(variables: &[(&'static str, &str)]) -> Fake {
    let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
    Fake { variables: variables.collect(), ..Fake::default() }
}

fn source(json: &Value, world: &Fake) -> Result<Source, String> {
    let (config, problems, _) = section(json, SigV4AuthConfig::validate);
    assert_eq!(problems, [""; 0]);
    config.source(world)
}

fn keys(id: &str) -> Source {
    Source::Fixed(Credentials {
        access_key_id: id.to_owned(),
        secret_access_key: "s".to_owned(),
        session_token: None,
        expires_s: None,
    })
}

#[test]
fn credentials_come_from_where_the_sdks_look_first() {
    let mut of = world(&[
        ("AWS_ACCESS_KEY_ID", "env"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_SESSION_TOKEN", ""),
        ("HOME", "/home/a"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
        ("AWS_ROLE_ARN", "arn:role"),
        ("AWS_REGION", "eu-west-1"),
    ]);
    let files = [
        ("/home/a/.aws/credentials", "[other]\naws_access_key_id = other\naws_secret_access_key=s"),
        (
            "/home/a/.aws/config",
            "# keys\n[default]\naws_access_key_id = file\naws_secret_access_key = s\n[profile b]\n\
             role_arn = r\n",
        ),
    ];
    of.files = files.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    assert_eq!(source(&json!({}), &of).unwrap(), keys("env"));
    of.variables.remove("AWS_ACCESS_KEY_ID");
    let Source::WebIdentity { role, token_file } = source(&json!({}), &of).unwrap() else {
        panic!("the token comes next");
    };
    assert_eq!((role.arn.as_str(), token_file.as_str()), ("arn:role", "/token"));
    assert_eq!(role.endpoint, "https://sts.eu-west-1.amazonaws.com");
    of.variables.remove("AWS_WEB_IDENTITY_TOKEN_FILE");
    assert_eq!(source(&json!({}), &of).unwrap(), keys("file"));
    of.variables.insert("AWS_PROFILE", "other".to_owned());
    assert_eq!(source(&json!({}), &of).unwrap(), keys("other"));
    of.variables.insert("AWS_PROFILE", "b".to_owned());
    let error = source(&json!({}), &of).unwrap_err();
    assert!(error.starts_with("profile \"b\" has role_arn, which is not supported"), "{error}");
    of.variables.insert("AWS_PROFILE", "c".to_owned());
    assert_eq!(source(&json!({}), &of).unwrap_err(), "there is no profile \"c\"");
    of.variables.remove("AWS_PROFILE");
    of.files.clear();
    let container =
        Source::Container { url: "http://169.254.170.2/v2/x".to_owned(), token: Token::None };
    assert_eq!(source(&json!({}), &of).unwrap(), container);
    of.variables.remove("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let instance = Source::Instance { url: "http://169.254.169.254".to_owned() };
    assert_eq!(source(&json!({}), &of).unwrap(), instance);
    of.variables.insert("AWS_EC2_METADATA_DISABLED", "true".to_owned());
    let error = source(&json!({}), &of).unwrap_err();
    assert!(error.starts_with("there are no AWS credentials"), "{error}");
}

#[test]
fn a_role_is_assumed_in_its_region() {
    let of = world(&[("AWS_ACCESS_KEY_ID", "env"), ("AWS_SECRET_ACCESS_KEY", "s")]);
    let error = source(&json!({"assume_role": {"arn": "r"}}), &of).unwrap_err();
    assert_eq!(error, "a role is assumed in a region: set assume_role::sts_region or region");
    let json =
        json!({"region": "eu-west-1", "assume_role": {"arn": "r", "sts_region": "cn-north-1"}});
    let Source::AssumeRole { role, with } = source(&json, &of).unwrap() else {
        panic!("the role is assumed");
    };
    assert_eq!((*with, role.session_name.as_str()), (keys("env"), "tailrace"));
    assert_eq!(role.endpoint, "https://sts.cn-north-1.amazonaws.com.cn");
}

#[test]
fn a_role_is_needed_where_it_is_spoken_of() {
    let json = json!({"assume_role": {"web_identity_token_file": "f", "session_name": "s"}});
    let (_, problems, warnings) = section(&json, SigV4AuthConfig::validate);
    assert_eq!(problems, ["a::assume_role: must specify ARN when using WebIdentityTokenFile"]);
    assert_eq!(warnings, ["a::assume_role::session_name: has no effect without arn"]);
}

/// What the services were asked: method, path, some headers and body.
type Asked = mpsc::Receiver<String>;

const ROLE: &str = "<AssumeRoleResponse><AssumeRoleResult><Credentials>\
    <AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
    <SessionToken>token</SessionToken><Expiration>2030-01-02T03:04:05Z</Expiration>\
    </Credentials></AssumeRoleResult></AssumeRoleResponse>";
const KEYS: &str = r#"{"Code":"Success","AccessKeyId":"ASIA","SecretAccessKey":"secret",
    "Token":"token","Expiration":"2030-01-02T03:04:05Z"}"#;

async fn services() -> (String, Asked) {
    let (asked, questions) = mpsc::channel(16);
    let show = |headers: &HeaderMap, body: &[u8]| {
        let names = ["authorization", "x-aws-ec2-metadata-token"];
        let values: Vec<_> =
            names.iter().filter_map(|name| headers.get(*name)?.to_str().ok()).collect();
        format!("{} {}", values.join(" "), String::from_utf8_lossy(body))
    };
    let answer = move |text: &'static str| {
        move |State(asked): State<mpsc::Sender<String>>, headers: HeaderMap, body: Bytes| {
            asked.try_send(show(&headers, &body)).unwrap();
            std::future::ready(text)
        }
    };
    let roles = "/latest/meta-data/iam/security-credentials/";
    let router = Router::new()
        .route("/", post(answer(ROLE)))
        .route("/container", get(answer(KEYS)))
        .route("/latest/api/token", put(answer("instance-token")))
        .route(roles, get(answer("role\n")))
        .route(&format!("{roles}role"), get(answer(KEYS)))
        .with_state(asked);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
    (url, questions)
}

fn expected() -> Credentials {
    Credentials {
        access_key_id: "ASIA".to_owned(),
        secret_access_key: "secret".to_owned(),
        session_token: Some("token".to_owned()),
        expires_s: Some(1_893_553_445),
    }
}

fn role(endpoint: &str) -> Role {
    Role {
        arn: "arn:aws:iam::1:role/a b".to_owned(),
        session_name: "s".to_owned(),
        external_id: "x".to_owned(),
        region: "eu-west-1".to_owned(),
        endpoint: endpoint.to_owned(),
    }
}

#[tokio::test]
async fn a_role_is_assumed_with_other_credentials() {
    let (url, mut asked) = services().await;
    let source = Source::AssumeRole { role: role(&url), with: Box::new(keys("env")) };
    assert_eq!(source.fetch().await.unwrap(), expected());
    let question = asked.recv().await.unwrap();
    assert!(question.starts_with("AWS4-HMAC-SHA256 Credential=env/"), "{question}");
    assert!(question.contains("/eu-west-1/sts/aws4_request"), "{question}");
    let form = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa%20b\
                &RoleSessionName=s&ExternalId=x";
    assert!(question.ends_with(form), "{question}");
}

#[tokio::test]
async fn a_role_is_assumed_with_a_token() {
    let (url, mut asked) = services().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "jwt\n").unwrap();
    let token_file = file.path().to_str().unwrap().to_owned();
    let source = Source::WebIdentity { role: role(&url), token_file };
    assert_eq!(source.fetch().await.unwrap(), expected());
    let question = asked.recv().await.unwrap();
    assert!(question.starts_with(" Action=AssumeRoleWithWebIdentity&"), "{question}");
    assert!(question.ends_with("&WebIdentityToken=jwt"), "{question}");
}

#[tokio::test]
async fn containers_and_instances_are_told_their_credentials() {
    let (url, mut asked) = services().await;
    let token = Token::Text("let me".to_owned());
    let source = Source::Container { url: format!("{url}/container"), token };
    assert_eq!(source.fetch().await.unwrap(), expected());
    assert_eq!(asked.recv().await.unwrap(), "let me ");
    assert_eq!(Source::Instance { url }.fetch().await.unwrap(), expected());
    assert_eq!(asked.recv().await.unwrap(), " ");
    assert_eq!(asked.recv().await.unwrap(), "instance-token ");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named() {
    let url = "http://127.0.0.1:1".to_owned();
    let error = Source::Instance { url }.fetch().await.unwrap_err();
    assert!(error.starts_with("http://127.0.0.1:1/latest/api/token: cannot connect"), "{error}");
}
