//! Configuration, and what a cluster gives a pod: a namespace, a token, a certificate. The
//! conversation with an API server is tested in `loadtest/tests/it/kubernetes.rs`.

use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::testing::section;

#[track_caller]
fn check_service(text: &str, expected: Option<(&str, Option<&str>)>) {
    let service = ServiceName::parse(text).ok();
    let service =
        service.as_ref().map(|service| (service.name.as_str(), service.namespace.as_deref()));
    assert_eq!(service, expected, "{text}");
}

#[test]
fn a_service_is_named_in_three_forms() {
    check_service("b", Some(("b", None)));
    check_service("b.ns", Some(("b", Some("ns"))));
    check_service("b.ns.svc.cluster.local", Some(("b", Some("ns"))));
    check_service("b.ns.svc.corp", Some(("b", Some("ns"))));
    for wrong in ["", "b.ns.svc", "b.ns.pod.cluster.local", "b.", ".ns", "b/../x", "b.ns.svc.a."] {
        check_service(wrong, None);
    }
}

#[test]
fn every_wrong_key_is_reported() {
    let json = json!({"service": "b.ns.svc", "ports": [4317, 0], "api_server": "10.96.0.1"});
    let (_, errors, _) = section::<K8sConfig>(&json, K8sConfig::validate);
    assert_eq!(
        errors,
        [
            "a::service: invalid Kubernetes service FQDN \"b.ns.svc\", expected name, \
             name.namespace or name.namespace.svc.cluster.local",
            "a::ports::1: invalid port 0",
            "a::api_server: \"10.96.0.1\" is not a URL such as https://10.96.0.1:443",
        ]
    );
    let (_, errors, _) = section::<K8sConfig>(&json!({}), K8sConfig::validate);
    assert_eq!(errors, ["a::service: no service specified to resolve the backends"]);
}

#[tokio::test]
async fn a_service_without_a_namespace_is_in_the_pods_own() {
    let account = tempfile::tempdir().unwrap();
    let select = async |service: &str| {
        let service = ServiceName::parse(service).unwrap();
        service.select(account.path()).await.namespace
    };
    assert_eq!(select("b").await, "default");
    std::fs::write(account.path().join("namespace"), "observability\n").unwrap();
    assert_eq!(select("b").await, "observability");
    assert_eq!(select("b.other").await, "other");
}

/// An API server with TLS whose watches end at once, and the service account that trusts it.
struct Cluster {
    url: String,
    account: TempDir,
    /// The tokens that came.
    tokens: Arc<Mutex<Vec<String>>>,
}

impl Cluster {
    async fn start() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let chain = vec![cert.signed_by(&key, &issuer).unwrap().der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let account = tempfile::tempdir().unwrap();
        std::fs::write(account.path().join("ca.crt"), issuer.pem()).unwrap();
        std::fs::write(account.path().join("token"), "first\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let tokens = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), Arc::clone(&tokens)));
        Self { url, account, tokens }
    }

    fn api(&self) -> Api {
        Api::new(&self.url, self.account.path()).unwrap()
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, tokens: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(mut stream) = tls.accept(stream).await else { continue };
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap();
        let token = request.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
        tokens.lock().unwrap().push(token.unwrap_or("none").to_owned());
        let slice = json!({"metadata": {"name": "s"}, "endpoints": [{"addresses": ["10.0.0.1"]}]});
        let body = json!({"metadata": {"resourceVersion": "7"}, "items": [slice]}).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    }
}

fn selection() -> Selection {
    Selection { namespace: "ns".to_owned(), service: "b".to_owned() }
}

const TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_rotated_token_is_used_by_the_next_request() {
    let cluster = Cluster::start().await;
    let api = cluster.api();
    let (slices, version) = api.list(&selection(), TIMEOUT).await.unwrap();
    assert_eq!((slices.len(), version.as_str()), (1, "7"));
    std::fs::write(cluster.account.path().join("token"), "second").unwrap();
    api.list(&selection(), TIMEOUT).await.unwrap();
    std::fs::remove_file(cluster.account.path().join("token")).unwrap();
    api.list(&selection(), TIMEOUT).await.unwrap();
    assert_eq!(*cluster.tokens.lock().unwrap(), ["first", "second", "none"]);
}

#[tokio::test]
async fn only_the_clusters_own_certificate_is_trusted() {
    let (cluster, other) = (Cluster::start().await, Cluster::start().await);
    let ca = other.account.path().join("ca.crt");
    std::fs::copy(ca, cluster.account.path().join("ca.crt")).unwrap();
    let error = cluster.api().list(&selection(), TIMEOUT).await.unwrap_err();
    assert!(error.reason.contains("invalid peer certificate"), "{error}");
    assert!(cluster.tokens.lock().unwrap().is_empty(), "nobody was told the token");
}

#[test]
fn a_process_outside_of_a_cluster_is_told_what_to_set() {
    let account = tempfile::tempdir().unwrap();
    let error = Api::new("", account.path()).err().unwrap();
    assert!(error.reason.ends_with("set api_server"), "{error}");
    let error = Api::new("https://10.96.0.1", account.path()).err().unwrap();
    assert!(error.reason.contains("ca_file: cannot read"), "{error}");
}
