//! From where a request comes: the other end of the connection, or, behind proxies that are trusted, whom the outermost of them saw.

use super::listener::Peer;
use crate::snapshot::Snapshot;
use http::{HeaderMap, HeaderName};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Each proxy adds at the end who asked it; what stands before is what a client may have made up.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// In no range of addresses.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The client's address.
pub(super) fn of_client(peer: Option<&Peer>, headers: &HeaderMap, snapshot: &Snapshot) -> IpAddr {
    behind(snapshot.bundle.policy().trusted_proxy_hops, peer, headers)
}

/// A request that did not come through all the proxies comes from the other end of its connection.
fn behind(trusted_proxy_hops: u16, peer: Option<&Peer>, headers: &HeaderMap) -> IpAddr {
    // Every connection has another end.
    let peer = peer.map_or(NOWHERE, |peer| peer.0);
    let Some(nth_from_the_end) = trusted_proxy_hops.checked_sub(1) else { return peer };
    let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let mut entries = values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    match entries.nth(nth_from_the_end.into()) {
        // One that nobody can read is in no range of addresses.
        Some(entry) => std::str::from_utf8(entry).ok().and_then(parsed).unwrap_or(NOWHERE),
        None => peer,
    }
}

/// With or without a port.
fn parsed(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let without_brackets = || entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = || entry.parse().ok().or_else(|| without_brackets()?.parse().ok());
    address().or_else(|| entry.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(hops: u16, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        behind(hops, Some(&Peer(IpAddr::from([10, 0, 0, 9]))), &headers).to_string()
    }

    #[test]
    fn without_trusted_proxies_nothing_that_a_client_says_counts() {
        assert_eq!(seen(0, &["1.2.3.4"]), "10.0.0.9");
        assert_eq!(behind(0, None, &HeaderMap::new()).to_string(), "0.0.0.0");
    }

    #[test]
    fn behind_proxies_it_is_whom_the_outermost_saw() {
        assert_eq!(seen(1, &["6.6.6.6, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(seen(2, &["6.6.6.6, 1.2.3.4, 10.0.0.1"]), "1.2.3.4");
        assert_eq!(seen(2, &["6.6.6.6, 1.2.3.4", "10.0.0.1"]), "1.2.3.4", "each may add a line of its own");
        assert_eq!(seen(1, &["1.2.3.4:5678"]), "1.2.3.4");
        assert_eq!(seen(1, &["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(seen(1, &["[2001:db8::1]"]), "2001:db8::1");
    }

    #[test]
    fn who_came_past_a_proxy_is_the_other_end_of_its_connection() {
        assert_eq!(seen(2, &["1.2.3.4"]), "10.0.0.9");
        assert_eq!(seen(1, &[]), "10.0.0.9");
        assert_eq!(seen(1, &["1.2.3.4, unknown"]), "0.0.0.0", "whom nobody can name is nowhere");
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, http::HeaderValue::from_bytes(b"\xff, 1.2.3.4").unwrap());
        assert_eq!(
            behind(1, None, &headers).to_string(),
            "1.2.3.4",
            "what a client made up before does not matter"
        );
    }
}
