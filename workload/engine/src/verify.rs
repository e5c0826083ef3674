//! A model file is used only if it is exactly the one that was pinned.

use crate::LoadError;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

/// How much is read at once, bytes.
const BUFFER_BYTES: usize = 1 << 20;

/// Opens a file, reads it whole and compares its hash. What is loaded then must be read from the file that
/// is given back: another one may lie at the path by then.
pub(crate) fn open_verified(path: &Path, expected: &str) -> Result<File, LoadError> {
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
    if actual != expected {
        return Err(LoadError::HashMismatch { expected: expected.to_owned(), actual });
    }
    file.rewind().map_err(unreadable)?;
    Ok(file)
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
        assert_eq!(std::io::read_to_string(open_verified(&path, ABC).unwrap()).unwrap(), "abc");
        std::fs::write(&path, "ab").unwrap();
        assert!(matches!(open_verified(&path, ABC), Err(LoadError::HashMismatch { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(open_verified(&path, ABC), Err(LoadError::Unreadable { .. })));
    }
}
