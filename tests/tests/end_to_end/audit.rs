//! Who asked for what, as the API server's audit log has it.

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
    let is_write = |entry: &Value| {
        entry["objectRef"]["resource"] != "leases" && entry["objectRef"]["namespace"] == namespace
    };
    let entries = entries_since(cluster, offset, account).into_iter().filter(is_write);
    entries.map(|entry| format!("{} {}", entry["verb"], entry["requestURI"])).collect()
}

/// A request, as far as its rights go.
#[derive(Debug)]
pub struct Request {
    pub group: String,
    /// Empty for what belongs to no namespace.
    pub namespace: String,
    /// With the subresource, if there is one.
    pub resource: String,
    pub verb: String,
    pub code: u64,
}

/// All that an audited account asked for since a place in the log.
pub fn requests_since(cluster: &Cluster, offset: u64, account: &str) -> Vec<Request> {
    let request = |entry: Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &entry["objectRef"];
        let subresource = object["subresource"].as_str().map(|name| format!("/{name}"));
        Request {
            group: text(&object["apiGroup"]),
            namespace: text(&object["namespace"]),
            resource: text(&object["resource"]) + &subresource.unwrap_or_default(),
            verb: text(&entry["verb"]),
            code: entry["responseStatus"]["code"].as_u64().unwrap_or_default(),
        }
    };
    entries_since(cluster, offset, account).into_iter().map(request).collect()
}

fn entries_since(cluster: &Cluster, offset: u64, account: &str) -> Vec<Value> {
    let mut log = File::open(cluster.audit_log().unwrap()).unwrap();
    log.seek(SeekFrom::Start(offset)).unwrap();
    let log = std::io::read_to_string(log).unwrap();
    let user = format!("system:serviceaccount:codecrucible-system:{account}");
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    entries.filter(|entry| entry["user"]["username"] == user.as_str()).collect()
}
