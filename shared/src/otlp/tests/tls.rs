//! TLS and mTLS, for both protocols.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::consumer::RejectedKind;
use crate::otlp::{OtlpGrpcConfig, OtlpHttpConfig};
use crate::queue::Sender;
use crate::service::ExporterConfig;
use crate::transport::http::client::HttpClient;

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(super) fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// The keys `cert_pem` and `key_pem` of someone with this name.
pub(super) fn identity(authority: &Authority, name: &str) -> Value {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let cert = params.signed_by(&key, authority).unwrap();
    json!({ "cert_pem": cert.pem(), "key_pem": key.serialize_pem() })
}

fn with(mut settings: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        settings[key.as_str()] = value.clone();
    }
    settings
}

/// A receiver of one protocol with these `tls` settings.
async fn serve_tls(protocol: &str, tls: &Value) -> Served {
    serve(json!({ protocol: { "endpoint": "127.0.0.1:0", "tls": tls } })).await
}

/// Sends a batch by one protocol with these `tls` settings.
async fn send(protocol: &str, served: &Served, tls: &Value) -> Result<(), Rejected> {
    let endpoint = served.endpoint();
    let sender: Arc<dyn Sender> = match protocol {
        "grpc" => {
            let json = json!({ "endpoint": endpoint, "tls": tls });
            let (config, problems, _) = section::<OtlpGrpcConfig>(&json, ExporterConfig::validate);
            assert!(problems.is_empty(), "{problems:?}");
            Arc::new(config.client(&endpoint, &context().commons).unwrap())
        }
        _ => {
            let url = format!("https://{endpoint}/v1/traces");
            let json = json!({ "traces_endpoint": url, "tls": tls });
            let (config, problems, _) = section::<OtlpHttpConfig>(&json, ExporterConfig::validate);
            assert!(problems.is_empty(), "{problems:?}");
            Arc::new(
                HttpClient::new(&config.client, &url, config.encoding, &context().commons).unwrap(),
            )
        }
    };
    sender.send(traces(&["a"])).await.map(|_| ())
}

const PROTOCOLS: [&str; 2] = ["grpc", "http"];

