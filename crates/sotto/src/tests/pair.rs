//! Two engines on an emulated network, with sources and sinks to check.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use call_core::{EndReason, Event};
use call_media::video::{VideoFrame, VideoSink, VideoSource};
use call_media::{AudioFrame, AudioSink, AudioSource, MediaError, SourceState};
use call_signal::CallMedia;
use netem::{Access, HostId, Network, Place};

use crate::harness::{self, Arrival, Wire};
pub(super) use crate::harness::{CALLEE, CALLER};
use crate::media::MediaStreams;
use crate::pipeline::LineChange;
use crate::transport::{MediaLine, RtcConfig};

/// Delay of the signal channel, one way.
const SIGNAL_DELAY: Duration = Duration::from_millis(50);

pub(super) type Pair = harness::Pair<Network, Ends>;
pub(super) type Side = harness::Side<Ends>;

/// What is at the ends of one side's engine.
pub(super) struct Ends {
    pub(super) host: HostId,
    pub(super) heard: Recording,
    pub(super) seen: Seen,
    pub(super) screen: Seen,
    pub(super) screen_sound: Recording,
}

impl Wire for Network {
    fn send(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        self.send(now, from, to, bytes.to_vec()).unwrap();
    }

    fn poll(&mut self, now: Instant) -> Option<Arrival> {
        let delivery = self.poll(now)?;
        Some(Arrival {
            from: delivery.from,
            to: delivery.to,
            bytes: delivery.payload.into(),
        })
    }

    fn next_arrival(&self) -> Option<Instant> {
        self.next_event()
    }
}

impl Pair {
    pub(super) fn on(access: Access) -> Self {
        Self::with([RtcConfig::new(false); 2], access)
    }

    pub(super) fn with(transports: [RtcConfig; 2], access: Access) -> Self {
        Self::seeded(7, transports, access)
    }

    pub(super) fn seeded(seed: u64, transports: [RtcConfig; 2], access: Access) -> Self {
        let mut network = Network::new(seed);
        let mut side = |index: usize, port: u16| {
            let address: SocketAddr = ([192, 0, 2, 1 + index as u8], port).into();
            let host = network
                .add_host(Place::Internet, &[address.ip()], access)
                .unwrap();
            let ends = Ends {
                host,
                heard: Recording::default(),
                seen: Seen::default(),
                screen: Seen::default(),
                screen_sound: Recording::default(),
            };
            Side::new(index, transports[index], address, ends)
        };
        let sides = [side(CALLER, 4000), side(CALLEE, 5000)];
        Self::new(network, SIGNAL_DELAY, sides)
    }

    pub(super) fn place(&mut self, by: usize, media: CallMedia) {
        let streams = self.sides[by].ends.streams();
        self.place_with(by, media, streams);
    }

    /// Accepts the ringing call on the callee's side.
    pub(super) fn accept(&mut self, by: usize, media: CallMedia) {
        let streams = self.sides[by].ends.streams();
        self.accept_with(by, media, streams);
    }

    pub(super) fn hang_up(&mut self, by: usize) {
        let now = self.now();
        let call_id = self.sides[by].engine.current_call().expect("no call");
        self.sides[by].engine.hang_up(now, call_id);
        self.settle();
    }

    pub(super) fn change(&mut self, by: usize, line: MediaLine, change: LineChange) {
        let now = self.now();
        self.sides[by].engine.change(now, line, change);
    }

    /// Places a call, accepts it as soon as it rings, and runs until both are connected.
    pub(super) fn connect(&mut self, media: CallMedia) {
        self.place(CALLER, media);
        self.run_until(|pair| pair.sides[CALLEE].has(|e| matches!(e, Event::Incoming { .. })));
        self.accept(CALLEE, media);
        self.run_until(|pair| pair.sides.iter().all(Side::is_connected));
    }

    /// One side's process dies without a word.
    pub(super) fn vanish(&mut self, side: usize) {
        self.sides[side].gone = true;
    }
}

impl Side {
    pub(super) fn ended(&self) -> Option<EndReason> {
        self.events.iter().find_map(|event| match event {
            Event::Ended { reason, .. } => Some(*reason),
            _ => None,
        })
    }
}

impl Ends {
    /// Streams of a new call: a tone in, recordings out.
    fn streams(&mut self) -> MediaStreams {
        self.heard = Recording::default();
        self.seen = Seen::default();
        MediaStreams {
            audio_in: Some(Box::new(Tone::default())),
            audio_out: Some(Box::new(self.heard.clone())),
            video_in: Some(Box::new(Pattern::default())),
            video_out: Some(Box::new(self.seen.clone())),
            screen_out: Some(Box::new(self.screen.clone())),
            screen_audio_out: Some(Box::new(self.screen_sound.clone())),
        }
    }
}

/// A speech-like source: a tone whose loudness changes four times a second.
#[derive(Default)]
pub(super) struct Tone {
    sample: u64,
}

impl AudioSource for Tone {
    fn next_frame(&mut self, frame: &mut AudioFrame) -> Result<SourceState, MediaError> {
        for sample in frame.samples_mut() {
            let t = self.sample as f64 / 48_000.0;
            let loudness = 0.5 + 0.5 * (t * 8.0 * std::f64::consts::PI).sin();
            *sample = (8_000.0 * loudness * (t * 880.0 * std::f64::consts::PI).sin()) as i16;
            self.sample += 1;
        }
        Ok(SourceState::Frame)
    }
}

/// Keeps what was played.
#[derive(Clone, Default)]
pub(super) struct Recording(Arc<Mutex<Vec<i16>>>);

impl Recording {
    pub(super) fn samples(&self) -> Vec<i16> {
        self.0.lock().unwrap().clone()
    }
}

impl AudioSink for Recording {
    fn write(&mut self, frame: &AudioFrame) -> Result<(), MediaError> {
        self.0.lock().unwrap().extend_from_slice(frame.samples());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), MediaError> {
        Ok(())
    }
}

/// Frames of 4 kB that say which they are; a key frame each second or on request.
#[derive(Default)]
pub(super) struct Pattern {
    number: u32,
    key_frame_wanted: bool,
}

impl VideoSource for Pattern {
    fn next_frame(&mut self) -> Result<Option<VideoFrame>, MediaError> {
        let key_frame = self.number.is_multiple_of(30) || self.key_frame_wanted;
        self.key_frame_wanted = false;
        let mut data = vec![u8::from(!key_frame); 4_000];
        data[10..14].copy_from_slice(&self.number.to_be_bytes());
        let timestamp = Duration::from_secs(1) * self.number / 30;
        self.number += 1;
        Ok(Some(VideoFrame {
            timestamp,
            key_frame,
            data: data.into(),
        }))
    }

    fn request_key_frame(&mut self) {
        self.key_frame_wanted = true;
    }
}

/// Numbers of the frames that were shown, and whether each was a key frame.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<(u32, bool)>>>);

impl Seen {
    pub(super) fn frames(&self) -> Vec<(u32, bool)> {
        self.0.lock().unwrap().clone()
    }
}

impl VideoSink for Seen {
    fn write(&mut self, frame: &VideoFrame) -> Result<(), MediaError> {
        let number = u32::from_be_bytes(frame.data[10..14].try_into().unwrap());
        self.0.lock().unwrap().push((number, frame.key_frame));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), MediaError> {
        Ok(())
    }
}
