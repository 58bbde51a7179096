//! IVF files in and out.

#![allow(clippy::unwrap_used)] // A test that cannot go on is to fail.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use call_media::FileFault;
use call_media::video::{IvfReader, IvfWriter, VideoFrame, VideoSink, VideoSource};
use proptest::prelude::*;
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("video.ivf")
    }

    fn holding(bytes: &[u8]) -> Self {
        let place = Self::new();
        fs::write(place.file(), bytes).unwrap();
        place
    }

    fn fault(&self) -> String {
        IvfReader::open(self.file()).unwrap_err().fault.to_string()
    }

    fn reader(&self) -> IvfReader {
        IvfReader::open(self.file()).unwrap()
    }
}

/// Frame `number` of a video with 50 frames a second, and a key frame each five.
fn frame(number: u32) -> VideoFrame {
    let key_frame = number.is_multiple_of(5);
    let mut data = vec![u8::from(!key_frame), 0, number as u8];
    if key_frame {
        data.extend([0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00]);
    }
    data.resize(100 + number as usize, 7);
    VideoFrame {
        timestamp: Duration::from_millis(20) * number,
        key_frame,
        data: data.into(),
    }
}

fn video(frames: u32) -> Place {
    let place = Place::new();
    let mut writer = IvfWriter::create(place.file()).unwrap();
    (0..frames).for_each(|number| writer.write(&frame(number)).unwrap());
    writer.finish().unwrap();
    place
}

fn number(frame: &VideoFrame) -> u8 {
    frame.data[2]
}

#[test]
fn what_is_written_is_read() {
    let mut reader = video(12).reader();
    assert_eq!(reader.dimensions(), (320, 240), "from the first key frame");
    assert_eq!(reader.frame_count(), 12);
    for number in 0..12 {
        assert_eq!(reader.next_frame().unwrap(), Some(frame(number)));
    }
    assert_eq!(reader.next_frame().unwrap(), None);
    assert_eq!(reader.next_frame().unwrap(), None);
}

#[test]
fn the_header_has_the_number_of_frames() {
    let bytes = fs::read(video(12).file()).unwrap();
    assert_eq!(bytes[24..28], 12_u32.to_le_bytes());
}

#[test]
fn a_looping_reader_goes_on_in_time() {
    let mut reader = video(6).reader().looping(true);
    for index in 0..20 {
        let next = reader.next_frame().unwrap().unwrap();
        assert_eq!(u32::from(number(&next)), index % 6);
        assert_eq!(next.timestamp, Duration::from_millis(20) * index);
    }
}

#[test]
fn a_wanted_key_frame_is_the_next_one_in_the_file_and_no_time_is_lost() {
    let mut reader = video(12).reader();
    (0..2).for_each(|_| drop(reader.next_frame().unwrap()));
    reader.request_key_frame();
    let next = reader.next_frame().unwrap().unwrap();
    assert_eq!((number(&next), next.key_frame), (5, true));
    assert_eq!(next.timestamp, Duration::from_millis(40));
    let after = reader.next_frame().unwrap().unwrap();
    assert_eq!(
        (number(&after), after.timestamp),
        (6, Duration::from_millis(60))
    );
}

#[test]
fn a_key_frame_that_comes_anyway_is_not_skipped() {
    let mut reader = video(12).reader();
    (0..5).for_each(|_| drop(reader.next_frame().unwrap()));
    reader.request_key_frame();
    assert_eq!(number(&reader.next_frame().unwrap().unwrap()), 5);
}

#[test]
fn without_a_later_key_frame_the_file_begins_anew() {
    let mut reader = video(4).reader();
    (0..2).for_each(|_| drop(reader.next_frame().unwrap()));
    reader.request_key_frame();
    let next = reader.next_frame().unwrap().unwrap();
    assert_eq!(
        (number(&next), next.timestamp),
        (0, Duration::from_millis(40))
    );
}

