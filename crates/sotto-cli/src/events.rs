//! What `--json` and `--events` write, one JSON object a line, and the demo reads. docs/CLI.md
//! describes each field. No network address, id or key is in here; what contacts are called, say and
//! share goes to standard output alone ([`Event::is_personal`]).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sotto::{AudioStatistics, LineStatistics, MediaLine, Statistics};

use crate::clock::{Clock, milliseconds, unix_ms};
use crate::failure::{Failure, Status};

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Since the start of the process.
    pub(crate) t_ms: f64,
    #[serde(flatten)]
    pub(crate) event: Event,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    Started {
        unix_ms: f64,
    },
    /// A profile was made.
    Profile {
        name: String,
        store: PathBuf,
        key: KeyKind,
    },
    /// A link to give away.
    Link {
        kind: LinkKind,
        short: Option<String>,
        full: String,
    },
    /// Making a connection came further.
    Progress {
        contact: Option<String>,
        step: String,
    },
    /// There is a connection with a contact.
    Secured {
        contact: String,
        code: String,
        post_quantum: bool,
    },
    /// A connection came to nothing.
    Failed {
        contact: Option<String>,
        reason: String,
    },
    /// Somebody asks at the contact address to be connected.
    Request {
        name: String,
        accepted: Option<bool>,
    },
    Contact(Box<ContactRecord>),
    /// Messages and calls are waited for.
    Listening,
    Text {
        contact: String,
        text: String,
        sent_unix_ms: Option<f64>,
    },
    /// A relay has the text.
    Sent {
        contact: String,
    },
    /// The contact's device has the text.
    Delivered {
        contact: String,
    },
    /// Something about a contact that its user should know.
    Notice {
        contact: Option<String>,
        text: String,
    },
    Server {
        kind: ServerKind,
        address: String,
        password: bool,
    },
    /// A step of a server's test.
    ServerTest {
        address: String,
        step: String,
        ok: bool,
        /// Of all steps, with the last of them.
        took_ms: Option<f64>,
        error: Option<String>,
    },
    Exported {
        file: PathBuf,
    },
    Incoming {
        media: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        contact: Option<String>,
    },
    Calling {
        contact: String,
    },
    Ringing,
    Superseded,
    Connecting,
    Connected {
        srtp_profile: String,
    },
    Interrupted,
    Resumed,
    BadMessage {
        detail: String,
    },
    ChannelClosed,
    Missed {
        reason: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        contact: Option<String>,
    },
    Statistics(Box<Figures>),
    Ended {
        reason: String,
        detail: Option<String>,
    },
    Exit {
        status: u8,
        message: Option<String>,
    },
}

impl Event {
    /// Whether it may tell who a contact is, or what it said or shared.
    fn is_personal(&self) -> bool {
        !matches!(
            self,
            Self::Started { .. }
                | Self::Listening
                | Self::Incoming { contact: None, .. }
                | Self::Ringing
                | Self::Superseded
                | Self::Connecting
                | Self::Connected { .. }
                | Self::Interrupted
                | Self::Resumed
                | Self::BadMessage { .. }
                | Self::ChannelClosed
                | Self::Missed { contact: None, .. }
                | Self::Statistics(_)
                | Self::Ended { .. }
                | Self::Exit { .. }
        )
    }

    /// What may stand in a file of events.
    fn impersonal(self) -> Option<Self> {
        match self {
            Self::Incoming { media, .. } => Some(Self::Incoming {
                media,
                contact: None,
            }),
            Self::Missed { reason, .. } => Some(Self::Missed {
                reason,
                contact: None,
            }),
            event => (!event.is_personal()).then_some(event),
        }
    }
}

/// What opens a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyKind {
    Passphrase,
    File,
}

/// What a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LinkKind {
    /// One contact, once.
    Invitation,
    /// Any number of contacts, who ask.
    Address,
}

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServerKind {
    /// Carries messages.
    Smp,
    /// Helps calls to connect: STUN or TURN.
    Ice,
}

/// A contact in a list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ContactRecord {
    pub(crate) name: String,
    pub(crate) profile_name: Option<String>,
    pub(crate) state: String,
    pub(crate) post_quantum: bool,
    pub(crate) verified: bool,
    pub(crate) blocked: bool,
    pub(crate) in_step: bool,
    pub(crate) calls: String,
    pub(crate) created_unix_ms: f64,
    pub(crate) code: Option<String>,
}

