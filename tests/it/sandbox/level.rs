//! What `environment/info` tells about the confinement of a machine.

use std::fs;
use std::time::Instant;

use serde_json::Value;

use super::ladder::Trusted;
use super::{read_only, workspace};
use crate::support::{Client, PATIENCE, Server, Start, child};

fn told(info: &Value) -> &Value {
    &info["capabilities"]["execServer"]["sandbox"]
}

on_every_launcher! {
    fn it_is_that_of_a_start(stage) {
        let info = stage.client.ok("environment/info", Value::Null);
        let mut level = told(&info).clone();
        assert_eq!(level["launcher"], stage.launcher.to_string(), "{info}");
        let policies = level.as_object_mut().unwrap().remove("policies").unwrap();
        let start = stage.child(&["true"]).with("sandbox", read_only());
        let started = stage.client.start(start);
        assert_eq!(started["sandboxLevel"], level);
        // Each policy of a name is told as it is met.
        let workspace = workspace(&stage.workspace());
        for (name, policy) in [("read-only", read_only()), ("workspace-write", workspace)] {
            let start = stage.child(&["true"]).with("sandbox", policy);
            let is_there = stage.client.request("process/start", start.0).is_ok();
            assert_eq!(policies[name]["available"], is_there, "{name}: {policies}");
        }
    }
}

#[test]
fn where_nothing_can_be_confined_the_reason_is_told() {
    let mut client = Client::stdio_denied("namespaces,landlock", &[]);
    let info = client.ok("environment/info", Value::Null);
    let reason = told(&info)["reason"].as_str().unwrap();
    assert_eq!(told(&info)["launcher"], "none");
    assert!(reason.contains("no Landlock"), "{reason}");
    assert_eq!(
        reason.matches("no launcher can make").count(),
        1,
        "{reason}"
    );
    // The same is known from then on.
    assert_eq!(client.ok("environment/info", Value::Null), info);
}

#[test]
fn the_policies_that_cannot_be_had_are_told_with_what_to_do() {
    let policies = |words: &str, flags: &[&str]| {
        let info = Client::stdio_denied(words, flags).ok("environment/info", Value::Null);
        let policies = told(&info)["policies"].clone();
        ["read-only", "workspace-write"].map(|name| {
            let remedy = policies[name]["remedy"].as_str().unwrap_or_default();
            (policies[name]["available"].clone(), remedy.to_owned())
        })
    };
    let [reading, writing] = policies("namespaces", &[]);
    assert_eq!(reading, (true.into(), String::new()));
    assert_eq!(writing.0, false);
    for words in ["seccomp-userns.json", "--accept-weaker metadata"] {
        assert!(writing.1.contains(words), "{words}: {}", writing.1);
    }
    let [_, writing] = policies("namespaces", &["--accept-weaker", "metadata"]);
    assert_eq!(writing.0, true);
    let [reading, writing] = policies("namespaces,landlock", &[]);
    for (is_there, remedy) in [reading, writing] {
        assert_eq!(is_there, false);
        assert!(remedy.contains("seccomp-userns.json"), "{remedy}");
    }
}

#[test]
fn a_launcher_that_hangs_holds_up_nothing_and_the_answer_for_a_while_only() {
    let Some(trusted) = Trusted::with_bwrap(&fs::read(child()).unwrap(), 0o755) else {
        return;
    };
    fs::write(trusted.0.join("says"), "bwrap --perms").unwrap();
    for name in ["real", "tried"] {
        fs::write(trusted.0.join(name), "").unwrap();
    }
    let mut command = Server::command();
    command
        .args(["--listen", "stdio", "--sandbox-launcher", "system"])
        .env("PATH", &trusted.0);
    let mut client = Client::stdio_command(command);
    let begun = Instant::now();
    let asked = [(); 3].map(|()| client.ask("environment/info", Value::Null));
    client.ok("environment/status", Value::Null);
    assert_eq!(client.run(Start::child("p", &["true"])).code, 0);
    for asked in asked {
        assert!(
            !client.has_answer(asked),
            "others are served before it is known"
        );
    }
    for asked in asked {
        let info = client.answer(asked).unwrap();
        assert_eq!(told(&info)["launcher"], "none", "{info}");
        assert!(
            told(&info)["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("within 10 s")),
            "{info}"
        );
    }
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn a_way_out_through_our_own_listener_is_told_where_there_is_one() {
    let token =
        "--ws-token-sha256=2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    let with_token = ["--ws-auth", "capability-token", token];
    let mut online = read_only();
    online["permissions"]["network"] = "enabled".into();
    for (flags, policy, is_told) in [
        (&[][..], &online, true),
        (&[], &read_only(), false),
        (&with_token, &online, false),
    ] {
        let server = Server::websocket(flags);
        let address = server.address();
        let mut client = Client::dial_with(address, "Authorization: Bearer foo\r\n");
        client.initialize();
        let start = Start::child("p", &["true"]).with("sandbox", policy.clone());
        let weaker = client.start(start)["sandboxLevel"]["weaker"].to_string();
        let told = weaker.contains(&format!("asks for no token at ws://{address}"));
        assert_eq!(told, is_told, "{flags:?} {policy}: {weaker}");
    }
    let mut client = Client::stdio();
    let start = Start::child("p", &["true"]).with("sandbox", online);
    let level = client.start(start)["sandboxLevel"].to_string();
    assert!(
        !level.contains("token"),
        "nobody can connect to pipes: {level}"
    );
}
