//! How a bundle is handed out: as it is while people can read it, compressed (gzip, RFC 1952) when it is larger than that.

use crate::bundle::{Bundle, BundleError, MAX_BUNDLE_BYTES};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::io::{Read as _, Write as _};

/// Largest packed bundle, bytes: what fits a ConfigMap beside its metadata. Two that are handed out together share it.
pub const MAX_PACKED_BYTES: usize = 900 * 1024;
/// Largest bundle that is not compressed, bytes.
const MAX_PLAIN_BYTES: usize = 256 * 1024;

/// A bundle as it is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packed {
    /// JSON.
    Plain(String),
    /// The same, compressed.
    Compressed(Vec<u8>),
}

impl Packed {
    /// How much room it takes, bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Plain(json) => json.len(),
            Self::Compressed(bytes) => bytes.len(),
        }
    }

    /// Packs a document.
    pub(crate) fn new(json: String) -> Result<Self, BundleError> {
        if json.len() <= MAX_PLAIN_BYTES {
            return Ok(Self::Plain(json));
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let written = encoder.write_all(json.as_bytes()).and_then(|()| encoder.finish());
        // Memory takes everything.
        let compressed = written.map_err(|error| BundleError::Syntax(error.to_string()))?;
        let bytes = compressed.len();
        if bytes > MAX_PACKED_BYTES {
            return Err(BundleError::TooLargePacked { bytes });
        }
        Ok(Self::Compressed(compressed))
    }
}

impl Bundle {
    /// The bundle as it is handed out.
    pub fn pack(&self) -> Packed {
        // A bundle that compiled can be packed; the fallback cannot be reached, and the API server would refuse it.
        Packed::new(self.to_json()).unwrap_or_else(|_| Packed::Plain(self.to_json()))
    }

    /// Reads a compressed bundle, and of it no more than a bundle may have.
    pub fn parse_compressed(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MAX_PACKED_BYTES {
            return Err(BundleError::TooLargePacked { bytes: bytes.len() });
        }
        let mut json = Vec::new();
        let most = MAX_BUNDLE_BYTES as u64 + 1;
        let read = GzDecoder::new(bytes).take(most).read_to_end(&mut json);
        read.map_err(|error| BundleError::Syntax(format!("it does not decompress: {error}")))?;
        Self::parse(&json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Voice;
    use crate::validate::tests::sample_policy;

    /// A bundle with so many voices, each with a prompt of the greatest length.
    fn bundle(voices: usize, prompt: impl Fn(usize) -> String) -> Result<Bundle, BundleError> {
        let mut policy = sample_policy();
        let voice =
            |index| Voice { name: format!("v{index}"), temperature_percent: 1, prompt: prompt(index) };
        policy.synthesis.voices.extend((0..voices).map(voice));
        Bundle::compile(policy, None)
    }

    fn compressed(bundle: &Bundle) -> Vec<u8> {
        match bundle.pack() {
            Packed::Compressed(bytes) => bytes,
            Packed::Plain(json) => panic!("{} bytes are plain", json.len()),
        }
    }

    #[test]
    fn a_small_bundle_stays_readable_and_a_large_one_reads_back() {
        let small = bundle(0, |_| String::new()).unwrap();
        assert_eq!(small.pack(), Packed::Plain(small.to_json()));
        let large = bundle(20, |_| "prompt ".repeat(2_000)).unwrap();
        let bytes = compressed(&large);
        assert!(bytes.len() < 10_000, "{}", bytes.len());
        assert_eq!(Bundle::parse_compressed(&bytes).unwrap(), large);
        assert_eq!(large.pack(), large.pack(), "the same again is the same");
    }

    #[test]
    fn a_compressed_bundle_that_is_cut_short_is_refused_at_every_length() {
        let bytes = compressed(&bundle(20, |_| "prompt ".repeat(2_000)).unwrap());
        for length in 0..bytes.len() {
            let refused = Bundle::parse_compressed(&bytes[..length]);
            assert!(matches!(refused, Err(BundleError::Syntax(_))), "length {length}: {refused:?}");
        }
    }

    #[test]
    fn what_would_fill_the_memory_is_read_no_further_than_a_bundle_may_be() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..64 {
            encoder.write_all(&[b' '; 1 << 20]).unwrap();
        }
        let refused = Bundle::parse_compressed(&encoder.finish().unwrap());
        assert_eq!(refused, Err(BundleError::TooLarge { bytes: MAX_BUNDLE_BYTES + 1 }));
        let refused = Bundle::parse_compressed(&vec![0; MAX_PACKED_BYTES + 1]);
        assert_eq!(refused, Err(BundleError::TooLargePacked { bytes: MAX_PACKED_BYTES + 1 }));
    }
}
