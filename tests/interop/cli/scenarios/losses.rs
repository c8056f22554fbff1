//! What is lost, and what must not be.

use std::fs;

use serde_json::json;

use super::super::remote::HOSTNAME;
use super::super::stage::Stage;
use super::session;
use crate::subject::Generation;
use support::{PATIENCE, comes_true};

/// Ctrl-C on the client ends the command on the remote.
pub fn interrupted(stage: &mut Stage) {
    let mut turn = stage.begin();
    turn.ask_exec(
        json!({"cmd": "echo $$ >pid; sleep 300; echo over >over", "yield_time_ms": 30000}),
    );
    let pid = eventually("the command runs", || {
        let text = stage.there("pid")?;
        text.trim_end().parse::<u32>().ok()
    });
    assert!(
        fs::metadata(format!("/proc/{pid}")).is_ok(),
        "the command is one process group with {pid}"
    );
    turn.signal("INT");
    turn.ended();
    eventually("the command ends", || {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        state
            .is_none_or(|state| state.contains(") Z "))
            .then_some(())
    });
    assert_eq!(stage.there("over"), None);
}

/// The connection is cut in the middle of a command. 0.169 takes its session up again, and nothing is lost or told
/// twice; 0.130 cannot, but it must neither hang nor run anything here.
pub fn cut(stage: &mut Stage) {
    let mut turn = stage.begin();
    let cmd = "echo begun; until [ -e go ]; do sleep 0.05; done; echo $(uname -n) goes on; \
               i=0; while [ $i -lt 300 ]; do echo line $i.; i=$((i+1)); done; echo end >ended; exit 4";
    let told = turn.exec(json!({"cmd": cmd, "yield_time_ms": 500, "max_output_tokens": 20000}));
    assert!(told.contains("begun"), "{told}");
    let session = session(&told);
    let proxy = stage.proxy.as_ref().expect("a websocket");
    let before = proxy.taken();
    assert!(proxy.cut() > 0, "there is a connection to cut");
    match stage.generation {
        Generation::V169 | Generation::V171 => {
            eventually("the client connects again", || {
                (proxy.taken() > before).then_some(())
            });
            stage.put("go", "");
            let mut all = String::new();
            for _ in 0..10 {
                let told = turn.write_stdin(session, "", 5000);
                all += &told;
                if !told.contains("session ID") {
                    break;
                }
            }
            assert!(all.contains("exited with code 4"), "{all:.3000}");
            for fact in [
                format!("{HOSTNAME} goes on"),
                "line 0.".into(),
                "line 150.".into(),
                "line 299.".into(),
            ] {
                assert_eq!(all.matches(&fact).count(), 1, "{fact:?} in {all:.3000}");
            }
            assert_eq!(stage.there("ended").as_deref(), Some("end\n"));
            let told = turn.exec(json!({"cmd": "uname -n"}));
            assert!(told.contains(HOSTNAME), "{told}");
        }
        Generation::V130 => {
            let told = turn.write_stdin(session, "", 5000);
            assert!(!told.contains("exited with code 4"), "{told}");
            let told = turn.exec(json!({"cmd": "echo ran on $(uname -n)"}));
            assert!(
                told.contains("disconnected") && !told.contains("exited with code"),
                "{told}"
            );
        }
    }
    turn.finish();
}

/// Waits for something that is seen from outside only.
fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let mut value = None;
    comes_true(PATIENCE, || {
        value = found();
        value.is_some()
    });
    value.unwrap_or_else(|| panic!("never: {what}"))
}
