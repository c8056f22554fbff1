//! The clients in clients/, by their own tests, against the program under test.

use std::path::Path;
use std::process::Command;

use crate::support::{Need, Server, finish};

/// Runs a part of the tests of the client for Python.
fn python(part: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python");
    let mut command = Command::new("python3");
    command
        .args(["-m", "unittest"])
        .args(part)
        .current_dir(&root)
        .env("PYTHONPATH", root.join("src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("EXEC_SERVER_BIN", Server::command().get_program());
    let output = finish(command, b"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // None was found, where a folder was renamed.
    assert!(!said.contains("Ran 0 tests"), "{said}");
}

#[test]
fn the_python_client_with_threads_passes_its_tests() {
    needs!(Need::Python(3, 9));
    python(&["discover", "-s", "tests/sync", "-t", "."]);
}

#[test]
fn the_python_client_for_asyncio_passes_its_tests() {
    needs!(Need::Python(3, 9));
    python(&["discover", "-s", "tests/aio", "-t", "."]);
}

#[test]
fn the_parts_documents_and_wheel_of_the_python_client_pass_their_tests() {
    needs!(Need::Python(3, 9));
    python(&[
        "tests.test_parts",
        "tests.test_documents",
        "tests.test_wheel",
    ]);
}
