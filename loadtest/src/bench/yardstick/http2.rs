//! Bare HTTP/2 by the `h2` crate: no gRPC, no headers but the needed ones, no trailers.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::task::JoinSet;

use super::{Moved, REPLY, Work, connections, part};
use crate::bench::cpu;
use crate::testbed::TestbedError;
use crate::testbed::cores::Cores;

/// What was cheapest of several sizes between cores and on one.
const FRAME: u32 = 256 * 1024;
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

type Outcome<T> = Result<T, TestbedError>;

pub(super) fn measure(work: &Work, count: usize) -> Outcome<Moved> {
    let failed = |error: std::io::Error| TestbedError::new(error.to_string());
    let (loaders, doors) = connections(work.connections.max(1)).map_err(failed)?;
    let (outbound, destinations) = connections(work.route.parts()).map_err(failed)?;
    let (station_cores, other_cores) = (work.station, work.others);
    thread::scope(|scope| {
        let sink = scope.spawn(move || run_on(other_cores, serve(destinations, Vec::new())));
        let station = scope.spawn(move || run_on(station_cores, relay(doors, outbound)));
        let loader = scope.spawn(move || run_on(other_cores, load(work.clone(), loaders, count)));
        // All are waited for: when one fails its connections close, and the others end.
        let elapsed = loader.join().expect("the loader does not panic");
        let cpu = station.join().expect("the station does not panic");
        sink.join().expect("the destinations do not panic")?;
        Ok(Moved { cpu: cpu?, elapsed: elapsed? })
    })
}

/// Runs `task` to its end on this thread alone.
fn run_on<T>(cores: Cores, task: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    cores.move_this_thread()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error| TestbedError::new(error.to_string()))?;
    runtime.block_on(task)
}

fn broken(error: impl std::fmt::Display) -> TestbedError {
    TestbedError::new(error.to_string())
}

fn socket(stream: TcpStream) -> Outcome<tokio::net::TcpStream> {
    stream.set_nonblocking(true).map_err(broken)?;
    tokio::net::TcpStream::from_std(stream).map_err(broken)
}

/// A client on `stream`, whose connection is driven until the client is dropped.
async fn connect(stream: TcpStream) -> Outcome<SendRequest<Bytes>> {
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .handshake(socket(stream)?)
        .await
        .map_err(broken)?;
    // Its errors are those of the requests on it.
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
}

async fn connect_all(streams: Vec<TcpStream>) -> Outcome<Vec<SendRequest<Bytes>>> {
    let mut clients = Vec::new();
    for stream in streams {
        clients.push(connect(stream).await?);
    }
    Ok(clients)
}

/// Sends every message, so many at a time, and gives the time from the first to the last answer.
async fn load(work: Work, streams: Vec<TcpStream>, count: usize) -> Outcome<Duration> {
    let clients: Arc<[_]> = connect_all(streams).await?.into();
    let started = shared::clock::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..work.in_flight.max(clients.len()) {
        let (work, clients, next) = (work.clone(), Arc::clone(&clients), Arc::clone(&next));
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                let client = &clients[number % clients.len()];
                let message = work.message(number);
                await_reply(send(client, &mut std::iter::once(message.clone())).await?).await?;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.expect("a worker does not panic")?;
    }
    Ok(shared::clock::now() - started)
}

/// The station: serves `inbound`, with `outbound` as its destinations, and gives the CPU it took.
async fn relay(inbound: Vec<TcpStream>, outbound: Vec<TcpStream>) -> Outcome<Duration> {
    let clients = connect_all(outbound).await?;
    let before = cpu::of_thread()?;
    serve(inbound, clients).await?;
    Ok(cpu::of_thread()?.saturating_sub(before))
}

