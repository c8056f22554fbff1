//! Every boundary that SECURITY.md states names the tests that hold it.

use std::path::{Path, PathBuf};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn document() -> String {
    std::fs::read_to_string(project().join("SECURITY.md")).unwrap()
}

/// The cells of the lines of the table whose head begins so.
fn table(head: &str) -> Vec<Vec<String>> {
    let text = document();
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
    let boundaries = table("| | bwrap");
    assert!(boundaries.len() > 5, "{boundaries:?}");
    let tested: Vec<_> = table("| boundary |")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    for row in boundaries.iter().filter(|row| row[1].contains("boundary")) {
        assert!(tested.contains(&row[0]), "no test is named for: {}", row[0]);
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let rows = table("| boundary |");
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
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
