//! Who may send, what is kept of what they say, and how exporters sign.

use std::io;

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;
use crate::config::{Document, World};
use crate::consumer::{Reached, RejectedKind};
use crate::exporter::debug::DebugConfig;
use crate::extension::basicauth::BasicAuthConfig;
use crate::extension::bearertokenauth::BearerTokenAuthConfig;
use crate::extension::headers_setter::HeadersSetterConfig;
use crate::extension::health_check::HealthCheckConfig;
use crate::metadata::Wanted;
use crate::otlp::{OtlpGrpcConfig, OtlpHttpConfig};
use crate::queue::Sender;
use crate::service::{Commons, ExporterConfig, ExtensionConfig, Model, Registry};
use crate::transport::http::client::HttpClient;

/// Adds an extension `id` with this section.
async fn add<C: ExtensionConfig>(commons: &Commons, id: &str, json: &Value) {
    let (config, problems, _) = section::<C>(json, C::validate);
    assert!(problems.is_empty(), "{problems:?}");
    let id = ComponentId::parse(id).unwrap();
    let extension = config.start(&id).await.unwrap();
    let authenticator = extension.authenticator(commons).unwrap().unwrap();
    commons.add_authenticator(id, authenticator);
}

/// A process of its own.
fn process() -> Context {
    context()
}

/// A receiver of both protocols with these settings for both, gRPC first.
async fn serve_both(ctx: &Context, settings: &Value) -> Served {
    let mut settings = settings.clone();
    settings["endpoint"] = json!("127.0.0.1:0");
    let json = json!({ "protocols": { "grpc": settings, "http": settings } });
    let (config, problems, _) = section::<OtlpReceiverConfig>(&json, ReceiverConfig::validate);
    assert!(problems.is_empty(), "{problems:?}");
    let recording = Recording::new();
    let next: Next = Arc::<Recording>::clone(&recording);
    let receiver = config.start(ctx, BTreeMap::from([(Signal::Traces, next)])).await.unwrap();
    Served { receiver, recording }
}

/// Senders by both protocols with these settings, gRPC first.
fn senders(ctx: &Context, served: &Served, settings: &Value) -> [Arc<dyn Sender>; 2] {
    let [grpc, http] = served.receiver.addresses()[..] else { panic!("two servers") };
    let mut json = settings.clone();
    json["endpoint"] = json!(grpc.to_string());
    json["tls"] = json!({ "insecure": true });
    let (config, problems, _) = section::<OtlpGrpcConfig>(&json, ExporterConfig::validate);
    assert!(problems.is_empty(), "{problems:?}");
    let grpc = config.client(&grpc.to_string(), &ctx.commons).unwrap();
    let url = format!("http://{http}/v1/traces");
    let mut json = settings.clone();
    json["traces_endpoint"] = json!(url);
    let (config, problems, _) = section::<OtlpHttpConfig>(&json, ExporterConfig::validate);
    assert!(problems.is_empty(), "{problems:?}");
    let http = HttpClient::new(&config.client, &url, config.encoding, &ctx.commons).unwrap();
    [Arc::new(grpc), Arc::new(http)]
}

const BY_SETTER: &str = "headers_setter";

/// A client's process whose headers have these values, by an extension that needs no TLS.
async fn setting(headers: &Value) -> Context {
    let ctx = process();
    add::<HeadersSetterConfig>(&ctx.commons, BY_SETTER, &json!({ "headers": headers })).await;
    ctx
}

