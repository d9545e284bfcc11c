//! Raw TCP. Sizes are known to both ends, so nothing but the bytes and the replies is sent.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use super::{Moved, REPLY, Work, connections, part};
use crate::bench::cpu;
use crate::testbed::TestbedError;

pub(super) fn measure(work: &Work, count: usize) -> Result<Moved, TestbedError> {
    let (loaders, doors) = connections(work.connections.max(1)).map_err(failed)?;
    let parts = work.route.parts();
    let started = shared::clock::now();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut stations = Vec::new();
        for (number, (loader, door)) in loaders.into_iter().zip(doors).enumerate() {
            // Every connection has destinations of its own, so that none waits for another's.
            let (outbound, destinations) = connections(parts).map_err(failed)?;
            for (index, stream) in destinations.into_iter().enumerate() {
                threads.push(others(scope, work, move || {
                    receive(stream, work, work.by(number, count), index)
                }));
            }
            let numbers = work.by(number, count);
            stations.push(scope.spawn(move || station(work, door, outbound, numbers)));
            let numbers = work.by(number, count);
            threads.push(others(scope, work, move || load(loader, work, numbers)));
        }
        let mut cpu = Duration::ZERO;
        for station in stations {
            cpu += station.join().expect("a station does not panic")?;
        }
        for thread in threads {
            thread.join().expect("a loader or destination does not panic")?;
        }
        Ok(Moved { cpu, elapsed: shared::clock::now() - started })
    })
}

#[allow(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn failed(error: io::Error) -> TestbedError {
    TestbedError::new(error.to_string())
}

/// Runs `part` where loader and destinations run.
fn others<'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: &'scope Work,
    part: impl FnOnce() -> io::Result<()> + Send + 'scope,
) -> ScopedJoinHandle<'scope, Result<(), TestbedError>> {
    scope.spawn(move || {
        work.others.move_this_thread()?;
        part().map_err(failed)
    })
}

/// How many messages may be on their way on each connection.
fn depth(work: &Work) -> usize {
    (work.in_flight / work.connections.max(1)).max(1)
}

fn load(
    mut stream: TcpStream,
    work: &Work,
    numbers: impl Iterator<Item = usize>,
) -> io::Result<()> {
    let mut unanswered = 0;
    for number in numbers {
        if unanswered == depth(work) {
            read_reply(&mut stream)?;
            unanswered -= 1;
        }
        stream.write_all(work.message(number))?;
        unanswered += 1;
    }
    (0..unanswered).try_for_each(|_| read_reply(&mut stream))
}

fn station(
    work: &Work,
    mut inbound: TcpStream,
    mut outbound: Vec<TcpStream>,
    numbers: impl Iterator<Item = usize>,
) -> Result<Duration, TestbedError> {
    work.station.move_this_thread()?;
    let before = cpu::of_thread()?;
    relay(work, &mut inbound, &mut outbound, numbers).map_err(failed)?;
    Ok(cpu::of_thread()?.saturating_sub(before))
}

fn relay(
    work: &Work,
    inbound: &mut TcpStream,
    outbound: &mut [TcpStream],
    numbers: impl Iterator<Item = usize>,
) -> io::Result<()> {
    let mut buffer = vec![0; work.largest()];
    // The loader waits for an answer when it has sent as many as may be on their way, and not
    // before; replies of the destinations are taken as late as that allows.
    let window = if outbound.is_empty() { 0 } else { depth(work) - 1 };
    let mut unanswered = 0;
    for number in numbers {
        let message = &mut buffer[..work.message(number).len()];
        inbound.read_exact(message)?;
        let parts = outbound.len();
        for (index, stream) in outbound.iter_mut().enumerate() {
            stream.write_all(&message[part(message.len(), parts, index)])?;
        }
        unanswered += 1;
        if unanswered > window {
            answer(inbound, outbound)?;
            unanswered -= 1;
        }
    }
    (0..unanswered).try_for_each(|_| answer(inbound, outbound))
}

/// Answers the oldest message when all of its parts are answered.
fn answer(inbound: &mut TcpStream, outbound: &mut [TcpStream]) -> io::Result<()> {
    outbound.iter_mut().try_for_each(read_reply)?;
    inbound.write_all(REPLY)
}

/// A destination's thread: takes one part of every message.
fn receive(
    mut stream: TcpStream,
    work: &Work,
    numbers: impl Iterator<Item = usize>,
    index: usize,
) -> io::Result<()> {
    let parts = work.route.parts();
    let mut buffer = vec![0; work.largest() / parts + 1];
    for number in numbers {
        let size = part(work.message(number).len(), parts, index).len();
        stream.read_exact(&mut buffer[..size])?;
        stream.write_all(REPLY)?;
    }
    Ok(())
}

fn read_reply(stream: &mut TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; REPLY.len()])
}
