//! A file of the requests that came, to be played again.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use shared::otlp::recorded::{Form, Format};
use shared::{Batch, Consumer, Rejected, Signal};

use crate::ledger::Ledger;
use crate::testbed::TestbedError;

/// Bytes that are written, and compressed, at a time.
const PIECE_BYTES: usize = 1 << 20;

/// The file. Requests stand in it in the order in which they came; of protobuf only traces, since
/// signals could not be told apart.
pub struct Tape {
    form: Form,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    /// What is not written yet.
    piece: Vec<u8>,
    requests: u64,
    skipped: u64,
}

impl Tape {
    /// Makes the file, or empties it. Its name says in which form it is written.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> Result<Arc<Self>, TestbedError> {
        let file = File::create(path)
            .map_err(|error| TestbedError::new(format!("{}: {error}", path.display())))?;
        let inner = Inner { file, piece: Vec::new(), requests: 0, skipped: 0 };
        Ok(Arc::new(Self { form: Form::by_name(path), inner: Mutex::new(inner) }))
    }

    fn put(&self, batch: &Batch) -> Result<(), String> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if self.form.format == Format::Proto && batch.signal() != Signal::Traces {
            inner.skipped += 1;
            return Ok(());
        }
        self.form.put(batch, &mut inner.piece).map_err(|error| error.to_string())?;
        inner.requests += 1;
        match inner.piece.len() < PIECE_BYTES {
            true => Ok(()),
            false => inner.write(self.form),
        }
    }

    /// Writes what is left: how many requests the file holds, and how many were no traces.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(&self) -> Result<(u64, u64), TestbedError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.write(self.form).map_err(TestbedError::new)?;
        Ok((inner.requests, inner.skipped))
    }
}

impl Inner {
    fn write(&mut self, form: Form) -> Result<(), String> {
        let piece = form.pack(std::mem::take(&mut self.piece));
        piece.and_then(|piece| self.file.write_all(&piece)).map_err(|error| error.to_string())
    }
}

/// Writes requests down before they are counted.
pub(crate) struct Recorder {
    pub(crate) tape: Arc<Tape>,
    pub(crate) next: Arc<Ledger>,
}

#[async_trait]
impl Consumer for Recorder {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        match self.tape.put(&batch) {
            Ok(()) => self.next.consume(batch).await,
            Err(error) => Err(Rejected::permanent(batch, format!("cannot be recorded: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::config::Compression;
    use shared::otlp::recorded::Recorded;

    use super::*;
    use crate::ledger::Detail;
    use crate::testbed::cluster::client;

    fn batch(signal: Signal, name: &[u8]) -> Batch {
        let mut writer = shared::wire::Writer::new();
        writer.message(1, |entry| {
            entry.message(2, |scope| scope.message(2, |record| record.bytes(5, name)));
        });
        Batch::parse(signal, writer.into_vec().into()).unwrap()
    }

    #[tokio::test]
    async fn what_a_sink_recorded_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.otlp", "a.json.gz"] {
            let path = directory.path().join(name);
            let tape = Tape::create(&path).unwrap();
            let sink =
                crate::sink::Sink::record("127.0.0.1:0".parse().unwrap(), Detail::Counts, &tape);
            let sink = sink.await.unwrap();
            let client = client(sink.address(), Compression::None).unwrap();
            let sent = [batch(Signal::Traces, b"a"), batch(Signal::Traces, b"b")];
            for batch in &sent {
                client.send(batch.clone()).await.unwrap();
            }
            assert_eq!(sink.ledger().spans(), 2);
            sink.stop().await;
            assert_eq!(tape.finish().unwrap(), (2, 0));
            let read = Recorded::open(&path, Signal::Traces).unwrap();
            assert_eq!(read.map(Result::unwrap).collect::<Vec<_>>(), sent, "{name}");
        }
    }

    #[test]
    fn signals_that_could_not_be_told_apart_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let count = |name: &str| {
            let tape = Tape::create(&directory.path().join(name)).unwrap();
            tape.put(&batch(Signal::Traces, b"a")).unwrap();
            tape.put(&batch(Signal::Logs, b"")).unwrap();
            tape.finish().unwrap()
        };
        assert_eq!((count("a.otlp"), count("a.json")), ((1, 1), (2, 0)));
    }
}
