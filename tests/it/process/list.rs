//! `process/list`: what a session has.

use serde_json::{Value, json};

use crate::support::{Start, alive};

over_both! {
    fn all_processes_of_the_session_are_listed(client) {
        assert_eq!(client.ok("process/list", json!({}))["processes"], json!([]));
        client.start(Start::child("running", &["pid-then-sleep"]));
        client.start(Start::child("terminal", &["pid-then-sleep"]).tty());
        client.run(Start::child("ended", &["exit", "3"]));
        let pid = client.number("running");
        let list = client.ok("process/list", Value::Null);
        let find = |id: &str| {
            let all = list["processes"].as_array().unwrap();
            all.iter().find(|process| process["processId"] == id).unwrap_or_else(|| panic!("{id} in {list}")).clone()
        };
        assert_eq!(list["processes"].as_array().unwrap().len(), 3);
        let running = find("running");
        assert_eq!(running["pid"], pid);
        assert!(alive(pid));
        assert_eq!(
            (&running["exited"], &running["closed"]),
            (&json!(false), &json!(false))
        );
        assert_eq!((&running["tty"], &running["exitCode"]), (&json!(false), &Value::Null));
        assert_eq!(find("terminal")["tty"], true);
        let ended = find("ended");
        assert_eq!(
            (&ended["exited"], &ended["closed"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(ended["exitCode"], 3);
    }
}