#[tokio::test]
async fn a_trusted_certificate_for_the_right_name_is_taken() {
    let ours = authority("one");
    for protocol in PROTOCOLS {
        let served = serve_tls(protocol, &identity(&ours, "127.0.0.1")).await;
        send(protocol, &served, &json!({ "ca_pem": ours.pem() })).await.unwrap();
        assert_eq!(served.recording.taken(), [traces(&["a"])], "{protocol}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_taken_says_why_and_can_be_retried() {
    let (ours, theirs) = (authority("one"), authority("another"));
    for protocol in PROTOCOLS {
        let served = serve_tls(protocol, &identity(&ours, "backend.example")).await;
        let cases = [
            (json!({ "ca_pem": ours.pem() }), "its certificate is for another name"),
            (
                json!({ "ca_pem": theirs.pem(), "server_name_override": "backend.example" }),
                "its certificate is not from a trusted issuer",
            ),
        ];
        for (tls, why) in cases {
            let rejected = send(protocol, &served, &tls).await.unwrap_err();
            assert_eq!(rejected.reason, format!("TLS with the destination failed: {why}"));
            assert_eq!(rejected.kind, RejectedKind::Retryable);
        }
        let named = json!({ "ca_pem": ours.pem(), "server_name_override": "backend.example" });
        send(protocol, &served, &named).await.unwrap();
        send(protocol, &served, &json!({ "insecure_skip_verify": true })).await.unwrap();
    }
}

#[tokio::test]
async fn mtls_takes_only_clients_with_a_certificate_of_its_authority() {
    let (ours, theirs) = (authority("one"), authority("another"));
    let ca_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca_file.path(), ours.pem()).unwrap();
    let mutual = json!({ "client_ca_file": ca_file.path().to_str().unwrap() });
    for protocol in PROTOCOLS {
        let served = serve_tls(protocol, &with(identity(&ours, "127.0.0.1"), &mutual)).await;
        let ca = json!({ "ca_pem": ours.pem() });
        let rejected = send(protocol, &served, &ca).await.unwrap_err();
        assert!(rejected.reason.contains("CertificateRequired"), "{protocol}: {rejected}");
        let foreign = with(identity(&theirs, "client"), &ca);
        let rejected = send(protocol, &served, &foreign).await.unwrap_err();
        assert!(rejected.reason.contains("UnknownCA"), "{protocol}: {rejected}");
        assert!(served.recording.taken().is_empty());
        send(protocol, &served, &with(identity(&ours, "client"), &ca)).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    let served = serve(json!({ "grpc": { "endpoint": "127.0.0.1:0" } })).await;
    let rejected =
        send("grpc", &served, &json!({ "ca_pem": authority("one").pem() })).await.unwrap_err();
    assert_eq!(rejected.reason, "TLS with the destination failed: it does not speak TLS");
}

#[tokio::test]
async fn certificates_are_read_again_after_the_interval() {
    let (before, after) = (authority("one"), authority("another"));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let write = |authority: &Authority| {
        let identity = identity(authority, "127.0.0.1");
        std::fs::write(path("cert"), identity["cert_pem"].as_str().unwrap()).unwrap();
        std::fs::write(path("key"), identity["key_pem"].as_str().unwrap()).unwrap();
    };
    write(&before);
    let tls =
        json!({ "cert_file": path("cert"), "key_file": path("key"), "reload_interval": "1ns" });
    let served = serve_tls("grpc", &tls).await;
    send("grpc", &served, &json!({ "ca_pem": before.pem() })).await.unwrap();
    write(&after);
    send("grpc", &served, &json!({ "ca_pem": after.pem() })).await.unwrap();
    // A file that has become unusable changes nothing.
    std::fs::write(path("key"), "no key").unwrap();
    send("grpc", &served, &json!({ "ca_pem": after.pem() })).await.unwrap();
}

/// Writes certificates where a link leads, as the kubelet does: a new directory each time, and
/// the link turned over to it.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Puts this into the files `ca`, `cert` and `key`.
    fn turn(&self, version: &str, ca: &Authority, identity: &Value) {
        let text = |key: &str| identity[key].as_str().unwrap().to_owned();
        std::fs::create_dir(self.at(version)).unwrap();
        for (name, content) in
            [("ca", ca.pem()), ("cert", text("cert_pem")), ("key", text("key_pem"))]
        {
            std::fs::write(self.at(&format!("{version}/{name}")), content).unwrap();
        }
        std::os::unix::fs::symlink(self.at(version), self.at("new")).unwrap();
        std::fs::rename(self.at("new"), self.at("data")).unwrap();
    }

    fn settings(&self) -> Value {
        json!({
            "ca_file": self.at("data/ca"), "cert_file": self.at("data/cert"),
            "key_file": self.at("data/key"), "reload_interval": "1ns",
        })
    }
}

#[tokio::test]
async fn a_client_follows_a_rotation_of_all_its_files() {
    let (before, after) = (authority("one"), authority("another"));
    let mounted = Mounted(tempfile::tempdir().unwrap());
    mounted.turn("1", &before, &identity(&before, "client"));
    let settings = json!({ "endpoint": "a:1", "tls": mounted.settings() });
    let (config, problems, _) = section::<OtlpGrpcConfig>(&settings, ExporterConfig::validate);
    assert!(problems.is_empty(), "{problems:?}");
    let ca_file = tempfile::NamedTempFile::new().unwrap();
    let serve = async |authority: &Authority| {
        std::fs::write(ca_file.path(), authority.pem()).unwrap();
        let mutual = json!({ "client_ca_file": ca_file.path().to_str().unwrap() });
        serve_tls("grpc", &with(identity(authority, "127.0.0.1"), &mutual)).await
    };
    let old = serve(&before).await;
    let client = config.client(&old.endpoint(), &context().commons).unwrap();
    client.send(traces(&["a"])).await.unwrap();
    let address = old.address();
    old.receiver.shutdown(clock::now() + SOON).await;
    std::fs::write(ca_file.path(), after.pem()).unwrap();
    let mutual = json!({
        "endpoint": address.to_string(),
        "tls": with(identity(&after, "127.0.0.1"), &json!({
            "client_ca_file": ca_file.path().to_str().unwrap(),
        })),
    });
    let new = self::serve(json!({ "grpc": mutual })).await;
    let rejected = client.send(traces(&["b"])).await.unwrap_err();
    assert!(rejected.reason.contains("not from a trusted issuer"), "{rejected}");
    mounted.turn("2", &after, &identity(&after, "client"));
    client.probe(SOON).await.unwrap();
    client.send(traces(&["c"])).await.unwrap();
    assert_eq!(new.recording.taken(), [traces(&["c"])]);
    // Half of a rotation: the key of another certificate. What was read stays in use.
    std::fs::write(mounted.at("data/key"), identity(&after, "x")["key_pem"].as_str().unwrap())
        .unwrap();
    let again = config.client(&address.to_string(), &context().commons).err().unwrap();
    assert!(again.to_string().contains("certificate and key"), "{again}");
    new.receiver.shutdown(clock::now() + SOON).await;
    let _new = self::serve(json!({ "grpc": mutual })).await;
    client.probe(SOON).await.unwrap();
}

#[tokio::test]
async fn a_server_follows_a_rotation_of_its_clients_authority() {
    let (ours, before, after) = (authority("server"), authority("one"), authority("another"));
    let mounted = Mounted(tempfile::tempdir().unwrap());
    mounted.turn("1", &before, &identity(&ours, "127.0.0.1"));
    let tls = json!({
        "cert_file": mounted.at("data/cert"), "key_file": mounted.at("data/key"),
        "client_ca_file": mounted.at("data/ca"), "reload_interval": "1ns",
    });
    for protocol in PROTOCOLS {
        let served = serve_tls(protocol, &tls).await;
        let as_client =
            |of: &Authority| with(identity(of, "client"), &json!({ "ca_pem": ours.pem() }));
        send(protocol, &served, &as_client(&before)).await.unwrap();
        mounted.turn(&format!("{protocol} 2"), &after, &identity(&ours, "127.0.0.1"));
        send(protocol, &served, &as_client(&after)).await.unwrap();
        let rejected = send(protocol, &served, &as_client(&before)).await.unwrap_err();
        assert!(rejected.reason.contains("UnknownCA"), "{protocol}: {rejected}");
        mounted.turn(&format!("{protocol} 3"), &before, &identity(&ours, "127.0.0.1"));
    }
}

#[test]
fn settings_that_cannot_work_are_all_named() {
    let json = json!({ "endpoint": "host:4317", "tls": {
        "cert_pem": "x", "cert_file": "y", "min_version": "1.3", "max_version": "1.2",
    } });
    let problems = section::<OtlpGrpcConfig>(&json, ExporterConfig::validate).1;
    assert_eq!(
        problems,
        [
            "a::tls::cert_file: set either this or cert_pem",
            "a::tls::min_version: must not be above max_version",
            "a::tls: a certificate needs its key: set key_file",
        ]
    );
}

#[test]
fn a_file_that_is_missing_is_named_with_its_key() {
    let json = json!({ "endpoint": "host:4317", "tls": { "ca_file": "/no/such/file" } });
    let (config, _, _) = section::<OtlpGrpcConfig>(&json, ExporterConfig::validate);
    let error = config.client("host:4317", &context().commons).err().unwrap().to_string();
    assert!(error.starts_with("tls: ca_file: cannot read \"/no/such/file\": "), "{error}");
}
