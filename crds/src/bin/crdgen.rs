//! Writes the custom resource definitions, one file each, into the folder that is given.

use codecrucible_crds::{CodeCrucible, ModelBackend};
use kube::CustomResourceExt;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("usage: crdgen FOLDER")?;
    for crd in [CodeCrucible::crd(), ModelBackend::crd()] {
        let name = crd.metadata.name.clone().unwrap_or_default();
        write(&folder, &name, &serde_yaml::to_string(&crd)?)?;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, yaml: &str) -> std::io::Result<()> {
    let text = format!("# Generated from the crate codecrucible-crds by `make generate`.\n{yaml}");
    std::fs::write(folder.join(format!("{name}.yaml")), text)
}
