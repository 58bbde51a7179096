//! IVF files as a video source.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use super::ivf::{
    FILE_HEADER, FRAME_HEADER, FileHeader, HeaderFault, MAX_FRAME, decode_frame_header,
};
use super::{VideoFrame, VideoSource, is_vp8_key_frame};
use crate::{FileError, FileFault, MediaError};

/// The time between two frames where the file does not tell it: at a loop, and behind a skip.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(33);

/// Frames further apart than this are taken for [`DEFAULT_INTERVAL`] apart where it matters.
const MAX_INTERVAL: Duration = Duration::from_secs(1);

/// An IVF file with VP8 in it as a source. It holds one frame at a time.
///
/// [`request_key_frame`](VideoSource::request_key_frame) skips to the next key frame, or back to
/// the first one if there is none behind; the presentation time goes on as if nothing had been
/// skipped. So a file with few key frames repeats itself at each request: encode it with one a
/// second or two.
#[derive(Debug)]
pub struct IvfReader {
    path: PathBuf,
    file: BufReader<File>,
    header: FileHeader,
    frames: u64,
    /// Number of the next frame in the file.
    next: u64,
    looping: bool,
    key_frame_wanted: bool,
    clock: Clock,
}

impl IvfReader {
    /// Opens a file and walks through it once.
    ///
    /// Fails if there is no such file, if it is no IVF, if the codec is not VP8, if a frame reaches
    /// beyond the end of the file or is absurdly large, or if there is no key frame to begin with.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let io = |error| FileError::new(path, FileFault::Io(error));
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut file = BufReader::new(file);
        let header = read_header(path, &mut file, length)?;
        let frames = survey(path, &mut file, length)?;
        file.seek(SeekFrom::Start(FILE_HEADER as u64)).map_err(io)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            header,
            frames,
            next: 0,
            looping: false,
            key_frame_wanted: false,
            clock: Clock::default(),
        })
    }

    /// Whether to begin anew at the end of the file, for ever. Time goes on.
    #[must_use]
    pub fn looping(mut self, looping: bool) -> Self {
        self.looping = looping;
        self
    }

    /// Width and height in pixels, as the header says.
    pub fn dimensions(&self) -> (u16, u16) {
        (self.header.width, self.header.height)
    }

    /// Frames in the file.
    pub fn frame_count(&self) -> u64 {
        self.frames
    }

    /// Reads the next frame of the file: its timestamp in the file, and its bytes.
    fn read(&mut self) -> Result<Option<(Duration, Bytes)>, FileError> {
        if self.next == self.frames {
            return Ok(None);
        }
        let io = |error| FileError::new(&self.path, FileFault::Io(error));
        let mut frame_header = [0; FRAME_HEADER];
        self.file.read_exact(&mut frame_header).map_err(io)?;
        let (size, ticks) = decode_frame_header(frame_header);
        if size == 0 || size > MAX_FRAME {
            return Err(damaged(&self.path, "the file changed while it was played"));
        }
        let mut data = vec![0; size as usize];
        self.file.read_exact(&mut data).map_err(io)?;
        self.next += 1;
        let time = presentation_time(ticks, &self.header);
        Ok(Some((time, data.into())))
    }

    fn rewind(&mut self) -> Result<(), FileError> {
        self.next = 0;
        self.clock.jump();
        self.file
            .seek(SeekFrom::Start(FILE_HEADER as u64))
            .map(drop)
            .map_err(|error| FileError::new(&self.path, FileFault::Io(error)))
    }

    /// Reads on until a frame that may be sent: any, or a key frame if one is wanted.
    fn read_suitable(&mut self) -> Result<Option<(Duration, Bytes)>, FileError> {
        // Twice through the file at most: from here to its end, and once from its beginning.
        for _ in 0..=self.frames * 2 {
            match self.read()? {
                None if self.looping || self.key_frame_wanted => self.rewind()?,
                None => return Ok(None),
                Some((_, data)) if self.key_frame_wanted && !is_vp8_key_frame(&data) => {
                    self.clock.jump();
                }
                Some(frame) => return Ok(Some(frame)),
            }
        }
        Err(damaged(&self.path, "no key frame in it"))
    }
}

impl VideoSource for IvfReader {
    fn next_frame(&mut self) -> Result<Option<VideoFrame>, MediaError> {
        if self.next == self.frames && !self.looping {
            // Played to the end: a late wish for a key frame does not start it again.
            return Ok(None);
        }
        let Some((in_file, data)) = self.read_suitable()? else {
            return Ok(None);
        };
        self.key_frame_wanted = false;
        Ok(Some(VideoFrame {
            timestamp: self.clock.advance(in_file),
            key_frame: is_vp8_key_frame(&data),
            data,
        }))
    }

