//! Products of packed weights on x86-64 with AVX2, FMA and F16C, which processors have had since about 2014.
//! A build for every x86-64 does not use them by itself, so they are asked for here and looked up at run time.
#![allow(
    unsafe_code,
    reason = "vector loads take pointers, and what needs an instruction may be called only after it was looked up"
)]

use super::activation::{self, BLOCK, Block, LANES};
use super::packed::Format;
use std::arch::x86_64::*;

/// Tokens that share the unpacking of a weight.
const TOGETHER: usize = 4;

/// Proof that this processor has the instructions.
#[derive(Clone, Copy)]
pub(super) struct Kernel(());

impl Kernel {
    pub(super) fn detect() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has_all.then_some(Self(()))
    }

    pub(super) fn quantize(self, numbers: &[f32]) -> Vec<Block> {
        // SAFETY: a `Kernel` exists only where the instructions do.
        unsafe { quantize(numbers) }
    }

    /// Rows of `row_size` bytes by each of the tokens, into `(rows, tokens)`.
    pub(super) fn multiply(
        self,
        format: Format,
        rows: &[u8],
        row_size: usize,
        tokens: &[&[Block]],
        products: &mut [f32],
    ) {
        let rows = Rows { bytes: rows, size: row_size };
        // SAFETY: a `Kernel` exists only where the instructions do.
        unsafe { multiply(format, rows, tokens, products) }
    }
}

/// The weights of some outputs, one after the other.
#[derive(Clone, Copy)]
struct Rows<'a> {
    bytes: &'a [u8],
    /// Bytes of a row.
    size: usize,
}

/// Thirty-two weights: each is its byte times the scale, plus the offset, which fill their lanes.
struct Weights {
    bytes: __m256i,
    scale: __m256,
    offset: __m256,
}

#[target_feature(enable = "avx2,fma,f16c")]
fn quantize(numbers: &[f32]) -> Vec<Block> {
    activation::quantize(numbers)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn multiply(format: Format, rows: Rows, tokens: &[&[Block]], products: &mut [f32]) {
    match format {
        Format::Q4_1 => multiply_rows::<20, false>(rows, tokens, products, |block| {
            let [s0, s1, o0, o1, nibbles @ ..] = block;
            Weights { bytes: spread(nibbles), scale: half([*s0, *s1]), offset: half([*o0, *o1]) }
        }),
        Format::Q5_0 => multiply_rows::<22, false>(rows, tokens, products, |block| {
            let [s0, s1, b0, b1, b2, b3, nibbles @ ..] = block;
            let fifth = _mm256_and_si256(bits([*b0, *b1, *b2, *b3]), _mm256_set1_epi8(16));
            let scale = half([*s0, *s1]);
            Weights {
                bytes: _mm256_or_si256(spread(nibbles), fifth),
                scale,
                offset: _mm256_mul_ps(scale, _mm256_set1_ps(-16.0)),
            }
        }),
        Format::Q8_0 => multiply_rows::<34, true>(rows, tokens, products, |block| {
            let [s0, s1, bytes @ ..] = block;
            Weights { bytes: load(bytes), scale: half([*s0, *s1]), offset: _mm256_setzero_ps() }
        }),
    }
}

/// `SIZE`: bytes of a block. `SIGNED`: its bytes have a sign, and no offset.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_rows<const SIZE: usize, const SIGNED: bool>(
    rows: Rows,
    tokens: &[&[Block]],
    products: &mut [f32],
    unpack: impl Fn(&[u8; SIZE]) -> Weights,
) {
    let count = tokens.len();
    let (groups, rest) = tokens.as_chunks::<TOGETHER>();
    for (index, group) in groups.iter().enumerate() {
        for (row, products) in rows.bytes.chunks_exact(rows.size).zip(products.chunks_exact_mut(count)) {
            let dots = dot::<SIZE, SIGNED, TOGETHER>(row, *group, &unpack);
            products[index * TOGETHER..][..TOGETHER].copy_from_slice(&dots);
        }
    }
    for (index, token) in (groups.len() * TOGETHER..).zip(rest) {
        for (row, products) in rows.bytes.chunks_exact(rows.size).zip(products.chunks_exact_mut(count)) {
            [products[index]] = dot::<SIZE, SIGNED, 1>(row, [token], &unpack);
        }
    }
}

