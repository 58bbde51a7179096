//! What one packet costs.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use netem::{
    Access, BitRate, Jitter, Link, LinkConfig, Loss, NatConfig, Network, NetworkError, Place,
    Probability,
};

/// 50 packets a second, as audio has.
const INTERVAL: Duration = Duration::from_millis(20);

fn unsteady() -> LinkConfig {
    LinkConfig {
        loss: Loss::bursts(Probability::percent(5.0), 3.0),
        jitter: Jitter::Normal {
            deviation: Duration::from_millis(10),
        },
        rate: Some(BitRate::from_mbps(1)),
        ..LinkConfig::with_delay(Duration::from_millis(50))
    }
}

fn link(criterion: &mut Criterion) {
    let mut link = Link::new(unsteady(), 1);
    let mut now = Instant::now();
    criterion.bench_function("link: send and poll", |bencher| {
        bencher.iter(|| {
            now += INTERVAL;
            link.send(now, 200, ());
            while black_box(link.poll(now)).is_some() {}
        });
    });
}

fn network(criterion: &mut Criterion) {
    let Ok((mut net, caller, callee)) = call() else {
        return;
    };
    let mut now = Instant::now();
    criterion.bench_function("network: send and poll through a NAT", |bencher| {
        bencher.iter(|| {
            now += INTERVAL;
            let sent = net.send(now, caller, callee, [0; 200]);
            while black_box(net.poll(now)).is_some() {}
            sent
        });
    });
}

/// A caller behind a NAT, and a callee.
fn call() -> Result<(Network, SocketAddr, SocketAddr), NetworkError> {
    let caller = SocketAddr::from(([192, 168, 1, 2], 4_000));
    let callee = SocketAddr::from(([198, 51, 100, 1], 5_000));
    let external = [[203, 0, 113, 1].into()];
    let access = Access::both(unsteady());
    let mut net = Network::new(1);
    let nat = net.add_nat(Place::Internet, &external, NatConfig::symmetric(), access)?;
    net.add_host(Place::Behind(nat), &[caller.ip()], Access::default())?;
    net.add_host(Place::Internet, &[callee.ip()], access)?;
    Ok((net, caller, callee))
}

criterion_group!(benches, link, network);
criterion_main!(benches);
