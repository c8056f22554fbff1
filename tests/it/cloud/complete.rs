//! The complete path: control plane, executor, our own client, a command, and a cut in the middle.

use std::io::Read;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;

use super::{Home, await_executors, cloud, environment};
use crate::support::plane::{Plane, Style};
use crate::support::{PATIENCE, Running, Server, within};

const BLOCKS: usize = 60;

/// At a pace at which what comes during the cut fits into what is retained.
fn script() -> String {
    format!(
        "i=0; while [ $i -lt {BLOCKS} ]; do printf '%08d%0992d' $i 0; i=$((i+1)); sleep 0.03; done; exit 7"
    )
}

fn expected() -> Vec<u8> {
    let blocks = (0..BLOCKS).map(|number| format!("{number:08}{:0992}", 0));
    blocks.collect::<String>().into_bytes()
}

fn run_through(plane: &Plane) {
    let mut client = Server::command();
    client
        .args([
            "run",
            "-n",
            "-e",
            &format!("ws://{}", plane.address()),
            "-C",
            "/",
            "--",
        ])
        .args(["/bin/sh", "-c", &script()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut client = client.spawn().unwrap();
    let mut stdout = client.stdout.take().unwrap();
    let mut client = Running::new(client);
    let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&bytes);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            kept.lock().unwrap().extend(&buffer[..count]);
        }
    });
    within(PATIENCE, "a third of the output is there", || {
        bytes.lock().unwrap().len() >= BLOCKS / 3 * 1000
    });
    let connections = plane.upgrades().len();
    plane.cut();
    assert_eq!(client.ended(PATIENCE).code(), Some(7));
    assert!(plane.upgrades().len() > connections, "it was cut");
    within(PATIENCE, "all of the output is there", || {
        bytes.lock().unwrap().len() >= expected().len()
    });
    assert!(
        *bytes.lock().unwrap() == expected(),
        "every byte once and in order"
    );
}

#[test]
fn a_command_run_through_the_rendezvous_survives_its_cut_byte_by_byte() {
    let plane = Plane::start(Style::Plain);
    let home = Home::with_account();
    let _server = Server::offered(cloud(&plane, &home));
    await_executors(&plane, 1);
    run_through(&plane);
}

#[test]
fn the_same_through_a_relay() {
    let plane = Plane::start(Style::Relay);
    let _server = Server::offered(environment(&plane, "relay"));
    await_executors(&plane, 1);
    run_through(&plane);
}
