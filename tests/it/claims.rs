//! Every boundary that SECURITY.md states, and every promise of docs/reliability.md, names the tests that hold it, and no
//! test lets itself be skipped unnoted.

use std::path::{Path, PathBuf};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

const SECURITY: &str = "SECURITY.md";

/// The cells of the lines of the table whose head begins so.
fn table(document: &str, head: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(project().join(document)).unwrap();
    let lines = text.lines().skip_while(|line| !line.starts_with(head));
    let lines = lines.skip(2).take_while(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// What stands between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_boundary_has_its_tests() {
    let boundaries = table(SECURITY, "| | bwrap");
    assert!(boundaries.len() > 5, "{boundaries:?}");
    let tested: Vec<_> = table(SECURITY, "| boundary |")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    for row in boundaries.iter().filter(|row| row[1].contains("boundary")) {
        assert!(tested.contains(&row[0]), "no test is named for: {}", row[0]);
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let boundaries = table(SECURITY, "| boundary |");
    let promises = table("docs/reliability.md", "| promise |");
    assert!(boundaries.len() > 5, "{boundaries:?}");
    assert!(promises.len() > 5, "{promises:?}");
    for row in boundaries.into_iter().chain(promises) {
        let mut file: Option<(&str, String)> = None;
        let mut count = 0;
        for word in quoted(&row[1]) {
            if word.ends_with(".rs") {
                let path = project().join("tests/it").join(word);
                let source = std::fs::read_to_string(&path);
                file = Some((
                    word,
                    source.unwrap_or_else(|error| panic!("{word}: {error}")),
                ));
                continue;
            }
            let (name, source) = file.as_ref().expect("a file before its tests");
            assert!(
                source.contains(&format!("fn {word}(")),
                "{name} has no test {word}"
            );
            count += 1;
        }
        assert!(count > 0, "{row:?}");
    }
}

/// The sources below a directory that print that something is skipped.
fn silent_skips(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            silent_skips(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let prints = ["print!(\"", "println!(\""].map(|call| format!("{call}skipped"));
            if prints.iter().any(|print| text.contains(print)) {
                found.push(path);
            }
        }
    }
}

#[test]
fn who_skips_a_test_notes_it() {
    let mut found = Vec::new();
    for place in ["src", "tests/it"] {
        silent_skips(&project().join(place), &mut found);
    }
    assert!(found.is_empty(), "use needs!: {found:?}");
}
