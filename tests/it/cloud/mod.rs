//! Machines that are offered through a control plane, which is the tests' own.

mod auth;
mod bare;
mod complete;
mod forward;
mod reconnecting;
mod registration;
mod relay;
mod relay_strain;
mod serving;
mod tls;

use std::process::Command;

use serde_json::{Value, json};

use crate::support::plane::Plane;
use crate::support::{Client, PATIENCE, Scratch, Server, scratch};

/// What tests must not inherit from whoever runs them.
const VARIABLES: [&str; 16] = [
    "ALL_PROXY",
    "CODEX_API_KEY",
    "CODEX_CA_CERTIFICATE",
    "CODEX_CLOUD_ENVIRONMENTS_BASE_URL",
    "CODEX_EXEC_SERVER_ENABLE_NOISE",
    "CODEX_EXEC_SERVER_REMOTE_BEARER_TOKEN",
    "CODEX_HOME",
    "CODEX_REFRESH_TOKEN_URL_OVERRIDE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "SSL_CERT_FILE",
    "all_proxy",
    "https_proxy",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];

fn command() -> Command {
    command_with(&[])
}

/// The program with these words first.
fn command_with(words: &[&str]) -> Command {
    let mut command = Server::command();
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent").args(words).args([
        "--reconnect-max-delay",
        "0.02",
        "--log-level",
        "debug",
    ]);
    command
}

/// `--remote` with an executor id.
fn executor(plane: &Plane) -> Command {
    let mut command = command();
    command
        .env("CODEX_EXEC_SERVER_REMOTE_BEARER_TOKEN", "remote-secret")
        .args([
            "--remote",
            &plane.base(),
            "--executor-id",
            "ex-1",
            "--name",
            "nm",
        ]);
    command
}

/// `--remote` with an environment id, and a transport.
fn environment(plane: &Plane, transport: &str) -> Command {
    environment_at(&plane.base(), transport)
}

/// The same for a base of its own.
fn environment_at(base: &str, transport: &str) -> Command {
    let mut command = command();
    command
        .env("CODEX_API_KEY", "key-secret")
        .args(["--remote", base, "--environment-id", "env-1"])
        .args(["--remote-transport", transport]);
    command
}

/// `--cloud`, with the login of a home.
fn cloud(plane: &Plane, home: &Home) -> Command {
    let mut command = command();
    command
        .env("CODEX_HOME", home.0.dir())
        .env(
            "CODEX_REFRESH_TOKEN_URL_OVERRIDE",
            format!("{}/oauth/token", plane.base()),
        )
        .args([
            "--cloud",
            "--cloud-base-url",
            &plane.base(),
            "--cloud-name",
            "nm",
        ]);
    command
}

/// A directory with an `auth.json`.
struct Home(Scratch);

impl Home {
    /// With the login of an account, whose access token says nothing of its end.
    fn with_account() -> Self {
        let home = Self(scratch());
        home.write(&account("access-1", "refresh-1"));
        home
    }

    fn path(&self) -> String {
        self.0.path("auth.json")
    }

    fn write(&self, login: &Value) {
        std::fs::write(self.path(), login.to_string()).unwrap();
    }

    fn read(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path()).unwrap()).unwrap()
    }
}

/// The login of an account.
fn account(access: &str, refresh: &str) -> Value {
    json!({
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": null,
        "tokens": {
            "id_token": "a.b.c",
            "access_token": access,
            "refresh_token": refresh,
            "account_id": "acc-1",
        },
        "more": {"kept": true},
    })
}

/// A client that has come through the rendezvous and introduced itself.
fn client(plane: &Plane) -> Client {
    let mut client = Client::dial(plane.address());
    client.initialize();
    client
}

/// Waits for that many executors at the rendezvous.
fn await_executors(plane: &Plane, count: usize) {
    comes(plane, &format!("{count} executors are there"), || {
        plane.executors() == count
    });
}

/// Waits for that many registrations.
fn await_registrations(plane: &Plane, count: usize) {
    comes(plane, &format!("{count} registrations"), || {
        plane.registrations().len() == count
    });
}

/// Waits until something holds of what is asked and connected at the plane.
fn comes(plane: &Plane, what: &str, condition: impl FnMut() -> bool) {
    let came = plane.comes_true(PATIENCE, condition);
    assert!(came, "not within {PATIENCE:?}: {what}");
}
