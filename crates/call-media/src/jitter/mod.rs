//! The adaptive jitter buffer: puts packets back into the order and the rhythm of their sender.
//!
//! [`JitterBuffer`] is a pure state machine. It holds no clock, no socket and no decoder:
//! [`insert`](JitterBuffer::insert) takes each packet as it arrives,
//! [`pull`](JitterBuffer::pull) says what to play next, and both take the time.
//!
//! # How it decides
//!
//! **The delay line.** A packet's *transit* is its arrival time less its media time. The least
//! transit of the last two seconds is the *base*: the network at its best. The *delay* is how long
//! after `base + media time` a packet is played, so clock drift and route changes show as a slow or
//! sudden move of the base, and nothing else has to know about them.
//!
//! **The target.** How much later than the base packets come goes into a histogram that forgets
//! over some ten seconds. The target delay is the time within which 97 of 100 packets come, and
//! one packet's duration on top: then the packet that follows a lost one is there in time, with the
//! forward error correction that it carries. On a clean network the target is 20 ms.
//!
//! **A packet is not there when its turn has come.** If a later one is, it is lost: it is recovered
//! from the next packet's redundancy, or concealed. If the buffer is empty, nobody knows yet: the
//! sound is continued, and the next arrival tells. The expected packet was late: playing
//! goes on with it, nothing of the speech is missing, the delay has grown. A later one: the time is
//! counted as its loss. A packet with the next sequence number but a jump in its timestamp: the
//! sender had paused (discontinuous transmission, a muted microphone), which is no loss and the
//! best of times to set the delay anew.
//!
//! **Correcting the delay.** If it is above the target by more than a frame, two packets are merged
//! into the time of one ([`Playout::Merge`]); if it is below, a frame of continued sound is put
//! in. Either is done at once while the sound is quiet ([`JitterBuffer::set_quiet`]), and sparingly
//! in speech. Far above the target (600 ms), packets are thrown away. A time stretcher can take
//! the place of the merge without a change here: it is told which two packets to shorten.
//!
//! **Nonsense.** A packet whose number or timestamp does not fit the stream is set aside. If the
//! next one goes with it, the sender has restarted, and so does the buffer.
//!
//! What comes of it, measured over five minutes of packets of 20 ms with redundancy:
//!
//! | network | mean delay | concealed | recovered | merged |
//! |---|---|---|---|---|
//! | clean | 27 ms | 0 | 0 | 0 |
//! | 10 % random loss | 27 ms | 1.1 % | 8.9 % | 0 |
//! | 10 % loss in bursts of 5 | 27 ms | 8.5 % | 1.8 % | 0 |
//! | jitter, uniform, 0 to 40 ms | 66 ms | 0 | 0 | 0 |
//! | jitter, normal, deviation 20 ms | 101 ms | 0.02 % | 0 | 0.01 % |
//! | jitter, normal, deviation 40 ms | 160 ms | 0.4 % | 0 | 0.4 % |
//! | 5 % of packets held back by 45 ms | 67 ms | 0.01 % | 0.04 % | 0.01 % |
//! | a stall of 100 ms each second | 106 ms | 0.14 % | 0 | 0.14 % |
//! | one stall of 500 ms | below 250 ms after 2 s, 90 ms after 5 s, 27 ms after 7 s | 24 frames | 0 | 24 |

mod buffer;
mod delay;
mod pacing;
mod packets;
mod playhead;

mod stats;

pub use buffer::{JitterBuffer, JitterConfig, JitterPacket, Playout};
pub use packets::{MAX_PACKETS, MAX_PAYLOAD_BYTES};
pub use stats::JitterStats;
