//! Opus: one encoder with the settings for calls, one decoder that survives any peer.

use bytes::Bytes;
use opus::packet;
use opus::{Application, Bandwidth, Bitrate, Channels, Signal};

use crate::{AUDIO_FRAME_SAMPLES, AudioFrame, CodecError, SAMPLE_RATE};

/// The largest packet that [`OpusEncoder`] makes, in bytes: what 510 kbit/s take for 20 ms.
pub const MAX_OPUS_PACKET: usize = 1275;

/// Samples of the longest packet that RFC 6716 allows: 120 ms.
const MAX_PACKET_SAMPLES: usize = 5760;

/// Beyond this hint, in percent, redundancy costs more than it gains.
const MAX_HINT: u8 = 15;

/// Opus codes time in steps of 2.5 ms; a decoder can be asked for multiples of it alone.
const STEP_SAMPLES: usize = 120;

/// Settings of [`OpusEncoder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpusConfig {
    /// Bits a second without packet headers, 6,000 to 510,000. Constant: each packet has
    /// `bitrate / 400` bytes, 80 at the default of 32,000.
    pub bitrate: u32,
    /// Effort, 0 to 10.
    pub complexity: u8,
    /// In-band forward error correction: while loss is expected, each packet also carries a
    /// coarse copy of the one before. It takes its bits out of the same constant bitrate.
    pub fec: bool,
    /// The share of packets that is expected to be lost, in percent, 0 to 100.
    pub expected_loss: u8,
}

impl Default for OpusConfig {
    fn default() -> Self {
        Self {
            bitrate: 32_000,
            complexity: 10,
            fec: true,
            expected_loss: 5,
        }
    }
}

/// Encodes frames of 20 ms to Opus packets (RFC 6716), mono, at a constant bitrate: all packets
/// have one size, so that their sizes say nothing about the speech in them.
///
/// # Loss hint, FEC and bandwidth
///
/// In-band FEC exists in the SILK layer alone, it takes its bits from the speech, and in hybrid
/// mode it has to share them with the sound above 8 kHz. So the encoder has two ways, and
/// [`set_expected_loss`](Self::set_expected_loss) chooses:
///
/// - **0 %**: no redundancy, full bandwidth (hybrid mode, sound to 20 kHz).
/// - **from 1 %**: redundancy in each packet, wideband (SILK alone, sound to 8 kHz). A higher hint
///   makes the redundant copy finer; 15 % and more are all taken for 15 %, since beyond it the
///   speech loses more than the copy gains, even at 20 % real loss.
///
/// PESQ-WB of real speech (11 s), 32 kbit/s constant, complexity 10, random loss (mean of 16
/// patterns), libopus 1.6.1:
///
/// | hint | bandwidth | no loss | 2 % | 5 % | 10 % | 20 % |
/// |---|---|---|---|---|---|---|
/// | 0 | full | 4.34 | 3.72 | 3.20 | 2.28 | 1.62 |
/// | 1 to 5 | wide | 4.32 | 4.22 | 4.10 | 3.61 | 2.80 |
/// | 10 | wide | 4.28 | 4.20 | 4.11 | 3.64 | 2.81 |
/// | 15 | wide | 4.24 | 4.18 | 4.10 | 3.68 | 2.86 |
/// | 20 | wide | 4.12 | 4.06 | 4.00 | 3.61 | 2.84 |
/// | 10 | full | 4.07 | | | 3.46 | |
/// | 5 | full | 4.36 | | | 2.30 | |
///
/// (In the last row libopus sends no redundancy at all to keep the bandwidth it was told to keep,
/// which is why the bandwidth is not fixed to full here.) PESQ-WB does not hear beyond 8 kHz,
/// people do: let the hint go to 0 on networks that have lost nothing for a while, and keep it
/// above 0 otherwise. Each step to or from 0 is heard as a change of tone, so change over rarely.
#[derive(Debug)]
pub struct OpusEncoder {
    encoder: opus::Encoder,
    config: OpusConfig,
}

