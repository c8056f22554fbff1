//! Programs that make the server their tracer (`PTRACE_TRACEME`), which takes no more than their own word.

use std::fs;

use serde_json::json;

use crate::support::{
    Client, PATIENCE, Start, alive, child, children_named, params, within, zombies_of,
};

/// The state of a process: `T` is stopped, `t` waits for its tracer.
fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.chars().next().unwrap()
}

/// Whether the server says so of its first process.
fn is_running(client: &mut Client) -> bool {
    let list = client.ok("process/list", json!({}));
    list["processes"][0]["exited"] == false
}

#[track_caller]
fn is_killed(client: &mut Client, id: &str, pid: u32) {
    client.ok("process/terminate", params(id, json!({})));
    assert_eq!(client.closed(id).code, 137);
    within(PATIENCE, "it is gone", || !alive(pid));
}

#[test]
fn one_that_stops_has_not_ended_and_can_be_killed() {
    let mut client = Client::stdio();
    client.start(Start::child("p", &["traced", "STOP"]));
    let pid = client.number("p");
    within(PATIENCE, "it waits", || "tT".contains(state(pid)));
    client.still_serves();
    assert!(is_running(&mut client));
    is_killed(&mut client, "p", pid);
}

/// Where the kernel has no event for an exit, the server looks again and again, and finds the stop.
#[test]
fn nor_has_it_where_the_server_looks_for_exits_itself() {
    for signal in ["STOP", "WINCH"] {
        let mut client = Client::stdio_denied("pidfd", &[]);
        client.start(Start::child("p", &["traced", signal]));
        let pid = client.number("p");
        match signal {
            "STOP" => within(PATIENCE, "it is stopped and not traced", || {
                state(pid) == 'T'
            }),
            _ => {
                client.output("p", "stdout", |text| text.contains("went on"));
            }
        }
        assert!(is_running(&mut client), "{signal}");
        is_killed(&mut client, "p", pid);
    }
}

#[test]
fn orphans_go_on_and_hide_no_other() {
    let mut client = Client::stdio();
    let server = client.server_pid();
    let child = child();
    let mut traced = Vec::new();
    for (id, signal) in [("stop", "STOP"), ("winch", "WINCH")] {
        let script = format!("(setsid {child} traced {signal} {server} &); exec sleep 1000");
        client.start(Start::shell(id, &script));
        let pid = client.number(id);
        traced.push(pid);
    }
    within(PATIENCE, "it is stopped and not traced", || {
        state(traced[0]) == 'T'
    });
    client.output("winch", "stdout", |text| text.contains("went on"));
    for number in 0..10 {
        let id = number.to_string();
        client.run(Start::shell(&id, "setsid sh -c 'sleep 0.1 & :' & :"));
    }
    within(PATIENCE, "no other orphan is left", || {
        zombies_of(server) == 0 && children_named(server, "sleep").len() == 2
    });
    for (id, pid) in ["stop", "winch"].into_iter().zip(traced) {
        assert!(alive(pid));
        is_killed(&mut client, id, pid);
    }
}
