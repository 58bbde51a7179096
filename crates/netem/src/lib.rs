//! Seeded network emulation for tests, in virtual time, and the same network as a real-time UDP
//! forwarder between processes. For tests and demonstrations; the SDK does not depend on it.
//!
//! | type | what it is |
//! |---|---|
//! | [`Clock`] | a clock that moves only when told to |
//! | [`Link`] | one direction of a path: loss, delay, jitter, reordering, duplication, rate, outages |
//! | [`Network`] | hosts and NATs (RFC 4787) on an internet, joined by links |
//! | [`Forwarder`] | two links in real time, between UDP sockets of other processes |
//!
//! `Link` and `Network` have no clock, no sockets and no tasks: whoever drives them passes the time
//! in. Everything random comes from a `u64` seed, and the same seed with the same calls gives the
//! same result on every platform.
//!
//! # Two endpoints in virtual time
//!
//! A caller behind a symmetric NAT and a lossy uplink repeats its request every half second, until
//! the answer is there. The loop is the whole of a simulation: poll what has arrived, let the
//! endpoints act, and move the clock to whatever comes next.
//!
//! ```
//! use std::net::{IpAddr, SocketAddr};
//! use std::time::Duration;
//! use netem::{Access, Clock, LinkConfig, Loss, NatConfig, Network, Place, Probability};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lossy = LinkConfig {
//!     loss: Loss::Independent(Probability::percent(30.0)),
//!     ..LinkConfig::with_delay(Duration::from_millis(40))
//! };
//! let external: IpAddr = "203.0.113.7".parse()?;
//! let caller: SocketAddr = "192.168.1.2:4000".parse()?;
//! let callee: SocketAddr = "198.51.100.5:5000".parse()?;
//!
//! let mut net = Network::new(1);
//! let nat =
//!     net.add_nat(Place::Internet, &[external], NatConfig::symmetric(), Access::both(lossy))?;
//! net.add_host(Place::Behind(nat), &[caller.ip()], Access::default())?;
//! net.add_host(Place::Internet, &[callee.ip()], Access::default())?;
//!
//! let mut clock = Clock::new();
//! let mut next_try = clock.now();
//! let answered = 'call: loop {
//!     while let Some(datagram) = net.poll(clock.now()) {
//!         if datagram.to == callee {
//!             assert_eq!(datagram.from.ip(), external);
//!             net.send(clock.now(), callee, datagram.from, *b"answer")?;
//!         } else {
//!             break 'call clock.elapsed();
//!         }
//!     }
//!     if clock.now() >= next_try {
//!         net.send(clock.now(), caller, callee, *b"request")?;
//!         next_try = clock.now() + Duration::from_millis(500);
//!     }
//!     let next = net.next_event().map_or(next_try, |event| event.min(next_try));
//!     clock.advance_to(next);
//! };
//! assert_eq!(answered.as_millis() % 500, 80, "one round trip after one of the requests");
//! # Ok(())
//! # }
//! ```

mod clock;
mod forwarder;
mod link;
mod network;
mod random;
mod units;

pub use clock::Clock;
pub use forwarder::{Forwarder, ForwarderConfig, ForwarderStats, IpVersion, Side};
pub use link::{GilbertElliott, Jitter, Link, LinkConfig, LinkStats, Loss, Reorder};
pub use network::{
    Access, AccessStats, Behaviour, Delivery, HostId, NatConfig, NatId, NatStats, Network,
    NetworkError, Node, Place, PortAllocation,
};
pub use units::{BitRate, Probability};
