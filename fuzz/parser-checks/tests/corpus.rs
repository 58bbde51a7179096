//! Runs each check over its corpus, which holds seeds and what the fuzzer found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use parser_checks::CHECKS;

#[test]
fn every_file_of_the_corpus_passes_its_check() {
    for (name, check) in CHECKS {
        let files = files_in(&fuzz_folder().join("corpus").join(name));
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in files {
            let data = fs::read(&file).unwrap();
            if std::panic::catch_unwind(|| check(&data)).is_err() {
                panic!("{} breaks a rule of {name}", file.display());
            }
        }
    }
}

#[test]
fn every_check_has_a_fuzz_target_and_a_corpus() {
    let checks: BTreeSet<_> = CHECKS.iter().map(|(name, _)| name.to_string()).collect();
    for folder in ["corpus", "fuzz_targets"] {
        let there: BTreeSet<_> = files_in(&fuzz_folder().join(folder))
            .iter()
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(there, checks, "fuzz/{folder}");
    }
}

#[test]
fn no_bytes_and_short_bytes_pass_every_check() {
    for (_, check) in CHECKS {
        check(&[]);
        for byte in 0..=255 {
            check(&[byte]);
            check(&[0xff, byte, 0x00, byte, 0x80]);
        }
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    });
    let mut files: Vec<_> = paths.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files.sort();
    files
}

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
