//! Plots as SVG. Colours come from the page's style sheet.

use std::fmt::Write as _;

use call_media::measure::Column;

/// Of a plot that takes half of the page.
const HALF: f64 = 560.0;
/// Of a plot that takes the whole width, so that letters have the same size in both.
const WHOLE: f64 = 1140.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// A line or dots in a [`Plot`].
pub(super) struct Series {
    /// For screen readers and as a tooltip.
    pub(super) name: String,
    /// Class of the style sheet, which gives the colour.
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// Values over time.
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    /// The time axis ends here, in seconds.
    pub(super) seconds: f64,
    /// The axis of values goes at least up to this.
    pub(super) at_least: f64,
    pub(super) series: Vec<Series>,
}

impl Plot {
    pub(super) fn draw(&self) -> String {
        const HEIGHT: f64 = 200.0;
        let values = self
            .series
            .iter()
            .flat_map(|series| &series.points)
            .map(|(_, y)| *y);
        let highest = values.fold(self.at_least, f64::max);
        let step = nice_step(highest, 4.0);
        let top = (highest / step).ceil() * step;
        let x = Scale::new(self.seconds, LEFT, HALF - RIGHT);
        let y = Scale::new(top, HEIGHT - BOTTOM, TOP);
        let mut svg = open(HALF, HEIGHT, self.title);
        for tick in ticks(step, top) {
            let at = y.at(tick);
            let (right, text) = (HALF - RIGHT, number(tick));
            let class = if tick == 0.0 { "axis" } else { "grid" };
            let _ = write!(
                svg,
                r#"<path class="{class}" d="M{LEFT} {at:.1}H{right}"/><text class="tick end" x="{:.1}" y="{:.1}">{text}</text>"#,
                LEFT - 6.0,
                at + 4.0,
            );
        }
        time_axis(&mut svg, &x, self.seconds, HEIGHT);
        let unit = self.unit;
        let _ = write!(
            svg,
            r#"<text class="tick" x="{}" y="{}">{unit}</text>"#,
            LEFT + 4.0,
            TOP + 9.0
        );
        for series in &self.series {
            series.draw(&mut svg, &x, &y);
        }
        svg.push_str("</svg>");
        svg
    }
}

impl Series {
    fn draw(&self, svg: &mut String, x: &Scale, y: &Scale) {
        let points: Vec<String> = self
            .points
            .iter()
            .map(|(at, value)| format!("{:.1},{:.1}", x.at(*at), y.at(*value)))
            .collect();
        let (class, name, points) = (self.class, escape(&self.name), points.join(" "));
        let _ = write!(
            svg,
            r#"<polyline class="line {class}" points="{points}"><title>{name}</title></polyline>"#,
        );
    }
}

/// One sound in a [`waveforms`] plot.
pub(super) struct Wave {
    pub(super) name: String,
    pub(super) class: &'static str,
    pub(super) columns: Vec<Column>,
    /// When its first sample was heard, in seconds of the plot.
    pub(super) start: f64,
    /// How long it lasts, in seconds.
    pub(super) length: f64,
}

/// Sounds one below the other on one axis of time.
pub(super) fn waveforms(title: &str, waves: &[Wave], seconds: f64) -> String {
    const ROW: f64 = 92.0;
    let height = TOP + ROW * waves.len() as f64 + BOTTOM;
    let x = Scale::new(seconds, LEFT, WHOLE - RIGHT);
    let mut svg = open(WHOLE, height, title);
    time_axis(&mut svg, &x, seconds, height);
    let peaks = waves
        .iter()
        .flat_map(|wave| &wave.columns)
        .map(|c| c.max.max(-c.min));
    let gain = 1.0 / f64::from(peaks.fold(0.05, f32::max));
    for (row, wave) in waves.iter().enumerate() {
        let top = TOP + ROW * row as f64;
        let (middle, half) = (top + ROW / 2.0 + 6.0, ROW / 2.0 - 10.0);
        let at = |index: usize| {
            let share = index as f64 / wave.columns.len().max(1) as f64;
            x.at(wave.start + share * wave.length)
                .clamp(LEFT, WHOLE - RIGHT)
        };
        let y = |value: f32| middle - f64::from(value) * gain * half;
        let mut path = String::new();
        for (index, column) in wave.columns.iter().enumerate() {
            let _ = write!(path, "L{:.1} {:.1}", at(index), y(column.max));
        }
        for (index, column) in wave.columns.iter().enumerate().rev() {
            let _ = write!(path, "L{:.1} {:.1}", at(index), y(column.min));
        }
        let (right, class, name) = (WHOLE - RIGHT, wave.class, escape(&wave.name));
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{LEFT} {middle:.1}H{right}"/>"#
        );
        if let Some(path) = path.strip_prefix('L') {
            let _ = write!(svg, r#"<path class="wave {class}" d="M{path}Z"/>"#);
        }
        let _ = write!(
            svg,
            r#"<text class="label" x="{}" y="{:.1}">{name}</text>"#,
            LEFT + 4.0,
            top + 11.0
        );
    }
    svg.push_str("</svg>");
    svg
}

