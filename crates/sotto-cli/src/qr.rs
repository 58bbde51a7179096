//! QR codes of links, for a terminal or as a picture.

use std::path::Path;

use qrcode::render::{svg, unicode};
use qrcode::types::QrError;
use qrcode::{EcLevel, QrCode};

use crate::failure::Failure;

/// Edge of a picture in pixels, at least.
const PICTURE: u32 = 480;

/// Half blocks, two rows of the code in one of the text. Light on dark as well as dark on light:
/// the blocks are the light parts, since most terminals are dark.
pub(crate) fn blocks(link: &str) -> Option<String> {
    let code = code(link).ok()?;
    let text = code
        .render::<unicode::Dense1x2>()
        .dark_color(unicode::Dense1x2::Light)
        .light_color(unicode::Dense1x2::Dark)
        .build();
    Some(text)
}

/// Writes a picture: SVG.
pub(crate) fn write(link: &str, path: &Path) -> Result<(), Failure> {
    let name = path.display();
    if path.extension().is_none_or(|kind| kind != "svg") {
        return Err(Failure::usage(format_args!(
            "--qr {name}: give it the ending .svg"
        )));
    }
    let code = code(link).map_err(|error| Failure::other(format_args!("no QR code: {error}")))?;
    let picture = code
        .render::<svg::Color<'_>>()
        .min_dimensions(PICTURE, PICTURE)
        .build();
    crate::files::write_private(path, picture.as_bytes())
        .map_err(|error| Failure::other(format_args!("--qr {name}: {error}")))
}

/// A link is read from a screen, which is clean: the code is small rather than sturdy.
fn code(link: &str) -> Result<QrCode, QrError> {
    QrCode::with_error_correction_level(link, EcLevel::L)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_form_a_square_with_a_quiet_zone() {
        let text = blocks("https://example.org/i#abc").unwrap();
        let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
        let width = lines[0].len();
        assert!(lines.iter().all(|line| line.len() == width));
        assert_eq!(lines.len(), width.div_ceil(2));
        // Light on every side, so that a reader finds its edge.
        assert!(lines[0].iter().all(|block| *block == '█'), "{text}");
        assert!(
            lines.iter().all(|line| line.first() != Some(&' ')),
            "{text}"
        );
    }

    #[test]
    fn what_no_code_can_hold_has_none() {
        assert!(blocks(&"x".repeat(2900)).is_some());
        assert!(blocks(&"x".repeat(3000)).is_none());
    }

    #[test]
    fn a_picture_is_svg_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link.svg");
        write("https://example.org/i#abc", &path).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("<svg"));
        assert!(write("x", &folder.path().join("link.png")).is_err());
    }
}
