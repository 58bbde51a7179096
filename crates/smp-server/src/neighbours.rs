//! How many connections come from one network, so that one client can't take all places.
//!
//! Addresses are known for as long as their connections are open, and nowhere else.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// Bits of an IPv6 address that one customer of a provider has at least: who has one such address
/// has all of them.
const PREFIX: u32 = 64;

/// Connections that are open, by network.
pub(crate) struct Neighbours {
    limit: usize,
    open: Mutex<HashMap<Network, usize>>,
}

/// The place of a connection; free again when it is dropped.
pub(crate) struct Neighbour {
    /// None for whom the limit is not for.
    counted: Option<(Arc<Neighbours>, Network)>,
}

/// An address of IPv4, or the network of an address of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Network(Ipv6Addr);

impl Neighbours {
    /// With so many connections from one network at most.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            open: Mutex::default(),
        })
    }

    /// A place for a connection from this address, unless its network has too many.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Neighbour> {
        let Some(network) = Network::of(address) else {
            return Some(Neighbour { counted: None });
        };
        let mut open = self.open.lock();
        let count = open.entry(network).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Neighbour {
            counted: Some((Arc::clone(self), network)),
        })
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let Some((neighbours, network)) = &self.counted else {
            return;
        };
        if let Entry::Occupied(mut entry) = neighbours.open.lock().entry(*network) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Network {
    /// None for loopback: all clients of an onion service come from there.
    fn of(address: IpAddr) -> Option<Self> {
        // An IPv4 client of a socket for both comes with a mapped address.
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => Some(Self(address.to_ipv6_mapped())),
            IpAddr::V6(address) => {
                let host = u128::MAX >> PREFIX;
                Some(Self(Ipv6Addr::from_bits(address.to_bits() & !host)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(neighbours: &Arc<Neighbours>, address: &str) -> Option<Neighbour> {
        neighbours.enter(address.parse().unwrap())
    }

    #[test]
    fn one_network_has_so_many_connections_and_not_more() {
        let all = Neighbours::new(2);
        let first = enter(&all, "203.0.113.1").unwrap();
        let _second = enter(&all, "203.0.113.1").unwrap();
        assert!(enter(&all, "203.0.113.1").is_none());
        let _other = enter(&all, "203.0.113.2").unwrap();
        drop(first);
        assert!(enter(&all, "203.0.113.1").is_some());
    }

    #[test]
    fn nothing_is_kept_of_connections_that_ended() {
        let all = Neighbours::new(2);
        let open = ["203.0.113.1", "203.0.113.2", "2001:db8::1"].map(|one| enter(&all, one));
        assert_eq!(all.open.lock().len(), 3);
        drop(open);
        assert!(all.open.lock().is_empty());
    }

    #[test]
    fn ipv6_is_counted_by_64_bits() {
        let all = Neighbours::new(1);
        let _one = enter(&all, "2001:db8:1:2:3:4:5:6").unwrap();
        assert!(enter(&all, "2001:db8:1:2:ffff::").is_none());
        assert!(enter(&all, "2001:db8:1:3::").is_some());
    }

    #[test]
    fn ipv4_is_the_same_over_a_socket_for_both() {
        let all = Neighbours::new(1);
        let _one = enter(&all, "203.0.113.1").unwrap();
        assert!(enter(&all, "::ffff:203.0.113.1").is_none());
        assert!(enter(&all, "::ffff:203.0.113.2").is_some());
    }

    #[test]
    fn loopback_is_not_limited() {
        let all = Neighbours::new(1);
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let open = [(); 3].map(|()| enter(&all, address));
            assert!(open.iter().all(Option::is_some), "{address}");
        }
    }
}
