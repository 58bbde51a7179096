//! The report of a demo: one HTML file with everything in it.

use call_media::{SAMPLE_RATE, measure};

use super::conduct::{Recording, Side};
use super::measure::Heard;
use super::summary::Summary;
use super::svg::{Bar, Plot, Series, Wave, bars_over_time, escape, waveforms};
use super::timeline::Timeline;
use super::{BothHeard, heard_by};
use crate::events::Figures;

const STYLE: &str = include_str!("report.css");

/// Columns of a waveform.
const COLUMNS: usize = 900;

/// The page.
pub(super) fn html(
    summary: &Summary,
    recording: &Recording,
    spoken: &[i16],
    heard: &BothHeard,
) -> String {
    let network = escape(&summary.network);
    let (seconds, version) = (summary.seconds, env!("CARGO_PKG_VERSION"));
    let (tiles, table) = (tiles(summary), table(summary));
    let plots: String = plots(recording, heard, seconds)
        .iter()
        .map(plot_section)
        .collect();
    let waves = wave_section(spoken, heard, seconds);
    let signalling = recording
        .timeline
        .as_ref()
        .map_or_else(String::new, signalling);
    format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sotto demo</title>
<style>
{STYLE}</style>
<h1>Sotto demo</h1>
<p class="about">A call of {seconds:.1} s between two processes; network: {network}.</p>
<div class="tiles">{tiles}</div>
<section class="scroll"><h2>Figures</h2>{table}</section>
{signalling}<div class="grid2">{plots}</div>
{waves}
<footer>sotto {version}. Each side's figures are of what it received, and its packets and frames of
what it sent. Delay from mouth to ear is measured from the two recordings, second by
second. Statistics are taken once a second.</footer>
</html>
"#
    )
}