#[tokio::test]
async fn a_sender_without_the_token_is_turned_away_and_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    let ctx = process();
    add::<BearerTokenAuthConfig>(&ctx.commons, "bearertokenauth", &json!({"token": "t"})).await;
    let settings = json!({ "auth": { "authenticator": "bearertokenauth" } });
    let served = {
        let _guard = metrics::set_default_local_recorder(&recorder);
        serve_both(&ctx, &settings).await
    };
    for (token, is_right) in [("Bearer t", true), ("Bearer u", false)] {
        let client = setting(&json!([{"key": "authorization", "value": token}])).await;
        let auth = json!({ "auth": { "authenticator": BY_SETTER } });
        for sender in senders(&client, &served, &auth) {
            let sent = sender.send(traces(&["a"])).await;
            assert_eq!(sent.is_ok(), is_right, "{token}: {sent:?}");
            if let Err(rejected) = sent {
                assert_eq!((rejected.kind, rejected.code), (RejectedKind::Permanent, Some(16)));
                assert_eq!(rejected.reached, Reached::Answered);
                assert!(rejected.reason.contains("scheme or token does not match"), "{rejected}");
            }
        }
    }
    assert_eq!(served.recording.taken().len(), 2);
    for transport in ["grpc", "http"] {
        let counted = format!(
            "otelcol_receiver_refused_requests{{receiver=\"otlp/test\",transport=\"{transport}\",\
             reason=\"unauthenticated\"}} 1"
        );
        assert!(page.render().contains(&counted), "{transport}");
    }
}

#[tokio::test]
async fn batches_carry_the_headers_that_are_read_if_the_receiver_keeps_them() {
    for (include, kept) in [(true, Some("a")), (false, None)] {
        let ctx = process();
        ctx.commons.want(|wanted| wanted.header("x-tenant"));
        let served = serve_both(&ctx, &json!({ "include_metadata": include })).await;
        let settings = json!({ "headers": { "X-Tenant": "a", "x-other": "b" } });
        for sender in senders(&process(), &served, &settings) {
            sender.send(traces(&["a"])).await.unwrap();
            let [batch] = &served.recording.taken()[..] else { panic!("one batch") };
            let values = batch.metadata().map(|metadata| metadata.header("x-tenant").to_vec());
            assert_eq!(values, kept.map(|value| vec![value.parse().unwrap()]));
            assert!(batch.metadata().is_none_or(|of| of.header("x-other").is_empty()));
        }
    }
}

#[tokio::test]
async fn a_tenant_of_a_sender_goes_on_to_the_next_process() {
    let (edge, backend) = (process(), process());
    let headers = json!([{ "key": "X-Scope-OrgID", "from_context": "x-tenant" }]);
    add::<HeadersSetterConfig>(&edge.commons, BY_SETTER, &json!({ "headers": headers })).await;
    backend.commons.want(|wanted| wanted.header("x-scope-orgid"));
    let served = serve_both(&edge, &json!({ "include_metadata": true })).await;
    let beyond = serve_both(&backend, &json!({ "include_metadata": true })).await;
    let settings = json!({ "headers": { "x-tenant": "a" } });
    for sender in senders(&process(), &served, &settings) {
        sender.send(traces(&["a"])).await.unwrap();
    }
    let batches = served.recording.taken();
    let auth = json!({ "auth": { "authenticator": BY_SETTER } });
    for (sender, batch) in senders(&edge, &beyond, &auth).into_iter().zip(batches) {
        sender.send(batch).await.unwrap();
        let [batch] = &beyond.recording.taken()[..] else { panic!("one batch") };
        assert_eq!(batch.metadata().unwrap().header("x-scope-orgid"), ["a"]);
    }
}

#[tokio::test]
async fn the_sender_s_name_is_known_by_its_authenticator() {
    let ctx = process();
    ctx.commons.want(|wanted| wanted.attribute("username"));
    let users = json!({ "htpasswd": { "inline": "ann:secret" } });
    add::<BasicAuthConfig>(&ctx.commons, "basicauth", &users).await;
    let served = serve_both(&ctx, &json!({ "auth": { "authenticator": "basicauth" } })).await;
    // ann:secret
    let basic = json!([{"key": "authorization", "value": "Basic YW5uOnNlY3JldA=="}]);
    let client = setting(&basic).await;
    let auth = json!({ "auth": { "authenticator": BY_SETTER } });
    for sender in senders(&client, &served, &auth) {
        sender.send(traces(&["a"])).await.unwrap();
        let [batch] = &served.recording.taken()[..] else { panic!("one batch") };
        assert_eq!(batch.metadata().unwrap().attribute("username"), Some("ann"));
    }
}

