//! IVF files as a video sink.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::format::ticks;
use super::ivf::{FileHeader, MAX_FRAME, encode_frame_header};
use super::{VIDEO_CLOCK_RATE, VideoFrame, VideoSink};
use crate::{FileError, FileFault, MediaError};

/// An IVF file with VP8 in it as a sink.
///
/// Each frame is written at once and whole, so the file is readable if the process dies; the
/// number of frames in its header is right after [`finish`](VideoSink::finish), and no reader
/// relies on it. Width and height come from the first key frame.
#[derive(Debug)]
pub struct IvfWriter {
    path: PathBuf,
    /// `None` once finished.
    file: Option<File>,
    header: FileHeader,
}

impl IvfWriter {
    /// Creates the file, or empties the one that is there, and writes a header.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let header = FileHeader {
            width: 0,
            height: 0,
            rate: VIDEO_CLOCK_RATE,
            scale: 1,
            frames: 0,
        };
        let create = || -> io::Result<File> {
            let mut file = File::create(path)?;
            file.write_all(&header.encode())?;
            Ok(file)
        };
        Ok(Self {
            path: path.to_owned(),
            file: Some(create().map_err(|error| FileError::new(path, error))?),
            header,
        })
    }

    /// Frames written so far.
    pub fn frame_count(&self) -> u32 {
        self.header.frames
    }
}

impl VideoSink for IvfWriter {
    fn write(&mut self, frame: &VideoFrame) -> Result<(), MediaError> {
        let fail = |fault: FileFault| MediaError::from(FileError::new(&self.path, fault));
        let Some(file) = &mut self.file else {
            return Err(fail(
                io::Error::other("the file is finished already").into(),
            ));
        };
        let size = u32::try_from(frame.data.len())
            .ok()
            .filter(|size| (1..=MAX_FRAME).contains(size))
            .ok_or_else(|| {
                fail(FileFault::Unusable(format!(
                    "a frame of {} bytes, 1 to {MAX_FRAME} are written",
                    frame.data.len()
                )))
            })?;
        if self.header.width == 0
            && frame.key_frame
            && let Some((width, height)) = dimensions(&frame.data)
        {
            (self.header.width, self.header.height) = (width, height);
            rewrite(file, &self.header).map_err(|error| fail(error.into()))?;
        }
        let head = encode_frame_header(size, ticks(frame.timestamp));
        // In one call, so that a killed process leaves no half of it.
        file.write_all(&[&head[..], &frame.data].concat())
            .map_err(|error| fail(error.into()))?;
        self.header.frames = self.header.frames.saturating_add(1);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), MediaError> {
        match self.file.take() {
            None => Ok(()),
            Some(mut file) => rewrite(&mut file, &self.header)
                .map_err(|error| FileError::new(&self.path, error).into()),
        }
    }
}

impl Drop for IvfWriter {
    /// Brings the header up to date, though nobody hears of an error.
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

/// Writes the header anew and goes back to the end.
fn rewrite(file: &mut File, header: &FileHeader) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&header.encode())?;
    file.seek(SeekFrom::End(0)).map(drop)
}

/// Width and height of a VP8 key frame (RFC 6386 §9.1).
fn dimensions(frame: &[u8]) -> Option<(u16, u16)> {
    let [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = frame else {
        return None;
    };
    let size = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
    Some((size(*w0, *w1), size(*h0, *h1)))
}
