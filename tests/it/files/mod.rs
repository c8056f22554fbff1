//! Files: what is read, written, listed, copied and removed, in both ways to write a path.

mod blocks;
mod copy;
mod directories;
mod hung;
mod kept;
mod large;
mod links;
mod metadata;
mod names;
mod order;
mod params;
mod raw;
mod read;
mod remove;
mod special;
mod uris;
mod walk;
mod write;

use serde_json::{Value, json};

use crate::support::{Client, RpcError};

/// A path as 0.169 writes it.
fn uri(path: &str) -> String {
    format!("file://{path}")
}

/// An error as a pair that is easily compared.
fn pair(error: &RpcError) -> (i64, &str) {
    (error.code, error.message.as_str())
}

/// Fails unless the request ends with just this error.
#[track_caller]
fn refused(client: &mut Client, method: &str, params: Value, code: i64, message: &str) {
    let error = client.err(method, params.clone());
    assert_eq!(pair(&error), (code, message), "{method} {params}");
}

/// The content of a file, by `fs/readFile`.
#[track_caller]
fn content(client: &mut Client, path: &str) -> Vec<u8> {
    let read = client.ok("fs/readFile", json!({"path": path}));
    crate::support::decode(read["dataBase64"].as_str().unwrap())
}

/// Writes by `fs/writeFile`.
#[track_caller]
fn put(client: &mut Client, path: &str, data: &[u8]) {
    let data = crate::support::encode(data);
    let written = client.ok("fs/writeFile", json!({"path": path, "dataBase64": data}));
    assert_eq!(written, json!({}));
}

/// The permission bits of a file.
fn mode(path: &str) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::symlink_metadata(path)
        .unwrap()
        .permissions()
        .mode()
        & 0o7777
}

/// Sets the permission bits of a file.
fn set_mode(path: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Makes a named pipe, with the system's own program, so that no test needs unsafe code.
fn make_fifo(path: &str) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success(), "mkfifo {path}");
}

/// What every error of the system looks like.
const NOT_FOUND: (i64, &str) = (-32004, "No such file or directory (os error 2)");
const NOT_A_DIRECTORY: (i64, &str) = (-32603, "Not a directory (os error 20)");
const IS_A_DIRECTORY: (i64, &str) = (-32603, "Is a directory (os error 21)");
const EXISTS: (i64, &str) = (-32603, "File exists (os error 17)");
const LOOP: (i64, &str) = (-32603, "Symbolic link loop (os error 40)");
