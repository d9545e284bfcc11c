//! The exporter as it is configured, over real gRPC connections.

use std::net::SocketAddr;

use shared::consumer::Next;
use shared::otlp::OtlpReceiverConfig;
use shared::service::{Outputs, Receiver, ReceiverConfig};

use super::*;

fn section<C: Decode>(yaml: &str) -> C {
    let node = shared::config::yaml::parse(yaml, 0).unwrap();
    let mut problems = Problems::default();
    let section = C::decode(&node, &Path::ROOT.key("section"), &mut problems);
    section.unwrap_or_else(|| panic!("{:?}", problems.errors()))
}

#[derive(Default)]
struct Recorder(Mutex<Vec<u8>>);

#[async_trait]
impl Consumer for Recorder {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        self.0.lock().unwrap().extend(traces(&batch));
        Ok(())
    }
}

/// A backend: a real receiver on a free port in front of a recorder.
async fn backend() -> (Box<dyn Receiver>, SocketAddr, Arc<Recorder>) {
    let config: OtlpReceiverConfig = section("protocols: {grpc: {endpoint: '127.0.0.1:0'}}");
    let recorder = Arc::new(Recorder::default());
    let outputs: Outputs = [(Signal::Traces, Arc::clone(&recorder) as Next)].into();
    let receiver = config.start(&context(), outputs).await.unwrap();
    let address = receiver.addresses()[0];
    (receiver, address, recorder)
}

#[tokio::test]
async fn traces_reach_their_backends_over_grpc_before_they_are_acknowledged() {
    let (mut receivers, mut endpoints, mut recorders) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let (receiver, address, recorder) = backend().await;
        receivers.push(receiver);
        endpoints.push(address.to_string());
        recorders.push(recorder);
    }
    let yaml = format!(
        "protocol: {{otlp: {{tls: {{insecure: true}}}}}}\nresolver: {{static: {{hostnames: {endpoints:?}}}}}"
    );
    let exporter = super::section(&yaml).build(&context()).unwrap();
    exporter.consume(batch(1..=90)).await.unwrap();
    exporter.consume(batch((1..=90).rev())).await.unwrap();
    let mut all: Vec<u8> = Vec::new();
    for recorder in recorders {
        let mut traces = recorder.0.lock().unwrap().clone();
        traces.sort_unstable();
        let (firsts, seconds): (Vec<u8>, Vec<u8>) =
            traces.chunks(2).map(|pair| (pair[0], pair[1])).unzip();
        assert_eq!(firsts, seconds, "both spans of a trace are here");
        assert!(!firsts.is_empty());
        all.extend(firsts);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=90).collect::<Vec<_>>());
    exporter.shutdown(shared::clock::now() + Duration::from_secs(5)).await;
    for receiver in receivers {
        receiver.shutdown(shared::clock::now() + Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn a_new_backend_is_connected_to_before_there_is_anything_for_it() {
    let backend = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = backend.local_addr().unwrap();
    let yaml = format!(
        "protocol: {{otlp: {{tls: {{insecure: true}}}}}}\nresolver: {{static: {{hostnames: ['{endpoint}']}}}}"
    );
    let exporter = super::section(&yaml).build(&context()).unwrap();
    drop(backend.accept().await.unwrap());
    exporter.shutdown(shared::clock::now()).await;
}
