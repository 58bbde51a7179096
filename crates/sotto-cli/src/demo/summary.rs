//! The figures of a demo, as a table and as JSON. docs/CLI.md describes each.

use std::time::Duration;

use serde::Serialize;

use super::conduct::{Recording, Side};
use super::timeline::{Step, Timeline};
use super::{BothHeard, heard_by};
use crate::events::Figures;

/// A demo in figures. At the top stands the worse of the two sides for times and quality, and the
/// sum of both for counts.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    pub(super) seconds: f64,
    pub(super) loss_percent: f64,
    #[serde(skip)]
    pub(super) network: String,
    /// How the call came about; null without message relays.
    pub(super) signalling: Option<Signalling>,
    #[serde(flatten)]
    pub(super) worst: SideSummary,
    pub(super) caller: SideSummary,
    pub(super) callee: SideSummary,
}

/// What happened before media flowed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Signalling {
    pub(super) relays: u8,
    pub(super) post_quantum: bool,
    pub(super) call_to_ring_ms: Option<f64>,
    pub(super) steps: Vec<Step>,
}

/// One side: what it sent, and what it received of the other.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct SideSummary {
    pub(super) profile: Option<String>,
    pub(super) connect_ms: Option<f64>,
    pub(super) accept_to_audio_ms: Option<f64>,
    pub(super) mouth_to_ear_ms: Option<f64>,
    pub(super) pesq_wb: Option<f64>,
    pub(super) packets_sent: u64,
    pub(super) packets_received: u64,
    pub(super) packets_lost: u64,
    pub(super) jitter_ms: Option<f64>,
    pub(super) jitter_buffer_ms: Option<f64>,
    pub(super) rtt_ms: Option<f64>,
    pub(super) frames_encrypted: u64,
    pub(super) frames_decrypted: u64,
    pub(super) frames_refused: u64,
    pub(super) frames_concealed: u64,
    /// Types of the candidates in use: this side's and the peer's; at the top, all that occur.
    pub(super) candidate_types: Vec<String>,
}

impl Summary {
    pub(super) fn new(
        recording: &Recording,
        heard: &BothHeard,
        length: Duration,
        loss_percent: f64,
        network: String,
    ) -> Self {
        let [caller, callee] = Side::BOTH.map(|side| {
            let figures = recording.last(side).cloned().unwrap_or_default();
            let heard = heard_by(heard, side);
            SideSummary {
                mouth_to_ear_ms: heard.mouth_to_ear_ms.map(tenth),
                pesq_wb: heard.pesq_wb.map(|score| (score * 100.0).round() / 100.0),
                ..SideSummary::of(&figures)
            }
        });
        let seconds = tenth(length.as_secs_f64());
        let worst = SideSummary::worst(&caller, &callee);
        Self {
            seconds,
            loss_percent,
            network,
            signalling: recording.timeline.as_ref().map(Signalling::new),
            worst,
            caller,
            callee,
        }
    }

    pub(super) fn json(&self) -> String {
        // Numbers and texts alone: it can't fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Name, figure of the caller, figure of the callee.
    pub(super) fn rows(&self) -> Vec<[String; 3]> {
        let row = |name: &str, of: fn(&SideSummary) -> String| {
            [name.to_owned(), of(&self.caller), of(&self.callee)]
        };
        vec![
            row("Set-up, accept to first decoded audio", |s| {
                ms(s.accept_to_audio_ms)
            }),
            row("Set-up, accept to connected", |s| ms(s.connect_ms)),
            row("SRTP profile", |s| text(s.profile.as_deref())),
            row("Candidates in use, own and peer's", |s| {
                s.candidate_types.join(" / ")
            }),
            row("Packets sent", |s| s.packets_sent.to_string()),
            row("Packets received", |s| s.packets_received.to_string()),
            row("Packets lost", SideSummary::lost),
            row("Round trip", |s| ms(s.rtt_ms)),
            row("Jitter", |s| ms(s.jitter_ms)),
            row("Jitter buffer", |s| ms(s.jitter_buffer_ms)),
            row("Delay, mouth to ear", |s| ms(s.mouth_to_ear_ms)),
            row("Speech quality heard (PESQ-WB, 1 to 4.64)", |s| {
                s.pesq_wb
                    .map_or("–".to_owned(), |score| format!("{score:.2}"))
            }),
            row("Frames encrypted", |s| s.frames_encrypted.to_string()),
            row("Frames decrypted", |s| s.frames_decrypted.to_string()),
            row("Frames refused", |s| s.frames_refused.to_string()),
        ]
    }

    pub(super) fn table(&self) -> String {
        let mut rows = self.rows();
        rows.insert(0, [String::new(), "caller".to_owned(), "callee".to_owned()]);
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let (name, caller, callee) = (width(0), width(1), width(2));
        let lines = rows
            .iter()
            .map(|[a, b, c]| format!("{a:name$}  {b:>caller$}  {c:>callee$}"));
        let mut lines: Vec<String> = lines.collect();
        let rule = "─".repeat(name + caller + callee + 4);
        lines.insert(1, rule);
        lines.push(format!(
            "\n{:.1} s; network: {}",
            self.seconds, self.network
        ));
        lines.extend(self.signalling.as_ref().map(Signalling::line));
        if self.worst.pesq_wb.is_none() {
            lines.push("Speech quality was not measured: see `sotto demo --help`.".to_owned());
        }
        lines.join("\n")
    }
}

impl Signalling {
    fn new(timeline: &Timeline) -> Self {
        Self {
            relays: timeline.relays,
            post_quantum: timeline.post_quantum,
            call_to_ring_ms: timeline.call_to_ring_ms,
            steps: timeline.steps.clone(),
        }
    }

