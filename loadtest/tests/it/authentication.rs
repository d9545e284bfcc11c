//! An edge that shows a certificate and a token to its backend, and names the tenant of each batch.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use loadtest::testbed::address;
use loadtest::testbed::process::{GRPC, Launch, Process, Tier};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use shared::config::{Decode, GrpcClientConfig, Path, Problems, yaml};
use shared::extension::bearertokenauth::BearerTokenAuthConfig;
use shared::otlp::OtlpReceiverConfig;
use shared::queue::Sender;
use shared::service::{Commons, ComponentId, Context, ExtensionConfig, Receiver, ReceiverConfig};
use shared::transport::grpc::client::GrpcClient;
use shared::wire::{Span, Writer};
use shared::{Batch, Consumer, Next, Rejected, Signal};

use crate::common::binaries;

const TENANTS: [&str; 2] = ["red", "blue"];

/// Requests of each tenant.
const REQUESTS: usize = 60;

/// Time that the backend takes for a request, in which others wait and are joined.
const SLOW: Duration = Duration::from_millis(20);

/// Reads a section.
fn section<C: Decode>(text: &str) -> C {
    let node = yaml::parse(text, 0).unwrap();
    let mut problems = Problems::default();
    let section = C::decode(&node, &Path::ROOT, &mut problems);
    section.unwrap_or_else(|| panic!("{problems:?}"))
}

/// Writes a certificate authority, and certificates of it for a backend at `host` and an edge.
fn write_certificates(directory: &FilePath, host: Ipv4Addr) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(directory.join("ca.crt"), authority.pem()).unwrap();
    for (file, name) in [("backend", host.to_string()), ("edge", "edge".to_owned())] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(directory.join(format!("{file}.crt")), certificate.pem()).unwrap();
        std::fs::write(directory.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }
}

/// Notes for each request its tenant by the header, and the tenants that its spans are named for.
#[derive(Default)]
struct Tenants(Mutex<Vec<(String, Vec<String>)>>);

#[async_trait]
impl Consumer for Tenants {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        let header = match batch.metadata().map(|metadata| metadata.header("x-scope-orgid")) {
            Some([tenant]) => tenant.to_str().unwrap().to_owned(),
            other => format!("{other:?}"),
        };
        let names = Mutex::new(Vec::new());
        batch.regroup(|span| {
            names.lock().unwrap().push(String::from_utf8_lossy(Span::read(span).name).into_owned());
        });
        self.0.lock().unwrap().push((header, names.into_inner().unwrap()));
        tokio::time::sleep(SLOW).await;
        Ok(())
    }
}

/// A backend that lets in who has a certificate and the token.
async fn backend(directory: &FilePath, host: Ipv4Addr, next: Next) -> Box<dyn Receiver> {
    let commons = Arc::new(Commons::default());
    commons.want(|wanted| wanted.header("x-scope-orgid"));
    let id = ComponentId::parse("bearertokenauth").unwrap();
    let bearer = section::<BearerTokenAuthConfig>("{token: of-the-edge}");
    let bearer = bearer.start(&id).await.unwrap().authenticator(&commons).unwrap();
    commons.add_authenticator(id, bearer.unwrap());
    let at = directory.display();
    let receiver = section::<OtlpReceiverConfig>(&format!(
        "protocols:\n  grpc:\n    endpoint: {host}:{GRPC}\n    include_metadata: true\n    \
         auth: {{authenticator: bearertokenauth}}\n    tls: {{cert_file: {at}/backend.crt, \
         key_file: {at}/backend.key, client_ca_file: {at}/ca.crt}}\n"
    ));
    let context = Context {
        id: ComponentId::parse("otlp/backend").unwrap(),
        signal: Signal::Traces,
        output: Signal::Traces,
        losses: Arc::default(),
        instance: "backend".into(),
        commons,
    };
    receiver.start(&context, BTreeMap::from([(Signal::Traces, next)])).await.unwrap()
}

