//! Audio and video sources, sinks, codecs and the jitter buffer
