//! t
use std::net::UdpSocket; use std::time::*; use netem::*;
fn main(){ for (pps, n) in [(50u64,250u64),(1000,5000)] {
 let a=UdpSocket::bind("127.0.0.1:0").unwrap(); let b=UdpSocket::bind("127.0.0.1:0").unwrap();
 let f=Forwarder::start(ForwarderConfig{a_to_b:LinkConfig::with_delay(Duration::from_millis(20)),..Default::default()}).unwrap();
 let (ba,_)=f.pair(a.local_addr().unwrap(),b.local_addr().unwrap()).unwrap();
 let base=Instant::now();
 let t=std::thread::spawn(move||{ let mut v=vec![]; let mut buf=[0;2000]; for _ in 0..n { b.recv_from(&mut buf).unwrap(); let sent=u64::from_be_bytes(buf[..8].try_into().unwrap()); v.push(base.elapsed().as_nanos() as i64 - sent as i64 - 20_000_000);} v.sort(); v});
 for _ in 0..n { let mut p=[0u8;1200]; p[..8].copy_from_slice(&(base.elapsed().as_nanos() as u64).to_be_bytes()); a.send_to(&p,ba).unwrap(); std::thread::sleep(Duration::from_micros(1_000_000/pps)); }
 let v=t.join().unwrap(); let q=|p:f64| v[((v.len()-1) as f64*p) as usize]/1000;
 println!("{pps} pps: extra us p50 {} p90 {} p99 {} max {}  worst_lateness {:?}", q(0.5),q(0.9),q(0.99),q(1.0), f.stats().worst_lateness);
}}
