//! Writes the custom resource definitions, one file each, into the folder that is given.

use codecrucible_crds::definition_files;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).map(PathBuf::from).ok_or("usage: crdgen FOLDER")?;
    for (name, yaml) in definition_files()? {
        std::fs::write(folder.join(name), yaml)?;
    }
    Ok(())
}
