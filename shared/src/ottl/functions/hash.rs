//! Functions that hash or encode a string.

use md5::Digest as _;
use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::types::{Kind, bytes_like, hex};
use super::{Function, Parameter, function, parameter};
use crate::ottl::value::{Text, Value};

const TARGET: &[Parameter] = &[parameter("target", Kind::Text)];

pub(super) const FUNCTIONS: &[Function] = &[
    function("FNV", TARGET, |call, env| {
        Ok(Value::Int(fnv1a(call.text(0, env)?.as_bytes()).cast_signed()))
    }),
    function("XXH3", TARGET, |call, env| {
        Ok(in_hex(&xxh3_64(call.text(0, env)?.as_bytes()).to_be_bytes()))
    }),
    function("XXH128", TARGET, |call, env| {
        Ok(in_hex(&xxh3_128(call.text(0, env)?.as_bytes()).to_be_bytes()))
    }),
    function("Murmur3Hash", TARGET, |call, env| {
        Ok(in_hex(&murmur3_32(call.text(0, env)?.as_bytes()).to_le_bytes()))
    }),
    function("Murmur3Hash128", TARGET, |call, env| {
        let [low, high] = murmur3_128(call.text(0, env)?.as_bytes());
        Ok(in_hex(&[low.to_le_bytes(), high.to_le_bytes()].concat()))
    }),
    function("MD5", TARGET, |call, env| {
        Ok(in_hex(&md5::Md5::digest(call.text(0, env)?.as_bytes())))
    }),
    function("SHA1", TARGET, |call, env| {
        let digest = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, call.text(0, env)?.as_bytes());
        Ok(in_hex(digest.as_ref()))
    }),
    function("SHA256", TARGET, |call, env| {
        Ok(in_hex(digest::digest(&SHA256, call.text(0, env)?.as_bytes()).as_ref()))
    }),
    function("SHA512", TARGET, |call, env| {
        Ok(in_hex(digest::digest(&SHA512, call.text(0, env)?.as_bytes()).as_ref()))
    }),
    function("Hex", &[parameter("target", Kind::BytesLike)], |call, env| {
        Ok(in_hex(&bytes_like(call.value(0, env)?)?))
    }),
];

fn in_hex(bytes: &[u8]) -> Value<'static> {
    Value::Text(match bytes.len() {
        0..=16 => Text::hex(bytes),
        _ => Text::Owned(hex(bytes)),
    })
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// `MurmurHash3_x86_32` with seed 0.
#[allow(clippy::cast_possible_truncation, reason = "the hash takes the length's low bits")]
fn murmur3_32(bytes: &[u8]) -> u32 {
    let mix = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (words, tail) = bytes.as_chunks::<4>();
    let mut hash = 0_u32;
    for word in words {
        hash ^= mix(u32::from_le_bytes(*word));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let mut last = [0; 4];
    last[..tail.len()].copy_from_slice(tail);
    hash ^= mix(u32::from_le_bytes(last));
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// `MurmurHash3_x64_128` with seed 0.
#[allow(clippy::cast_possible_truncation, reason = "a block is cut into halves")]
fn murmur3_128(bytes: &[u8]) -> [u64; 2] {
    const LOW: u64 = 0x87c3_7b91_1142_53d5;
    const HIGH: u64 = 0x4cf5_ad43_2745_937f;
    let mix_low = |word: u64| word.wrapping_mul(LOW).rotate_left(31).wrapping_mul(HIGH);
    let mix_high = |word: u64| word.wrapping_mul(HIGH).rotate_left(33).wrapping_mul(LOW);
    let halves = |block: [u8; 16]| {
        let block = u128::from_le_bytes(block);
        [block as u64, (block >> 64) as u64]
    };
    let (blocks, tail) = bytes.as_chunks::<16>();
    let [mut one, mut two] = [0_u64; 2];
    for block in blocks {
        let [low, high] = halves(*block);
        one = (one ^ mix_low(low)).rotate_left(27).wrapping_add(two);
        one = one.wrapping_mul(5).wrapping_add(0x52dc_e729);
        two = (two ^ mix_high(high)).rotate_left(31).wrapping_add(one);
        two = two.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let mut last = [0; 16];
    last[..tail.len()].copy_from_slice(tail);
    let [low, high] = halves(last);
    one ^= mix_low(low) ^ bytes.len() as u64;
    two ^= mix_high(high) ^ bytes.len() as u64;
    one = one.wrapping_add(two);
    two = two.wrapping_add(one);
    one = finish(one);
    two = finish(two);
    one = one.wrapping_add(two);
    [one, two.wrapping_add(one)]
}

fn finish(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_give_their_published_values() {
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(murmur3_32(b""), 0);
        assert_eq!(murmur3_32(b"hello"), 0x248b_fa47);
        assert_eq!(murmur3_32(b"hello, world"), 0x149b_bb7f);
        assert_eq!(murmur3_32(b"The quick brown fox jumps over the lazy dog."), 0xd5c4_8bfc);
        assert_eq!(murmur3_128(b"hello"), [0xcbd8_a7b3_41bd_9b02, 0x5b1e_906a_48ae_1d19]);
        assert_eq!(murmur3_128(b"hello, world"), [0x342f_ac62_3a5e_bc8e, 0x4cdc_bc07_9642_414d]);
        assert_eq!(
            murmur3_128(b"The quick brown fox jumps over the lazy dog."),
            [0xcd99_481f_9ee9_02c9, 0x695d_a1a3_8987_b6e7]
        );
    }
}
