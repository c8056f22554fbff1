//! Keys, memory segments and queues of the host.

use std::process::Command;

use crate::support::child;
use crate::support::sandbox::{LAUNCHERS, Sandbox, Stage, Who};

/// Starts the server in a session of keys that holds a secret one.
fn with_key(plain: Command) -> Command {
    let mut command = Command::new(child());
    command.args(["attempt", "with-key", "test-key", "the-secret"]);
    command.arg(plain.get_program()).args(plain.get_args());
    command
        .env_remove("EXEC_SERVER_LOG")
        .env_remove("EXEC_SERVER_TOKEN");
    command
}

fn the_key_stays_hidden(who: Who) {
    for launcher in LAUNCHERS {
        let Some(mut stage) = Stage::set_through(launcher, who, with_key) else {
            continue;
        };
        assert_eq!(stage.works_free(&["read-key", "test-key"]), "the-secret");
        for policy in [Sandbox::read_only(), Sandbox::read_only().online()] {
            let outcome = stage.refuses(&policy, &["read-key", "test-key"]);
            assert!(
                !outcome.stdout.contains("the-secret"),
                "{launcher}: {outcome:?}"
            );
            stage.refuses(&policy, &["add-key", "another", "x"]);
        }
    }
}

#[test]
fn keys_of_the_servers_session_cannot_be_read() {
    the_key_stays_hidden(Who::Myself);
}

#[test]
fn keys_of_the_servers_session_cannot_be_read_by_another() {
    the_key_stays_hidden(Who::Another);
}

/// A number for this stage alone.
fn key(stage: &Stage) -> String {
    let offset = stage.launcher as u32 * 2 + u32::from(stage.who == Who::Another);
    (std::process::id() * 8 + offset).to_string()
}

on_every_launcher! {
    fn memory_segments_of_the_host_cannot_be_found(stage) {
        let key = key(stage);
        stage.works_free(&["shm-create", &key]);
        stage.works_free(&["shm-find", &key]);
        stage.refuses(&Sandbox::read_only(), &["shm-find", &key]);
        stage.works_free(&["shm-remove", &key]);
    }

    fn queues_of_the_host_cannot_be_opened(stage) {
        let name = format!("exec-server-test-{}", key(stage));
        stage.works_free(&["queue-create", &name]);
        stage.works_free(&["queue-open", &name]);
        stage.refuses(&Sandbox::read_only(), &["queue-open", &name]);
        stage.works_free(&["queue-remove", &name]);
    }
}