    fn request_key_frame(&mut self) {
        self.key_frame_wanted = true;
    }
}

/// From timestamps of the file, which jump at loops and skips, to time that goes on.
#[derive(Debug, Default)]
struct Clock {
    /// The last frame: its time in the file, and the one it was given.
    last: Option<(Duration, Duration)>,
    interval: Option<Duration>,
    jumped: bool,
}

impl Clock {
    /// The next frame is not the one behind the last.
    fn jump(&mut self) {
        self.jumped = true;
    }

    fn advance(&mut self, in_file: Duration) -> Duration {
        let jumped = std::mem::take(&mut self.jumped);
        let given = match self.last {
            None => Duration::ZERO,
            Some((before, given)) => {
                let step = in_file
                    .checked_sub(before)
                    .filter(|step| !jumped && *step <= MAX_INTERVAL);
                if let Some(step) = step.filter(|step| !step.is_zero()) {
                    self.interval = Some(step);
                }
                given + step.or(self.interval).unwrap_or(DEFAULT_INTERVAL)
            }
        };
        self.last = Some((in_file, given));
        given
    }
}

fn read_header(
    path: &Path,
    file: &mut BufReader<File>,
    length: u64,
) -> Result<FileHeader, FileError> {
    let not_ivf = |reason: String| FileFault::NotThatFormat {
        expected: "IVF",
        reason,
    };
    if length < FILE_HEADER as u64 {
        let reason = format!("{length} bytes, its header alone has {FILE_HEADER}");
        return Err(FileError::new(path, not_ivf(reason)));
    }
    let mut bytes = [0; FILE_HEADER];
    file.read_exact(&mut bytes)
        .map_err(|error| FileError::new(path, error))?;
    FileHeader::decode(&bytes).map_err(|fault| match fault {
        HeaderFault::NotIvf(reason) => FileError::new(path, not_ivf(reason)),
        HeaderFault::Unusable(reason) => FileError::new(path, FileFault::Unusable(reason)),
    })
}

/// Walks over all frames; returns their number.
fn survey(path: &Path, file: &mut BufReader<File>, length: u64) -> Result<u64, FileError> {
    let io = |error| FileError::new(path, FileFault::Io(error));
    let mut position = FILE_HEADER as u64;
    let mut frames = 0_u64;
    while position < length {
        let number = frames + 1;
        let room = length - position;
        if room < FRAME_HEADER as u64 {
            let reason = format!("the header of frame {number} reaches beyond the end");
            return Err(damaged(path, &reason));
        }
        let mut header = [0; FRAME_HEADER];
        file.read_exact(&mut header).map_err(io)?;
        let (size, _) = decode_frame_header(header);
        check_size(size, room - FRAME_HEADER as u64)
            .map_err(|reason| damaged(path, &format!("frame {number} {reason}")))?;
        if frames == 0 {
            let mut first = [0];
            file.read_exact(&mut first).map_err(io)?;
            if !is_vp8_key_frame(&first) {
                return Err(damaged(path, "it does not begin with a key frame"));
            }
            file.seek_relative(-1).map_err(io)?;
        }
        file.seek_relative(i64::from(size)).map_err(io)?;
        position += FRAME_HEADER as u64 + u64::from(size);
        frames += 1;
    }
    match frames {
        0 => Err(FileError::new(path, FileFault::Empty)),
        _ => Ok(frames),
    }
}

fn check_size(size: u32, room: u64) -> Result<(), String> {
    if size == 0 {
        return Err("is empty".to_owned());
    }
    if u64::from(size) > room {
        return Err(format!(
            "has {size} bytes, the file only {room} more of them"
        ));
    }
    if size > MAX_FRAME {
        return Err(format!("has {size} bytes, {MAX_FRAME} are read at most"));
    }
    Ok(())
}

/// Ticks to time; an absurd number of them is no more than the longest time.
fn presentation_time(ticks: u64, header: &FileHeader) -> Duration {
    let nanos = u128::from(ticks)
        .saturating_mul(u128::from(header.scale))
        .saturating_mul(1_000_000_000)
        / u128::from(header.rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn damaged(path: &Path, reason: &str) -> FileError {
    FileError::new(path, FileFault::Damaged(reason.to_owned()))
}