#[tokio::test]
async fn batches_carry_the_address_that_they_came_from_if_it_is_read() {
    for is_read in [true, false] {
        let ctx = process();
        if is_read {
            ctx.commons.want(Wanted::peer);
        }
        // Addresses are no headers, and kept without them.
        let served = serve_both(&ctx, &json!({ "include_metadata": false })).await;
        for sender in senders(&process(), &served, &json!({})) {
            sender.send(traces(&["a"])).await.unwrap();
            let [batch] = &served.recording.taken()[..] else { panic!("one batch") };
            let peer = batch.metadata().map(|metadata| metadata.peer().unwrap().to_string());
            assert_eq!(peer.as_deref(), is_read.then_some("127.0.0.1"));
        }
    }
}

#[tokio::test]
async fn credentials_do_not_leave_by_grpc_without_tls() {
    let ctx = process();
    add::<BearerTokenAuthConfig>(&ctx.commons, "bearertokenauth", &json!({"token": "t"})).await;
    let settings = json!({
        "endpoint": "backend:4317", "auth": { "authenticator": "bearertokenauth" },
        "tls": { "insecure": true },
    });
    let (config, _, _) = section::<OtlpGrpcConfig>(&settings, ExporterConfig::validate);
    let error = config.client("backend:4317", &ctx.commons).unwrap_err().to_string();
    assert!(error.contains("must not be sent in plain text"), "{error}");
}

/// No files, no variables.
struct Nothing;

impl World for Nothing {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
    fn file(&self, _path: &str) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// What is wrong with a configuration whose exporter in use names this authenticator.
fn problems(authenticator: &str) -> Vec<String> {
    let registry = Registry::new()
        .receiver::<OtlpReceiverConfig>()
        .exporter::<OtlpGrpcConfig>()
        .exporter::<DebugConfig>()
        .extension::<HealthCheckConfig>()
        .extension::<BearerTokenAuthConfig>()
        .extension::<HeadersSetterConfig>();
    let text = format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{auth: {{authenticator: headers_setter}}}}}}}}}}\n\
         exporters:\n  debug:\n  otlp_grpc: {{endpoint: a:1, auth: {{authenticator: {authenticator}}}}}\n\
         \x20 otlp_grpc/unused: {{endpoint: a:1, auth: {{authenticator: nobody}}}}\n\
         extensions:\n  health_check:\n  bearertokenauth: {{token: a}}\n\
         \x20 bearertokenauth/off: {{token: a}}\n\
         \x20 headers_setter: {{headers: [{{key: a, value: b}}], additional_auth: health_check}}\n\
         service:\n  extensions: [health_check, bearertokenauth, headers_setter]\n\
         \x20 pipelines: {{traces: {{receivers: [otlp], exporters: [otlp_grpc]}}}}\n"
    );
    let document = Document::parse(&text, &Nothing).unwrap();
    let problems = Model::read(document, &registry).err().unwrap();
    problems.errors().iter().map(ToString::to_string).collect()
}

#[test]
fn an_extension_that_cannot_do_what_it_is_named_for_is_told_with_its_place() {
    let cases = [
        ("bearertokenauth", None),
        (
            "bearertoken_auth",
            Some(
                "references extension \"bearertoken_auth\" which is not configured, did you mean \"bearertokenauth\"?",
            ),
        ),
        ("health_check", Some("extension \"health_check\" is not a client authenticator")),
        (
            "bearertokenauth/off",
            Some(
                "references extension \"bearertokenauth/off\" which is not in service::extensions",
            ),
        ),
        ("\"\"", Some("id must not be empty")),
    ];
    for (authenticator, expected) in cases {
        let mut found = problems(authenticator);
        let at = "receivers::otlp::protocols::grpc::auth::authenticator: ";
        let server = found.iter().position(|text| text.contains(at)).unwrap();
        let server = found.remove(server);
        assert!(server.ends_with("extension \"headers_setter\" is not a server authenticator"));
        let at = "extensions::headers_setter::additional_auth: ";
        let additional = found.iter().position(|text| text.contains(at)).unwrap();
        let additional = found.remove(additional);
        assert!(additional.ends_with("\"health_check\" is not a client authenticator"));
        let expected = expected.map(|text| {
            format!("config.yaml:4: exporters::otlp_grpc::auth::authenticator: {text}")
        });
        assert_eq!(found, Vec::from_iter(expected), "{authenticator}");
    }
}
