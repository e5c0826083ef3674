//! Who wrote what, as the API server's audit log has it.

use codecrucible_tests::cluster::Cluster;
use serde_json::Value;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};

/// The place in the log that is reached now.
pub fn audit_length(cluster: &Cluster) -> u64 {
    std::fs::metadata(cluster.audit_log().unwrap()).unwrap().len()
}

/// What an operator's account wrote in a namespace since a place in the log; leases aside.
pub fn writes_since(cluster: &Cluster, offset: u64, account: &str, namespace: &str) -> Vec<String> {
    let mut log = File::open(cluster.audit_log().unwrap()).unwrap();
    log.seek(SeekFrom::Start(offset)).unwrap();
    let log = std::io::read_to_string(log).unwrap();
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let user = format!("system:serviceaccount:codecrucible-system:{account}");
    let is_write = |entry: &Value| {
        entry["user"]["username"] == user.as_str()
            && entry["objectRef"]["resource"] != "leases"
            && entry["objectRef"]["namespace"] == namespace
    };
    entries.filter(is_write).map(|entry| format!("{} {}", entry["verb"], entry["requestURI"])).collect()
}
