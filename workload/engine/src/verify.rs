//! A model file is used only if it is exactly the one that was pinned.

use crate::LoadError;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// How much is read at once, bytes.
const BUFFER_BYTES: usize = 1 << 20;

/// Reads the whole file and compares its hash.
pub(crate) fn verify(path: &Path, expected: &str) -> Result<(), LoadError> {
    let unreadable =
        |error: std::io::Error| LoadError::Unreadable { path: path.to_owned(), reason: error.to_string() };
    let mut file = File::open(path).map_err(unreadable)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; BUFFER_BYTES]);
    loop {
        match file.read(&mut buffer).map_err(unreadable)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    let actual: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if actual == expected {
        Ok(())
    } else {
        Err(LoadError::HashMismatch { expected: expected.to_owned(), actual })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc` (FIPS 180-4).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn only_the_pinned_file_passes() {
        let path = std::env::temp_dir().join(format!("codecrucible-verify-{}", std::process::id()));
        std::fs::write(&path, "abc").unwrap();
        assert!(verify(&path, ABC).is_ok());
        std::fs::write(&path, "ab").unwrap();
        assert!(matches!(verify(&path, ABC), Err(LoadError::HashMismatch { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(verify(&path, ABC), Err(LoadError::Unreadable { .. })));
    }
}
