//! Speech quality by PESQ wideband (ITU-T P.862.2), computed by a Python package.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

use super::speech;

/// The interpreter, where it is not the project's own.
const PYTHON: &str = "SOTTO_PYTHON";

/// The project's own, made by its set-up.
const PROJECT_PYTHON: &str = ".venv/bin/python";

const SCRIPT: &str = include_str!("../../../../scripts/pesq.py");

/// A measurement that runs.
pub(super) struct Pesq(Option<Child>);

impl Pesq {
    /// Starts to compare `heard` with `spoken`, of which it has the same `offset_ms` later.
    pub(super) fn start(spoken: &Path, heard: &Path, offset_ms: f64) -> Self {
        Self(start(spoken, heard, offset_ms).ok().flatten())
    }

    /// The score, 1.0 to 4.64; `None` where it can't be computed.
    pub(super) fn score(self) -> Option<f64> {
        #[derive(Deserialize)]
        struct Answer {
            pesq_wb: Option<f64>,
        }
        let output = self.0?.wait_with_output().ok()?;
        serde_json::from_slice::<Answer>(&output.stdout)
            .ok()?
            .pesq_wb
    }
}

fn start(spoken: &Path, heard: &Path, offset_ms: f64) -> std::io::Result<Option<Child>> {
    let chosen = std::env::var_os(PYTHON)
        .filter(|python| !python.is_empty())
        .map(PathBuf::from);
    let Some(python) = chosen.or_else(|| speech::in_project(PROJECT_PYTHON)) else {
        return Ok(None);
    };
    let mut child = Command::new(python)
        .arg("-")
        .args([spoken, heard])
        .arg(format!("--offset-ms={offset_ms}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(SCRIPT.as_bytes())?;
    }
    Ok(Some(child))
}