/// An edge whose requests to the backend carry this token.
async fn edge(directory: &FilePath, backend: Ipv4Addr, token: &str) -> Process {
    let at = directory.display();
    std::fs::write(directory.join("token"), token).unwrap();
    let config = directory.join("edge.yaml");
    let text = format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{include_metadata: true}}}}}}}}\n\
         extensions:\n  bearertokenauth: {{filename: {at}/token}}\n  headers_setter:\n    \
         additional_auth: bearertokenauth\n    headers: [{{action: upsert, key: X-Scope-OrgID, \
         from_context: X-Tenant}}]\n\
         exporters:\n  loadbalancing/secure:\n    protocol:\n      otlp:\n        \
         tls: {{ca_file: {at}/ca.crt, cert_file: {at}/edge.crt, key_file: {at}/edge.key}}\n        \
         auth: {{authenticator: headers_setter}}\n    \
         resolver: {{static: {{hostnames: ['{backend}:{GRPC}']}}}}\n    \
         retry_on_failure: {{enabled: false}}\n    \
         sending_queue: {{num_consumers: 1, wait_for_result: true}}\n\
         service:\n  extensions: [health_check, headers_setter, bearertokenauth]\n  \
         pipelines: {{traces: {{receivers: [otlp], exporters: [loadbalancing/secure]}}}}\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut launch = Launch::sample(Tier::Edge, 0, address::unique());
    launch.arguments = vec!["--config".into(), config.into()];
    launch.start(&binaries().await, directory).await.unwrap()
}

fn client(edge: &Process, tenant: &str) -> GrpcClient {
    let config = section::<GrpcClientConfig>(&format!(
        "{{tls: {{insecure: true}}, headers: {{x-tenant: {tenant}}}}}"
    ));
    GrpcClient::new(&config, &edge.at(GRPC).to_string(), &Commons::default()).unwrap()
}

/// A request with a span of its own trace that is named for its tenant.
fn request(tenant: &str, number: usize) -> Batch {
    let mut writer = Writer::new();
    writer.message(1, |entry| {
        entry.message(2, |scope| {
            scope.message(2, |span| {
                span.bytes(1, &[u8::try_from(number).unwrap(); 16]);
                span.bytes(5, tenant.as_bytes());
            });
        });
    });
    Batch::parse(Signal::Traces, writer.into_vec().into()).unwrap()
}

#[tokio::test]
async fn a_tenant_s_header_goes_out_with_its_own_spans_only_though_requests_are_joined() {
    let directory = tempfile::tempdir().unwrap();
    let host = address::unique();
    write_certificates(directory.path(), host);
    let tenants = Arc::new(Tenants::default());
    let receiver = backend(directory.path(), host, Arc::<Tenants>::clone(&tenants)).await;
    let edge = edge(directory.path(), host, "of-the-edge\n").await;
    let mut sends = Vec::new();
    for tenant in TENANTS {
        let client = client(&edge, tenant);
        for number in 0..REQUESTS {
            let client = client.clone();
            sends.push(tokio::spawn(async move { client.send(request(tenant, number)).await }));
        }
    }
    for send in sends {
        send.await.unwrap().unwrap();
    }
    let requests = std::mem::take(&mut *tenants.0.lock().unwrap());
    for (tenant, names) in &requests {
        assert_eq!(BTreeSet::from_iter(names), BTreeSet::from([tenant]), "{requests:?}");
    }
    let spans: usize = requests.iter().map(|(_, names)| names.len()).sum();
    assert_eq!(spans, TENANTS.len() * REQUESTS);
    assert!(requests.len() < spans / 2, "{} requests were joined", requests.len());
    drop(receiver);
}

#[tokio::test]
async fn an_edge_without_the_token_delivers_nothing_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let host = address::unique();
    write_certificates(directory.path(), host);
    let tenants = Arc::new(Tenants::default());
    let receiver = backend(directory.path(), host, Arc::<Tenants>::clone(&tenants)).await;
    let edge = edge(directory.path(), host, "of-another\n").await;
    let rejected = client(&edge, "red").send(request("red", 1)).await.unwrap_err();
    assert!(rejected.reason.contains("scheme or token does not match"), "{rejected}");
    assert!(tenants.0.lock().unwrap().is_empty());
    drop(receiver);
}
