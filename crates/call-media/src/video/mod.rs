//! Video as encoded VP8 frames: files, RTP packets, and the traits between them.
//!
//! No codec is in here: frames pass through as their encoder made them.

mod assemble;
mod descriptor;
mod format;
mod ivf;
mod ivf_in;
mod ivf_out;
mod packetize;

pub use assemble::{Assembled, AssembledFrame, AssemblerConfig, AssemblerStats, FrameAssembler};
pub use descriptor::{DescriptorError, PayloadDescriptor};
pub use format::{VIDEO_CLOCK_RATE, VideoFrame, VideoSink, VideoSource, is_vp8_key_frame};
pub use ivf_in::IvfReader;
pub use ivf_out::IvfWriter;
pub use packetize::Packetizer;