#[test]
fn a_wish_after_the_end_does_not_start_the_file_again() {
    let mut reader = video(4).reader();
    while reader.next_frame().unwrap().is_some() {}
    reader.request_key_frame();
    assert_eq!(reader.next_frame().unwrap(), None);
}

#[test]
fn a_killed_process_leaves_a_readable_file() {
    let place = Place::new();
    let mut writer = IvfWriter::create(place.file()).unwrap();
    (0..7).for_each(|number| writer.write(&frame(number)).unwrap());
    std::mem::forget(writer);
    let mut reader = place.reader();
    assert_eq!((reader.frame_count(), reader.dimensions()), (7, (320, 240)));
    assert_eq!(reader.next_frame().unwrap(), Some(frame(0)));
}

#[test]
fn finishing_twice_is_fine_and_writing_after_it_is_refused() {
    let place = Place::new();
    let mut writer = IvfWriter::create(place.file()).unwrap();
    writer.finish().unwrap();
    writer.finish().unwrap();
    assert!(writer.write(&frame(0)).is_err());
}

#[test]
fn an_empty_frame_is_not_written() {
    let place = Place::new();
    let mut writer = IvfWriter::create(place.file()).unwrap();
    let empty = VideoFrame {
        data: Bytes::new(),
        ..frame(0)
    };
    assert!(writer.write(&empty).is_err());
}

#[test]
fn a_missing_file_is_named() {
    let error = IvfReader::open("no/such/video.ivf").unwrap_err();
    assert!(matches!(error.fault, FileFault::Io(_)));
    assert!(
        error.to_string().starts_with("no/such/video.ivf: "),
        "{error}"
    );
}

/// The bytes of a good file with some of them replaced.
fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = fs::read(video(3).file()).unwrap();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn what_is_no_vp8_in_ivf_says_so() {
    let says = |bytes: &[u8], part: &str| {
        let fault = Place::holding(bytes).fault();
        assert!(fault.contains(part), "{fault}");
    };
    says(b"", "not a IVF file: 0 bytes");
    says(&with(0, b"RIFF"), "no DKIF signature");
    says(&with(4, &[9]), "version 9");
    says(&with(8, b"AV01"), "the codec is AV01");
    says(&with(16, &[0; 4]), "time base of 1/0");
    says(&with(32, &[0; 4]), "frame 1 is empty");
    says(&with(44, &[1]), "does not begin with a key frame");
    says(
        &with(32, &u32::MAX.to_le_bytes()),
        "frame 1 has 4294967295 bytes, the file only",
    );
    let whole = fs::read(video(3).file()).unwrap();
    says(&whole[..32], "nothing in it");
    says(
        &whole[..whole.len() - 1],
        "frame 3 has 102 bytes, the file only 101",
    );
    says(&whole[..40], "the header of frame 1 reaches beyond the end");
}

#[test]
fn timestamps_that_jump_in_the_file_do_not_stop_the_video() {
    // The second frame is ten hours late, the third is before it.
    let ticks = (90_000_u64 * 36_000).to_le_bytes();
    let mut reader = Place::holding(&with(32 + 12 + 100 + 4, &ticks)).reader();
    let times: Vec<u128> = std::iter::from_fn(|| reader.next_frame().unwrap())
        .map(|frame| frame.timestamp.as_millis())
        .collect();
    assert_eq!(times, [0, 33, 66]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_change_of_a_file_makes_it_panic(
        changes in prop::collection::vec((0_usize..200, any::<u8>()), 1..6),
        length in 0_usize..400,
    ) {
        let mut bytes = with(0, b"DKIF");
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(length);
        if let Ok(reader) = IvfReader::open(Place::holding(&bytes).file()) {
            let mut reader = reader.looping(true);
            for _ in 0..10 {
                reader.request_key_frame();
                let _ = reader.next_frame();
            }
        }
    }
}