/// Figures of a call, counted from its beginning.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Figures {
    pub(crate) r#final: bool,
    pub(crate) unix_ms: f64,
    pub(crate) connect_ms: Option<f64>,
    pub(crate) accept_to_audio_ms: Option<f64>,
    pub(crate) media_started_unix_ms: Option<f64>,
    pub(crate) srtp_profile: Option<String>,
    pub(crate) dtls_version: Option<String>,
    pub(crate) dtls_cipher: Option<String>,
    pub(crate) local_candidate_type: Option<String>,
    pub(crate) remote_candidate_type: Option<String>,
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) frames_encrypted: u64,
    pub(crate) frames_decrypted: u64,
    pub(crate) frames_refused: u64,
    pub(crate) lines: Vec<LineFigures>,
    pub(crate) audio: Option<AudioFigures>,
}

/// RTP of one media line.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LineFigures {
    pub(crate) line: String,
    pub(crate) packets_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) packets_received: u64,
    pub(crate) bytes_received: u64,
    pub(crate) packets_lost: i64,
    pub(crate) jitter_ms: f64,
    pub(crate) peer_loss: Option<f64>,
}

/// The peer's audio from the network to the sink.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AudioFigures {
    pub(crate) concealed: u64,
    pub(crate) fec_recovered: u64,
    pub(crate) late: u64,
    pub(crate) duplicate: u64,
    pub(crate) invalid: u64,
    pub(crate) buffer_ms: f32,
    pub(crate) target_ms: f32,
    pub(crate) jitter_ms: f32,
    pub(crate) level_dbfs: f32,
}

impl Figures {
    pub(crate) fn new(statistics: &Statistics, last: bool) -> Self {
        let transport = &statistics.transport;
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        Self {
            r#final: last,
            unix_ms: unix_ms(std::time::Instant::now()),
            connect_ms: statistics.connect_time.map(milliseconds),
            accept_to_audio_ms: statistics.accept_to_audio.map(milliseconds),
            media_started_unix_ms: statistics.media_started.map(unix_ms),
            srtp_profile: transport
                .srtp_profile
                .map(|profile| profile.name().to_owned()),
            dtls_version: text(&transport.dtls_version),
            dtls_cipher: text(&transport.dtls_cipher),
            local_candidate_type: transport.local_candidate_type.clone(),
            remote_candidate_type: transport.remote_candidate_type.clone(),
            rtt_ms: transport.round_trip_time.map(|seconds| seconds * 1000.0),
            bytes_sent: transport.bytes_sent,
            bytes_received: transport.bytes_received,
            frames_encrypted: statistics.frames.encrypted,
            frames_decrypted: statistics.frames.decrypted,
            frames_refused: statistics.frames.refused,
            lines: transport.lines.iter().map(LineFigures::new).collect(),
            audio: statistics.audio.as_ref().map(AudioFigures::new),
        }
    }

    /// The figures when media started: none yet.
    pub(crate) fn at_start(&self) -> Option<Self> {
        let unix_ms = self.media_started_unix_ms?;
        Some(Self {
            unix_ms,
            ..Self::default()
        })
    }

    pub(crate) fn packets_sent(&self) -> u64 {
        self.lines.iter().map(|line| line.packets_sent).sum()
    }

    pub(crate) fn packets_received(&self) -> u64 {
        self.lines.iter().map(|line| line.packets_received).sum()
    }

    /// Packets that never arrived. Duplicates can make the count negative on the wire.
    pub(crate) fn packets_lost(&self) -> u64 {
        let lost: i64 = self.lines.iter().map(|line| line.packets_lost).sum();
        lost.max(0).unsigned_abs()
    }

    /// RTP payload received.
    pub(crate) fn media_bytes_received(&self) -> u64 {
        self.lines.iter().map(|line| line.bytes_received).sum()
    }

    /// Interarrival jitter of the peer's microphone.
    pub(crate) fn jitter_ms(&self) -> Option<f64> {
        self.lines
            .iter()
            .find(|line| line.line == "microphone")
            .map(|line| line.jitter_ms)
    }

    /// Bits a second received since `earlier`, in thousands.
    pub(crate) fn received_kbit_s(&self, earlier: &Self) -> Option<f64> {
        let elapsed = self.unix_ms - earlier.unix_ms;
        let bytes = self
            .media_bytes_received()
            .saturating_sub(earlier.media_bytes_received());
        (elapsed > 0.0).then(|| bytes as f64 * 8.0 / elapsed)
    }

    /// Share of the peer's packets lost since `earlier`, in percent.
    pub(crate) fn lost_percent(&self, earlier: &Self) -> Option<f64> {
        let lost = self.packets_lost().saturating_sub(earlier.packets_lost()) as f64;
        let received = self
            .packets_received()
            .saturating_sub(earlier.packets_received()) as f64;
        (lost + received > 0.0).then(|| 100.0 * lost / (lost + received))
    }
}

