//! Our LZ-string against the npm package `lz-string`, on random texts and on damaged ones.
//!
//! Looks for the package in the directory that `SOTTO_NODE_MODULES` names, else in that of the
//! browser tests. Without it the test is skipped, but fails where `CI` is `true`.

#![expect(
    clippy::unwrap_used,
    reason = "test helpers are no test functions themselves"
)]

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use call_signal::lz_string::{
    LzError, compress_utf16_to_base64, decompress_from_base64, decompress_utf16_from_base64,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// Reads `{compress: [units…], decompress: [text…]}`, writes the results in the same shape.
const SCRIPT: &str = r"
const lz = require('lz-string');
const text = units => units.map(unit => String.fromCharCode(unit)).join('');
const units = text => text === null ? null : Array.from(text.split(''), c => c.charCodeAt(0));
const chunks = [];
process.stdin.on('data', chunk => chunks.push(chunk));
process.stdin.on('end', () => {
  const input = JSON.parse(Buffer.concat(chunks).toString());
  process.stdout.write(JSON.stringify({
    compress: input.compress.map(units => lz.compressToBase64(text(units))),
    decompress: input.decompress.map(text => units(lz.decompressFromBase64(text))),
  }));
});
";

const LIMIT: usize = 1 << 20;

#[derive(Default, serde::Serialize)]
struct Questions {
    compress: Vec<Vec<u16>>,
    decompress: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Answers {
    compress: Vec<String>,
    decompress: Vec<Option<Vec<u16>>>,
}

#[test]
fn compression_equals_that_of_the_npm_package() {
    let Some(modules) = node_modules() else {
        return;
    };
    let mut rng = ChaCha20Rng::seed_from_u64(0x1f2);
    let texts: Vec<Vec<u16>> = texts(&mut rng);
    let questions = Questions {
        compress: texts.clone(),
        ..Questions::default()
    };
    let answers = ask(&modules, &questions);
    for (units, theirs) in texts.iter().zip(&answers.compress) {
        assert_eq!(
            &compress_utf16_to_base64(units),
            theirs,
            "{} units",
            units.len()
        );
        assert_eq!(&decompress_utf16_from_base64(theirs, LIMIT).unwrap(), units);
    }
}

#[test]
fn what_we_read_out_of_damaged_text_the_npm_package_reads_too() {
    let Some(modules) = node_modules() else {
        return;
    };
    let mut rng = ChaCha20Rng::seed_from_u64(0x1f3);
    let texts = texts(&mut rng);
    let damaged: Vec<String> = texts
        .iter()
        .map(|units| damage(&compress_utf16_to_base64(units), &mut rng))
        .collect();
    let questions = Questions {
        decompress: damaged.clone(),
        ..Questions::default()
    };
    let answers = ask(&modules, &questions);
    let mut read = 0;
    for (text, theirs) in damaged.iter().zip(&answers.decompress) {
        if let Ok(ours) = decompress_utf16_from_base64(text, LIMIT) {
            assert_eq!(Some(&ours), theirs.as_ref(), "{text}");
            read += 1;
        }
    }
    assert!(read > 10, "{read} of {}", damaged.len());
}

#[test]
fn a_text_of_every_length_up_to_a_few_hundred_comes_back() {
    let text: String = ('a'..='z').cycle().take(300).collect();
    for end in 0..text.len() {
        let encoded = compress_utf16_to_base64(&text[..end].encode_utf16().collect::<Vec<_>>());
        assert_eq!(decompress_from_base64(&encoded, end).unwrap(), text[..end]);
        if end > 0 {
            let error = decompress_from_base64(&encoded, end - 1);
            assert_eq!(error, Err(LzError::TooLong { limit: end - 1 }));
        }
    }
}

/// Every kind of text, of every size that matters.
fn texts(rng: &mut ChaCha20Rng) -> Vec<Vec<u16>> {
    let mut texts = vec![
        vec![],
        vec![0],
        vec![255],
        vec![256],
        vec![0xffff],
        vec![0xd83d],
    ];
    for length in [
        1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 63, 64, 65, 200, 1_000, 9_000,
    ] {
        for _ in 0..3 {
            texts.push(units(length, || rng.random_range(0x20..0x7f)));
            texts.push(units(length, || rng.random()));
            texts.push(units(length, || rng.random_range(0..3)));
            texts.push(units(length, || rng.random_range(0xd7f0..0xe010)));
            texts.push(units(length, || rng.random_range(0xf0..0x110)));
            texts.push(sdp_like(length, rng));
            texts.push(vec![rng.random(); length]);
        }
    }
    texts.push(vec![0x61; 100_000]);
    texts
}

fn units(length: usize, unit: impl FnMut() -> u16) -> Vec<u16> {
    std::iter::repeat_with(unit).take(length).collect()
}

fn sdp_like(length: usize, rng: &mut impl Rng) -> Vec<u16> {
    let mut text = String::from("{\"type\":\"offer\",\"sdp\":\"v=0\\r\\n");
    while text.len() < length {
        let [kind, port, digits]: [u16; 3] = rng.random();
        text += match kind % 4 {
            0 => "a=rtcp-fb:111 transport-cc\\r\\n",
            1 => "c=IN IP4 0.0.0.0\\r\\na=mid:",
            2 => "a=candidate:1104276539 1 udp 41885439 203.0.113.9 ",
            _ => "m=video 9 UDP/TLS/RTP/SAVPF 96 97\\r\\n",
        };
        text += &format!("{port} {digits:04X}:\\r\\n");
    }
    text.encode_utf16().collect()
}

/// Cuts, flips or leaves a text, or takes its padding away.
fn damage(encoded: &str, rng: &mut impl Rng) -> String {
    let mut bytes = encoded.as_bytes().to_vec();
    let place = rng.random_range(0..bytes.len());
    match rng.random_range(0..4) {
        0 => bytes.truncate(place),
        1 if bytes[place] != b'=' => bytes[place] = b'A' + rng.random_range(0..26),
        2 => return encoded.trim_end_matches('=').to_owned(),
        _ => {}
    }
    String::from_utf8(bytes).unwrap()
}

fn ask(modules: &Path, questions: &Questions) -> Answers {
    let mut node = Command::new("node")
        .args(["-e", SCRIPT])
        .env("NODE_PATH", modules)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Node answers only after the end of its input, so writing all of it first cannot block.
    let mut input = node.stdin.take().unwrap();
    input
        .write_all(&serde_json::to_vec(questions).unwrap())
        .unwrap();
    drop(input);
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[expect(clippy::print_stderr, reason = "says that a test did not run")]
fn node_modules() -> Option<PathBuf> {
    let directory = env::var_os("SOTTO_NODE_MODULES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser/node_modules"),
        PathBuf::from,
    );
    let node_runs = || {
        let version = Command::new("node")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    };
    if directory.join("lz-string").is_dir() && node_runs() {
        return Some(directory);
    }
    let in_ci = env::var_os("CI").is_some_and(|value| value == "true");
    assert!(
        !in_ci,
        "node and the npm package lz-string must be installed where CI is true"
    );
    eprintln!("skipped: node or the npm package lz-string is not installed");
    None
}