impl OpusEncoder {
    /// An encoder; [`CodecError::BadSetting`] if a setting is out of range.
    pub fn new(config: OpusConfig) -> Result<Self, CodecError> {
        let mut encoder = opus::Encoder::new(SAMPLE_RATE, Channels::Mono, Application::Voip)
            .map_err(|error| library(&error))?;
        encoder
            .set_signal(Signal::Voice)
            .map_err(|error| library(&error))?;
        encoder.set_vbr(false).map_err(|error| library(&error))?;
        encoder
            .set_complexity(i32::from(config.complexity))
            .map_err(|_| CodecError::BadSetting("complexity"))?;
        let mut this = Self { encoder, config };
        this.set_bitrate(config.bitrate)?;
        this.set_expected_loss(config.expected_loss)?;
        Ok(this)
    }

    /// Encodes 20 ms into one packet of `bitrate / 400` bytes.
    pub fn encode(&mut self, frame: &AudioFrame) -> Result<Bytes, CodecError> {
        let mut packet = [0; MAX_OPUS_PACKET];
        let length = self
            .encoder
            .encode(frame.samples(), &mut packet)
            .map_err(|error| library(&error))?;
        packet
            .get(..length)
            .map(Bytes::copy_from_slice)
            .ok_or(CodecError::Library("encoder overran its buffer"))
    }

    /// Takes the share of lost packets that the peer reports, in percent, 0 to 100; it holds from
    /// the next frame on.
    pub fn set_expected_loss(&mut self, percent: u8) -> Result<(), CodecError> {
        if percent > 100 {
            return Err(CodecError::BadSetting("expected loss"));
        }
        let redundant = self.config.fec && percent > 0;
        let hint = percent.min(MAX_HINT);
        let bandwidth = if redundant {
            Bandwidth::Wideband
        } else {
            Bandwidth::Auto
        };
        self.encoder
            .set_inband_fec(redundant)
            .map_err(|error| library(&error))?;
        self.encoder
            .set_packet_loss_perc(i32::from(hint))
            .map_err(|error| library(&error))?;
        self.encoder
            .set_bandwidth(bandwidth)
            .map_err(|error| library(&error))?;
        self.config.expected_loss = percent;
        Ok(())
    }

    /// Changes the bitrate from the next frame on, 6,000 to 510,000 bits a second.
    pub fn set_bitrate(&mut self, bitrate: u32) -> Result<(), CodecError> {
        if !(6_000..=510_000).contains(&bitrate) {
            return Err(CodecError::BadSetting("bitrate"));
        }
        let bits = i32::try_from(bitrate).map_err(|_| CodecError::BadSetting("bitrate"))?;
        self.encoder
            .set_bitrate(Bitrate::Bits(bits))
            .map_err(|error| library(&error))?;
        self.config.bitrate = bitrate;
        Ok(())
    }

    /// The settings in use.
    pub fn config(&self) -> OpusConfig {
        self.config
    }
}

/// Decodes Opus packets to 48 kHz mono.
///
/// Call exactly one of [`decode`](Self::decode), [`decode_fec`](Self::decode_fec) and
/// [`conceal`](Self::conceal) for each packet of the stream, in its order. Whatever the peer
/// sends, stereo, frames of 2.5 to 60 ms, several in a packet, DTX packets of a byte or two, the
/// answer is mono at 48 kHz, or an error after which the decoder goes on.
#[derive(Debug)]
pub struct OpusDecoder {
    decoder: opus::Decoder,
    pcm: Box<[i16; MAX_PACKET_SAMPLES]>,
}