impl LineFigures {
    fn new(line: &LineStatistics) -> Self {
        Self {
            line: line_name(line.line).to_owned(),
            packets_sent: line.packets_sent,
            bytes_sent: line.bytes_sent,
            packets_received: line.packets_received,
            bytes_received: line.bytes_received,
            packets_lost: line.packets_lost,
            jitter_ms: line.jitter * 1000.0,
            peer_loss: line.peer_fraction_lost,
        }
    }
}

impl AudioFigures {
    fn new(audio: &AudioStatistics) -> Self {
        Self {
            concealed: audio.concealed,
            fec_recovered: audio.fec_recovered,
            late: audio.late,
            duplicate: audio.duplicate,
            invalid: audio.invalid,
            buffer_ms: audio.buffer_ms,
            target_ms: audio.target_ms,
            jitter_ms: audio.jitter_ms,
            level_dbfs: audio.level_dbfs,
        }
    }
}

fn line_name(line: MediaLine) -> &'static str {
    match line {
        MediaLine::Microphone => "microphone",
        MediaLine::Camera => "camera",
        MediaLine::ScreenAudio => "screen_audio",
        MediaLine::Screen => "screen",
    }
}

/// Where events go.
pub(crate) struct Journal {
    clock: Clock,
    out: Option<Box<dyn Write + Send>>,
    personal: bool,
}

impl Journal {
    /// Events go nowhere.
    pub(crate) fn none(clock: Clock) -> Self {
        Self {
            clock,
            out: None,
            personal: false,
        }
    }

    /// Everything goes to standard output, for whoever started the program.
    pub(crate) fn to_output(clock: Clock) -> Self {
        Self {
            clock,
            out: Some(Box::new(io::stdout())),
            personal: true,
        }
    }

    /// `-` is standard error; without a path, events go nowhere.
    pub(crate) fn open(path: Option<&Path>, clock: Clock) -> Result<Self, Failure> {
        let out: Option<Box<dyn Write + Send>> = match path {
            None => None,
            Some(path) if path == Path::new("-") => Some(Box::new(io::stderr())),
            Some(path) => match File::create(path) {
                Ok(file) => Some(Box::new(file)),
                Err(error) => {
                    let text = format_args!("--events {}: {error}", path.display());
                    return Err(Failure::new(Status::Other, text));
                }
            },
        };
        Ok(Self {
            clock,
            out,
            personal: false,
        })
    }

    /// Writes a line. If that fails the call goes on without events, and the user is told once.
    pub(crate) fn write(&mut self, event: Event) {
        let event = if self.personal {
            Some(event)
        } else {
            event.impersonal()
        };
        let (Some(out), Some(event)) = (&mut self.out, event) else {
            return;
        };
        let record = Record {
            t_ms: self.clock.elapsed_ms(),
            event,
        };
        let written = serde_json::to_vec(&record)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                out.write_all(&line)?;
                out.flush()
            });
        if let Err(error) = written {
            self.out = None;
            let text = format_args!("sotto: events are not written any more: {error}");
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_flat_and_comes_back() {
        let figures = Figures {
            rtt_ms: Some(0.5),
            ..Figures::default()
        };
        let record = Record {
            t_ms: 12.5,
            event: Event::Statistics(Box::new(figures)),
        };
        let text = serde_json::to_string(&record).unwrap();
        assert!(
            text.starts_with(r#"{"t_ms":12.5,"event":"statistics","final":false,"#),
            "{text}"
        );
        let read: Record = serde_json::from_str(&text).unwrap();
        assert!(matches!(read.event, Event::Statistics(figures) if figures.rtt_ms == Some(0.5)));
    }

    #[test]
    fn a_file_of_events_tells_nothing_of_contacts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut journal = Journal::open(Some(&path), Clock::start()).unwrap();
        journal.write(Event::Calling {
            contact: "alice".to_owned(),
        });
        journal.write(Event::Incoming {
            media: "audio".to_owned(),
            contact: Some("alice".to_owned()),
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains("alice") && text.contains("incoming"),
            "{text}"
        );
    }

    #[test]
    fn rates_are_those_between_two_samples() {
        let at = |unix_ms, packets_received, packets_lost, bytes_received| Figures {
            unix_ms,
            lines: vec![LineFigures {
                packets_received,
                packets_lost,
                bytes_received,
                ..LineFigures::default()
            }],
            ..Figures::default()
        };
        let (first, second) = (at(1000.0, 50, 0, 1000), at(2000.0, 90, 10, 5000));
        assert_eq!(second.lost_percent(&first), Some(20.0));
        assert_eq!(second.received_kbit_s(&first), Some(32.0));
        assert_eq!(second.received_kbit_s(&second), None);
    }
}