/// Serves all connections until their clients are gone.
async fn serve(streams: Vec<TcpStream>, clients: Vec<SendRequest<Bytes>>) -> Outcome<()> {
    let clients: Arc<[_]> = clients.into();
    let mut connections = JoinSet::new();
    for stream in streams {
        connections.spawn(serve_one(socket(stream)?, Arc::clone(&clients)));
    }
    while let Some(connection) = connections.join_next().await {
        connection.expect("a connection's task does not panic")?;
    }
    Ok(())
}

async fn serve_one(
    stream: tokio::net::TcpStream,
    clients: Arc<[SendRequest<Bytes>]>,
) -> Outcome<()> {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .handshake(stream)
        .await
        .map_err(broken)?;
    let mut requests = JoinSet::new();
    while let Some(request) = connection.accept().await {
        let (request, respond) = request.map_err(broken)?;
        requests.spawn(forward(request.into_body(), respond, Arc::clone(&clients)));
        while let Some(done) = requests.try_join_next() {
            done.expect("a request's task does not panic")?;
        }
    }
    Ok(())
}

/// Takes a message, hands its parts on if there are destinations, and answers.
async fn forward(
    body: RecvStream,
    mut respond: SendResponse<Bytes>,
    clients: Arc<[SendRequest<Bytes>]>,
) -> Outcome<()> {
    let frames = receive(body).await?;
    let size = frames.iter().map(Bytes::len).sum();
    let mut replies = Vec::with_capacity(clients.len());
    for (index, client) in clients.iter().enumerate() {
        let mut pieces = cut(&frames, part(size, clients.len(), index));
        replies.push(send(client, &mut pieces).await?);
    }
    for reply in replies {
        await_reply(reply).await?;
    }
    let mut stream = respond.send_response(Response::new(()), false).map_err(broken)?;
    stream.send_data(Bytes::from_static(REPLY), true).map_err(broken)
}

/// All DATA of a message, with the window given back as it comes.
async fn receive(mut body: RecvStream) -> Outcome<Vec<Bytes>> {
    let mut frames = Vec::new();
    while let Some(frame) = body.data().await {
        let frame = frame.map_err(broken)?;
        body.flow_control().release_capacity(frame.len()).map_err(broken)?;
        frames.push(frame);
    }
    Ok(frames)
}

/// The pieces of `frames` that make up the bytes of `range`, which are not copied.
fn cut(frames: &[Bytes], range: std::ops::Range<usize>) -> impl Iterator<Item = Bytes> + use<'_> {
    let mut start = 0;
    frames.iter().filter_map(move |frame| {
        let from = range.start.clamp(start, start + frame.len()) - start;
        let to = range.end.clamp(start, start + frame.len()) - start;
        start += frame.len();
        (from < to).then(|| frame.slice(from..to))
    })
}

/// Sends a request with these bytes.
async fn send(
    client: &SendRequest<Bytes>,
    pieces: &mut (dyn Iterator<Item = Bytes> + Send),
) -> Outcome<ResponseFuture> {
    let mut client = client.clone().ready().await.map_err(broken)?;
    let request = Request::post("http://yardstick/").body(()).map_err(broken)?;
    let (response, mut body) = client.send_request(request, false).map_err(broken)?;
    let mut next = pieces.next().unwrap_or_default();
    for piece in pieces {
        body.send_data(std::mem::replace(&mut next, piece), false).map_err(broken)?;
    }
    body.send_data(next, true).map_err(broken)?;
    Ok(response)
}

async fn await_reply(response: ResponseFuture) -> Outcome<()> {
    receive(response.await.map_err(broken)?.into_body()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_across_frames() {
        let frames = [&b"abc"[..], b"", b"defg", b"h"].map(Bytes::from_static);
        for index in 0..4 {
            let pieces: Vec<Bytes> = cut(&frames, part(8, 4, index)).collect();
            let whole: Vec<u8> = pieces.concat();
            assert_eq!(whole, &b"abcdefgh"[index * 2..index * 2 + 2]);
        }
        assert_eq!(cut(&frames, 0..0).count(), 0);
    }
}
