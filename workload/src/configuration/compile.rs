//! Makes a bundle out of a policy that a person wrote. Inside Kubernetes, the operator does.

use super::Folders;
use anyhow::Context as _;
use codecrucible_contract::{Bundle, MAX_BUNDLE_BYTES, Policy, layout};
use std::io::Read;

/// Compiles a policy and swaps it in; a service that follows the directory applies it at once.
pub fn compile(folders: &Folders, policy: impl Read) -> anyhow::Result<()> {
    let policy: Policy =
        serde_json::from_reader(policy.take(MAX_BUNDLE_BYTES as u64)).context("the policy does not parse")?;
    let file = folders.policy.join(layout::BUNDLE_FILE);
    let previous = std::fs::read(&file).ok().and_then(|bytes| Bundle::parse(&bytes).ok());
    let bundle = Bundle::compile(policy, previous.as_ref().map(Bundle::revision))?;
    std::fs::create_dir_all(&folders.policy)?;
    // A reader never sees half a file.
    let unfinished = folders.policy.join(".unfinished");
    std::fs::write(&unfinished, bundle.to_json())?;
    std::fs::rename(unfinished, file)?;
    Ok(())
}