fn tiles(summary: &Summary) -> String {
    let worst = &summary.worst;
    let ms = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.0} ms"));
    let profile = worst.profile.as_deref().unwrap_or("–");
    let profile = profile.trim_start_matches("SRTP_AEAD_").replace('_', "-");
    let score = worst
        .pesq_wb
        .map_or("–".to_owned(), |score| format!("{score:.2}"));
    let received = worst.packets_received + worst.packets_lost;
    let lost = 100.0 * worst.packets_lost as f64 / received.max(1) as f64;
    [
        (ms(worst.accept_to_audio_ms), "from accept to first audio"),
        (ms(worst.mouth_to_ear_ms), "from mouth to ear"),
        (score, "speech quality (PESQ-WB)"),
        (format!("{lost:.1} %"), "packets lost"),
        (escape(&profile), "SRTP profile"),
    ]
    .iter()
    .map(|(value, name)| format!(r#"<div class="tile"><b>{value}</b><span>{name}</span></div>"#))
    .collect()
}

fn table(summary: &Summary) -> String {
    let row = |[name, caller, callee]: &[String; 3]| {
        let (name, caller, callee) = (escape(name), escape(caller), escape(callee));
        format!("<tr><th>{name}</th><td>{caller}</td><td>{callee}</td></tr>")
    };
    let rows: String = summary.rows().iter().map(row).collect();
    format!(
        "<table><thead><tr><th></th><th>caller</th><th>callee</th></tr></thead>\
         <tbody>{rows}</tbody></table>"
    )
}

fn plots(recording: &Recording, heard: &BothHeard, seconds: f64) -> Vec<Plot> {
    let plot = |title, unit, at_least, of: &dyn Fn(Side) -> Vec<(f64, f64)>| {
        let series = Side::BOTH.map(|side| Series {
            name: format!("{title}, {}", side.name()),
            class: class(side),
            points: of(side),
        });
        Plot {
            title,
            unit,
            seconds,
            at_least,
            series: series.into(),
        }
    };
    vec![
        plot("Delay from mouth to ear", "ms", 50.0, &|side| {
            heard_by(heard, side).delays.clone()
        }),
        plot("Jitter buffer", "ms", 50.0, &|side| {
            over_time(recording.of(side), |figures, _| {
                figures.audio.as_ref().map(|audio| audio.buffer_ms.into())
            })
        }),
        plot("Packets lost", "%", 5.0, &|side| {
            over_time(recording.of(side), Figures::lost_percent)
        }),
        plot("Bitrate received", "kbit/s", 20.0, &|side| {
            over_time(recording.of(side), Figures::received_kbit_s)
        }),
    ]
}

/// Values at the times of the statistics, in seconds since media started.
fn over_time(
    figures: &[Figures],
    value: impl Fn(&Figures, &Figures) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let Some(start) = figures.iter().find_map(Figures::at_start) else {
        return Vec::new();
    };
    let mut points = Vec::new();
    let mut last = &start;
    for now in figures {
        // The final ones may come right behind the last: too short for a rate.
        if now.unix_ms - last.unix_ms >= 300.0 {
            let at = (now.unix_ms - start.unix_ms) / 1000.0;
            points.extend(value(now, last).map(|value| (at, value)));
            last = now;
        }
    }
    points
}

fn plot_section(plot: &Plot) -> String {
    format!(
        "<section><h2>{}</h2>{}{}</section>",
        plot.title,
        LEGEND,
        plot.draw()
    )
}

/// How the call came about.
fn signalling(timeline: &Timeline) -> String {
    let bars: Vec<Bar> = timeline
        .steps
        .iter()
        .map(|step| Bar {
            name: step.step.clone(),
            class: step.side.unwrap_or("spoken"),
            start: (step.at_ms - step.took_ms) / 1000.0,
            end: step.at_ms / 1000.0,
        })
        .collect();
    let relays = match timeline.relays {
        1 => "one message relay".to_owned(),
        relays => format!("{relays} message relays, with private routing"),
    };
    let keys = if timeline.post_quantum {
        "The connection has post-quantum keys."
    } else {
        "The connection has no post-quantum keys."
    };
    let picture = bars_over_time("Steps from the first process to the first sound", &bars);
    format!(
        "<section class=\"steps\"><h2>Signalling over {relays}</h2><p class=\"legend\">\
         <span class=\"key caller\"><i>by the caller</i></span>\
         <span class=\"key callee\"><i>by the callee</i></span>\
         <span class=\"key spoken\"><i>by both</i></span> {keys}</p>{picture}</section>\n"
    )
}

const LEGEND: &str = r#"<p class="legend"><span class="key caller"><i>at the caller</i></span><span class="key callee"><i>at the callee</i></span></p>"#;

fn wave_section(spoken: &[i16], heard: &BothHeard, seconds: f64) -> String {
    let wave = |name: String, class, samples: &[i16], start| Wave {
        name,
        class,
        columns: measure::envelope(samples, COLUMNS),
        start,
        length: samples.len() as f64 / f64::from(SAMPLE_RATE),
    };
    let mut waves = vec![wave("spoken by both".to_owned(), "spoken", spoken, 0.0)];
    for side in [Side::Callee, Side::Caller] {
        let heard: &Heard = heard_by(heard, side);
        let start = heard.late_ms.unwrap_or(0.0) / 1000.0;
        let name = format!("heard by the {}", side.name());
        waves.push(wave(name, class(side), &heard.samples, start));
    }
    let picture = waveforms("Waveforms of what was spoken and heard", &waves, seconds);
    format!("<section><h2>Sound, in and out</h2>{picture}</section>")
}

fn class(side: Side) -> &'static str {
    match side {
        Side::Caller => "caller",
        Side::Callee => "callee",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_begin_where_media_started_and_skip_a_sample_too_close() {
        let at = |unix_ms| Figures {
            unix_ms,
            media_started_unix_ms: Some(1000.0),
            ..Figures::default()
        };
        let figures = [at(2000.0), at(3500.0), at(3510.0)];
        let points = over_time(&figures, |now, last| Some(now.unix_ms - last.unix_ms));
        assert_eq!(points, [(1.0, 1000.0), (2.5, 1500.0)]);
    }
}
