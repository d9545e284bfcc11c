//! A full segment's bytes, written anew without those that were let go: packed, or sealed with LZ4
//! in blocks that are opened one by one.
//!
//! ```text
//! before:  │ run │ gone │ run │ run │ gone │ run │
//! packed:  │ run │ run │ run │ run │
//! sealed:  ╞ block ══╪ block ══╡             no run is cut in two
//! ```
//!
//! This goes a block at a time, beside the old bytes, which serve until all is done.

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use shared::config_enum;

config_enum! {
    /// `buffer_compression`.
    pub(super) enum Compression {
        /// Spans are kept as they came.
        None = "none",
        /// Full segments are sealed.
        Lz4 = "lz4",
    }
}

/// Bytes of a block before it is sealed: few enough that opening it for one trace costs little, and
/// enough that the next span of the same service stands in it.
const BLOCK_BYTES: usize = 32 << 10;

/// The bytes of a segment.
#[derive(Debug)]
pub(super) enum Text {
    /// As they came.
    Plain(Vec<u8>),
    /// In blocks.
    Sealed(Sealed),
}

/// Bytes in sealed blocks.
#[derive(Debug)]
pub(super) struct Sealed {
    bytes: Box<[u8]>,
    blocks: Box<[Block]>,
    /// Length of all blocks when opened.
    plain_length: u32,
}

/// Where a block begins, among the plain and among the sealed bytes.
#[derive(Debug, Clone, Copy)]
struct Block {
    plain: u32,
    sealed: u32,
}

impl Text {
    /// Bytes of memory.
    pub(super) fn allocated(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.capacity(),
            Self::Sealed(sealed) => sealed.bytes.len() + size_of_val(&*sealed.blocks),
        }
    }
}

impl Sealed {
    /// The block that has the plain byte at `offset`, and where in it that is.
    pub(super) fn find(&self, offset: u32) -> (usize, usize) {
        let block = self.blocks.partition_point(|block| block.plain <= offset) - 1;
        (block, (offset - self.blocks[block].plain) as usize)
    }

    /// Opens a block.
    pub(super) fn open(&self, number: usize, plain: &mut Vec<u8>) {
        let block = self.blocks[number];
        let (plain_end, sealed_end) = match self.blocks.get(number + 1) {
            Some(next) => (next.plain, next.sealed as usize),
            None => (self.plain_length, self.bytes.len()),
        };
        plain.resize((plain_end - block.plain) as usize, 0);
        let sealed = &self.bytes[block.sealed as usize..sealed_end];
        let opened = decompress_into(sealed, plain);
        assert_eq!(opened.ok(), Some(plain.len()), "these are bytes that we sealed");
    }
}

/// Writes the bytes of one segment anew.
#[derive(Debug)]
pub(super) struct Rewriting {
    compression: Compression,
    bytes: Vec<u8>,
    blocks: Vec<Block>,
    /// Where each run comes to stand among the plain bytes.
    offsets: Vec<u32>,
    plain_length: u32,
    /// The block that is being filled.
    block: Vec<u8>,
}

impl Rewriting {
    /// Begins; about `length` bytes will be written.
    pub(super) fn new(compression: Compression, length: usize) -> Self {
        let expected = match compression {
            Compression::None => length,
            Compression::Lz4 => length / 3,
        };
        Self {
            compression,
            bytes: Vec::with_capacity(expected),
            blocks: Vec::new(),
            offsets: Vec::new(),
            plain_length: 0,
            block: Vec::new(),
        }
    }

    /// The number of the next run.
    pub(super) fn next(&self) -> usize {
        self.offsets.len()
    }

    /// Writes the next run; one that was let go has no bytes.
    pub(super) fn push(&mut self, run: &[u8], table: &mut CompressTable) {
        self.offsets.push(self.plain_length);
        self.plain_length += u32::try_from(run.len()).expect("segments are below 4 GiB");
        match self.compression {
            Compression::None => self.bytes.extend_from_slice(run),
            Compression::Lz4 => {
                self.block.extend_from_slice(run);
                if self.block.len() >= BLOCK_BYTES {
                    self.seal(table);
                }
            }
        }
    }

    /// The new bytes, and where each run stands.
    pub(super) fn finish(mut self, table: &mut CompressTable) -> (Text, Vec<u32>) {
        let text = match self.compression {
            Compression::None => {
                self.bytes.shrink_to_fit();
                Text::Plain(self.bytes)
            }
            Compression::Lz4 => {
                self.seal(table);
                Text::Sealed(Sealed {
                    bytes: self.bytes.into_boxed_slice(),
                    blocks: self.blocks.into_boxed_slice(),
                    plain_length: self.plain_length,
                })
            }
        };
        (text, self.offsets)
    }

    fn seal(&mut self, table: &mut CompressTable) {
        if self.block.is_empty() {
            return;
        }
        let begin = self.bytes.len();
        let length = u32::try_from(self.block.len()).expect("segments are below 4 GiB");
        let sealed = u32::try_from(begin).expect("segments are below 4 GiB");
        self.blocks.push(Block { plain: self.plain_length - length, sealed });
        self.bytes.resize(begin + get_maximum_output_size(self.block.len()), 0);
        let written = compress_into_with_table(&self.block, &mut self.bytes[begin..], table)
            .expect("there is room for the largest outcome");
        self.bytes.truncate(begin + written);
        self.block.clear();
    }

    /// Bytes of memory.
    pub(super) fn allocated(&self) -> usize {
        self.bytes.capacity() + self.block.capacity() + self.offsets.capacity() * size_of::<u32>()
    }
}

/// The table that sealing needs, made when it is first needed.
#[derive(Default)]
pub(super) struct Table(Option<CompressTable>);

impl Table {
    /// The table.
    pub(super) fn get(&mut self) -> &mut CompressTable {
        self.0.get_or_insert_with(CompressTable::default)
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Table")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(compression: Compression, runs: &[Vec<u8>]) -> (Text, Vec<u32>) {
        let mut table = CompressTable::default();
        let mut rewriting = Rewriting::new(compression, 1000);
        for run in runs {
            rewriting.push(run, &mut table);
        }
        assert_eq!(rewriting.next(), runs.len());
        rewriting.finish(&mut table)
    }

    #[test]
    fn what_is_sealed_is_read_back_block_by_block() {
        // Runs of all sizes, empty and larger than a block, with and without patterns.
        let runs: Vec<Vec<u8>> = (0..200_usize)
            .map(|number| {
                let length = number * number * 7 % 40_000 * usize::from(number % 9 != 0);
                (0..length)
                    .map(|place| ((place * number) >> (number % 5)).to_le_bytes()[0])
                    .collect()
            })
            .collect();
        let (Text::Sealed(sealed), offsets) = rewrite(Compression::Lz4, &runs) else { panic!() };
        assert!(sealed.blocks.len() > 30);
        let mut opened = Vec::new();
        for (run, offset) in runs.iter().zip(offsets).filter(|(run, _)| !run.is_empty()) {
            let (block, begin) = sealed.find(offset);
            sealed.open(block, &mut opened);
            assert_eq!(opened[begin..][..run.len()], **run);
        }
    }

    #[test]
    fn packed_runs_stand_one_behind_the_other() {
        let runs = [b"one".to_vec(), Vec::new(), b"three".to_vec()];
        let (Text::Plain(bytes), offsets) = rewrite(Compression::None, &runs) else { panic!() };
        assert_eq!((&*bytes, &*offsets), (&b"onethree"[..], &[0, 3, 3][..]));
    }
}