    /// What the steps come to.
    fn line(&self) -> String {
        let relays = if self.relays == 1 {
            "relay"
        } else {
            "relays, with private routing"
        };
        let keys = if self.post_quantum { "on" } else { "off" };
        let seconds = self.steps.iter().map(|step| step.at_ms).fold(0.0, f64::max) / 1000.0;
        format!(
            "signalling over {} {relays}; post-quantum keys: {keys}; from the call to ringing: {}; \
             from nothing to the first sound: {seconds:.2} s",
            self.relays,
            ms(self.call_to_ring_ms),
        )
    }
}

impl SideSummary {
    fn of(figures: &Figures) -> Self {
        let types = [
            &figures.local_candidate_type,
            &figures.remote_candidate_type,
        ];
        Self {
            profile: figures.srtp_profile.clone(),
            connect_ms: figures.connect_ms.map(tenth),
            accept_to_audio_ms: figures.accept_to_audio_ms.map(tenth),
            mouth_to_ear_ms: None,
            pesq_wb: None,
            packets_sent: figures.packets_sent(),
            packets_received: figures.packets_received(),
            packets_lost: figures.packets_lost(),
            jitter_ms: figures.jitter_ms().map(tenth),
            jitter_buffer_ms: figures
                .audio
                .as_ref()
                .map(|audio| tenth(audio.buffer_ms.into())),
            rtt_ms: figures.rtt_ms.map(tenth),
            frames_encrypted: figures.frames_encrypted,
            frames_decrypted: figures.frames_decrypted,
            frames_refused: figures.frames_refused,
            frames_concealed: figures.audio.as_ref().map_or(0, |audio| audio.concealed),
            candidate_types: types.into_iter().flatten().cloned().collect(),
        }
    }

    fn worst(a: &Self, b: &Self) -> Self {
        let most = |of: fn(&Self) -> Option<f64>| Some(of(a)?.max(of(b)?));
        let mut candidate_types = [&a.candidate_types[..], &b.candidate_types].concat();
        candidate_types.sort();
        candidate_types.dedup();
        Self {
            // There is none to tell if the two differ.
            profile: a
                .profile
                .clone()
                .filter(|profile| b.profile.as_ref() == Some(profile)),
            connect_ms: most(|s| s.connect_ms),
            accept_to_audio_ms: most(|s| s.accept_to_audio_ms),
            mouth_to_ear_ms: most(|s| s.mouth_to_ear_ms),
            pesq_wb: a.pesq_wb.zip(b.pesq_wb).map(|(a, b)| a.min(b)),
            packets_sent: a.packets_sent + b.packets_sent,
            packets_received: a.packets_received + b.packets_received,
            packets_lost: a.packets_lost + b.packets_lost,
            jitter_ms: most(|s| s.jitter_ms),
            jitter_buffer_ms: most(|s| s.jitter_buffer_ms),
            rtt_ms: most(|s| s.rtt_ms),
            frames_encrypted: a.frames_encrypted + b.frames_encrypted,
            frames_decrypted: a.frames_decrypted + b.frames_decrypted,
            frames_refused: a.frames_refused + b.frames_refused,
            frames_concealed: a.frames_concealed + b.frames_concealed,
            candidate_types,
        }
    }

    fn lost(&self) -> String {
        let all = self.packets_received + self.packets_lost;
        let percent = 100.0 * self.packets_lost as f64 / all.max(1) as f64;
        format!("{} ({percent:.1} %)", self.packets_lost)
    }
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn ms(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.1} ms"))
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or("–").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_has_the_worse_side_and_the_sums() {
        let side = |ms, score, count| SideSummary {
            mouth_to_ear_ms: Some(ms),
            pesq_wb: Some(score),
            packets_lost: count,
            candidate_types: vec!["host".to_owned()],
            ..SideSummary::default()
        };
        let worst = SideSummary::worst(&side(60.0, 4.0, 2), &side(80.0, 4.2, 3));
        assert_eq!(worst.mouth_to_ear_ms, Some(80.0));
        assert_eq!(worst.pesq_wb, Some(4.0));
        assert_eq!(worst.packets_lost, 5);
        assert_eq!(worst.candidate_types, ["host"]);
        assert_eq!(worst.connect_ms, None);
    }
}