/// One step in [`bars_over_time`].
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) class: &'static str,
    /// In seconds.
    pub(super) start: f64,
    /// In seconds.
    pub(super) end: f64,
}

/// Steps one below the other, each as a bar from its begin to its end.
pub(super) fn bars_over_time(title: &str, bars: &[Bar]) -> String {
    const ROW: f64 = 20.0;
    /// Room for names, which stand left of the bars.
    const NAMES: f64 = 330.0;
    /// Room for times, which stand right of them.
    const TIMES: f64 = 70.0;
    let height = TOP + ROW * bars.len() as f64 + BOTTOM;
    let seconds = bars.iter().map(|bar| bar.end).fold(0.0, f64::max);
    let x = Scale::new(seconds, NAMES, WHOLE - TIMES);
    let mut svg = open(WHOLE, height, title);
    time_axis(&mut svg, &x, seconds, height);
    for (row, bar) in bars.iter().enumerate() {
        let top = TOP + ROW * row as f64;
        let (from, to) = (x.at(bar.start), x.at(bar.end));
        // A step that took no time is still to be seen.
        let width = (to - from).max(2.0);
        let (class, name) = (bar.class, escape(&bar.name));
        let (middle, took) = (top + ROW / 2.0 + 4.0, (bar.end - bar.start) * 1000.0);
        let _ = write!(
            svg,
            r#"<text class="label end" x="{}" y="{middle:.1}">{name}</text><rect class="wave {class}" x="{from:.1}" y="{:.1}" width="{width:.1}" height="{}"/><text class="tick" x="{:.1}" y="{middle:.1}">{took:.0} ms</text>"#,
            NAMES - 8.0,
            top + 4.0,
            ROW - 8.0,
            from + width + 5.0,
        );
    }
    svg.push_str("</svg>");
    svg
}

/// For text in HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// From `0..=most` to pixels.
struct Scale {
    factor: f64,
    start: f64,
}

impl Scale {
    fn new(most: f64, start: f64, end: f64) -> Self {
        Self {
            factor: (end - start) / most.max(1e-9),
            start,
        }
    }

    fn at(&self, value: f64) -> f64 {
        self.start + value * self.factor
    }
}

fn open(width: f64, height: f64, title: &str) -> String {
    let title = escape(title);
    format!(
        r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}" xmlns="http://www.w3.org/2000/svg">"#
    )
}

fn time_axis(svg: &mut String, x: &Scale, seconds: f64, height: f64) {
    for tick in ticks(nice_step(seconds, 8.0), seconds) {
        let (at, text) = (x.at(tick), number(tick));
        let bottom = height - BOTTOM;
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{at:.1} {TOP}V{bottom}"/><text class="tick middle" x="{at:.1}" y="{:.1}">{text} s</text>"#,
            bottom + 16.0,
        );
    }
}

/// A step of 1, 2 or 5 times a power of ten that makes at most `count` steps up to `most`.
fn nice_step(most: f64, count: f64) -> f64 {
    let raw = (most / count).max(1e-6);
    let power = 10_f64.powf(raw.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let factor = factors
        .into_iter()
        .find(|factor| factor * power >= raw * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

fn ticks(step: f64, most: f64) -> impl Iterator<Item = f64> {
    let last = (most / step + 1e-9).floor() as usize;
    (0..=last).map(move |index| index as f64 * step)
}

fn number(value: f64) -> String {
    // Sums of steps have digits that nobody wants to read.
    format!("{}", (value * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_one_two_or_five() {
        assert_eq!(nice_step(100.0, 4.0), 50.0);
        assert_eq!(nice_step(80.0, 4.0), 20.0);
        assert_eq!(nice_step(0.7, 4.0), 0.2);
        assert_eq!(
            ticks(20.0, 80.0).collect::<Vec<_>>(),
            [0.0, 20.0, 40.0, 60.0, 80.0]
        );
    }

    #[test]
    fn a_step_that_took_no_time_is_seen() {
        let bar = |start, end| Bar {
            name: "a<b".to_owned(),
            class: "caller",
            start,
            end,
        };
        let svg = bars_over_time("Steps", &[bar(0.0, 1.0), bar(1.0, 1.0)]);
        assert!(
            svg.contains("a&lt;b") && svg.contains(r#"width="2.0""#),
            "{svg}"
        );
        assert!(!bars_over_time("Steps", &[]).contains("NaN"));
    }

    #[test]
    fn a_plot_without_points_is_still_a_plot() {
        let series = vec![Series {
            name: "a<b".to_owned(),
            class: "caller",
            points: Vec::new(),
        }];
        let plot = Plot {
            title: "Delay",
            unit: "ms",
            seconds: 0.0,
            at_least: 0.0,
            series,
        };
        let svg = plot.draw();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
        assert!(svg.contains("a&lt;b") && !svg.contains("NaN"));
    }
}