/// One row by some tokens.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot<const SIZE: usize, const SIGNED: bool, const TOKENS: usize>(
    row: &[u8],
    tokens: [&[Block]; TOKENS],
    unpack: &impl Fn(&[u8; SIZE]) -> Weights,
) -> [f32; TOKENS] {
    let (blocks, _) = row.as_chunks::<SIZE>();
    let tokens = tokens.map(|token| &token[..blocks.len()]);
    // Two sums each, so that one addition need not wait for the other.
    let mut scaled = [_mm256_setzero_ps(); TOKENS];
    let mut offsets = [_mm256_setzero_ps(); TOKENS];
    for (index, block) in blocks.iter().enumerate() {
        let weights = unpack(block);
        for token in 0..TOKENS {
            let block = &tokens[token][index];
            let bytes = load(&block.bytes);
            let sums = if SIGNED {
                signed_products(weights.bytes, bytes)
            } else {
                unsigned_products(weights.bytes, bytes)
            };
            let scale = _mm256_mul_ps(weights.scale, _mm256_set1_ps(block.scale));
            scaled[token] = _mm256_fmadd_ps(scale, sums, scaled[token]);
            if !SIGNED {
                offsets[token] = _mm256_fmadd_ps(weights.offset, load_numbers(&block.sums), offsets[token]);
            }
        }
    }
    let mut totals = [0.0; TOKENS];
    for token in 0..TOKENS {
        totals[token] = total(_mm256_add_ps(scaled[token], offsets[token]));
    }
    totals
}

/// Products of weights from 0 to 128 with bytes from -127 to 127, four neighbours summed: two products, at most
/// 2 × 128 × 127, fit the sixteen bits in which they are added.
#[inline]
#[target_feature(enable = "avx2")]
fn unsigned_products(weights: __m256i, bytes: __m256i) -> __m256 {
    let pairs = _mm256_maddubs_epi16(weights, bytes);
    _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// Products of signed weights: the multiplication wants one side without a sign, so the other one takes it.
#[inline]
#[target_feature(enable = "avx2")]
fn signed_products(weights: __m256i, bytes: __m256i) -> __m256 {
    unsigned_products(_mm256_abs_epi8(weights), _mm256_sign_epi8(bytes, weights))
}

/// Sixteen bytes of two nibbles each: first all low ones, then all high ones.
#[inline]
#[target_feature(enable = "avx2")]
fn spread(nibbles: &[u8; BLOCK / 2]) -> __m256i {
    // SAFETY: the array has the sixteen bytes that are read; no alignment is needed.
    let low = unsafe { _mm_loadu_si128(nibbles.as_ptr().cast()) };
    let both = _mm256_set_m128i(_mm_srli_epi16::<4>(low), low);
    _mm256_and_si256(both, _mm256_set1_epi8(15))
}

/// Thirty-two bits as bytes: all ones where the bit is set.
#[inline]
#[target_feature(enable = "avx2")]
fn bits(bytes: [u8; 4]) -> __m256i {
    let all = _mm256_set1_epi32(i32::from_le_bytes(bytes));
    // Each byte eight times, then in each copy the bit that belongs to its place.
    let eight_times =
        _mm256_set_epi64x(0x0303_0303_0303_0303, 0x0202_0202_0202_0202, 0x0101_0101_0101_0101, 0);
    let places = _mm256_set1_epi64x(i64::from_le_bytes([1, 2, 4, 8, 16, 32, 64, 128]));
    let own = _mm256_and_si256(_mm256_shuffle_epi8(all, eight_times), places);
    _mm256_cmpeq_epi8(own, places)
}

/// A number of half precision, low byte first, in all lanes. Converting one lane alone would be compiled to
/// wait for whatever its register held before, which is the sum of the block before.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn half(bytes: [u8; 2]) -> __m256 {
    _mm256_cvtph_ps(_mm_set1_epi16(i16::from_le_bytes(bytes)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; BLOCK]) -> __m256i {
    // SAFETY: the array has the thirty-two bytes that are read; no alignment is needed.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_numbers(numbers: &[f32; LANES]) -> __m256 {
    // SAFETY: the array has the eight numbers that are read; no alignment is needed.
    unsafe { _mm256_loadu_ps(numbers.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn total(lanes: __m256) -> f32 {
    let halves = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
    _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)))
}