impl OpusDecoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> Result<Self, CodecError> {
        let decoder =
            opus::Decoder::new(SAMPLE_RATE, Channels::Mono).map_err(|error| library(&error))?;
        Ok(Self {
            decoder,
            pcm: Box::new([0; MAX_PACKET_SAMPLES]),
        })
    }

    /// Decodes a packet to its 120 to 5,760 samples (2.5 to 120 ms).
    ///
    /// [`CodecError::BadPacket`] if it is not valid Opus: [`conceal`](Self::conceal) in its place.
    pub fn decode(&mut self, packet: &[u8]) -> Result<&[i16], CodecError> {
        if packet.is_empty() {
            return Err(CodecError::BadPacket("empty"));
        }
        self.run(packet, MAX_PACKET_SAMPLES, false)
    }

    /// Recovers a lost packet of `samples` samples from the redundancy in the packet that
    /// followed it; what that packet does not hold is concealed. Decode `following` itself
    /// afterwards.
    pub fn decode_fec(&mut self, following: &[u8], samples: usize) -> Result<&[i16], CodecError> {
        if following.is_empty() {
            return Err(CodecError::BadPacket("empty"));
        }
        self.run(following, whole_steps(samples), true)
    }

    /// Continues the sound over a lost packet of `samples` samples, rounded to whole steps of
    /// 120 and at most 5,760. Repeated calls fade out.
    pub fn conceal(&mut self, samples: usize) -> Result<&[i16], CodecError> {
        self.run(&[], whole_steps(samples), false)
    }

    /// Forgets the stream: the next packet is of another encoder.
    pub fn reset(&mut self) -> Result<(), CodecError> {
        self.decoder.reset_state().map_err(|error| library(&error))
    }

    fn run(&mut self, packet: &[u8], room: usize, fec: bool) -> Result<&[i16], CodecError> {
        let out = self
            .pcm
            .get_mut(..room)
            .ok_or(CodecError::Library("room beyond the buffer"))?;
        let decoded = self.decoder.decode(packet, out, fec).map_err(|error| {
            if packet.is_empty() {
                library(&error)
            } else {
                CodecError::BadPacket(error.description())
            }
        })?;
        self.pcm
            .get(..decoded)
            .ok_or(CodecError::Library("decoder overran its buffer"))
    }
}

/// What can be told of a packet without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PacketInfo {
    /// Its duration in samples at 48 kHz: 120 to 5,760.
    pub(crate) samples: u32,
    /// Whether it carries a copy of the packet before it (LBRR, RFC 6716 §4.2.3).
    pub(crate) has_fec: bool,
}

impl PacketInfo {
    /// Reads the headers of a packet; [`CodecError::BadPacket`] if they are not Opus.
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, CodecError> {
        let bad = |error: opus::Error| CodecError::BadPacket(error.description());
        let toc = *packet.first().ok_or(CodecError::BadPacket("empty"))?;
        let parsed = packet::parse(packet).map_err(bad)?;
        let frame = packet::get_samples_per_frame(packet, SAMPLE_RATE).map_err(bad)?;
        let samples = frame * parsed.frames.len();
        if samples == 0 || samples > MAX_PACKET_SAMPLES {
            return Err(CodecError::BadPacket("duration"));
        }
        let first = parsed.frames.first().and_then(|frame| frame.first());
        Ok(Self {
            samples: u32::try_from(samples).map_err(|_| CodecError::BadPacket("duration"))?,
            has_fec: first.is_some_and(|&head| has_lbrr(toc, head, frame)),
        })
    }
}

/// The LBRR flag of a SILK or hybrid frame stands in its first byte behind one VAD flag for each
/// 20 ms; a second channel has its flags behind those of the first.
fn has_lbrr(toc: u8, head: u8, frame_samples: usize) -> bool {
    const CELT_ONLY: u8 = 0x80;
    const STEREO: u8 = 0x04;
    if toc & CELT_ONLY != 0 {
        return false;
    }
    let silk_frames = (frame_samples / AUDIO_FRAME_SAMPLES).max(1);
    let mid = 0x80 >> silk_frames;
    let side = 0x80_u8.checked_shr(2 * silk_frames as u32 + 1).unwrap_or(0);
    head & mid != 0 || (toc & STEREO != 0 && head & side != 0)
}

/// Rounds down to what a decoder can be asked for: 120 to 5,760 samples.
fn whole_steps(samples: usize) -> usize {
    (samples / STEP_SAMPLES * STEP_SAMPLES).clamp(STEP_SAMPLES, MAX_PACKET_SAMPLES)
}

fn library(error: &opus::Error) -> CodecError {
    CodecError::Library(error.description())
}
