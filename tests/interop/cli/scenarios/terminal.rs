//! A command on a terminal.

use serde_json::json;

use super::super::remote::HOSTNAME;
use super::super::stage::Stage;
use super::session;

/// Typed lines arrive, and so does Ctrl-C.
pub fn typed_and_interrupted(stage: &mut Stage) {
    let mut turn = stage.begin();
    let cmd = "trap 'echo caught; exit 7' INT; test -t 0 && echo a terminal of $(stty size); \
               while read line; do echo \"$(uname -n) got $line\"; done";
    let told = turn.exec(json!({"cmd": cmd, "tty": true, "yield_time_ms": 1000}));
    assert!(told.contains("a terminal of 24 80"), "{told}");
    let session = session(&told);
    let told = turn.write_stdin(session, "typed words\n", 1000);
    assert!(
        told.contains(&format!("{HOSTNAME} got typed words")),
        "{told}"
    );
    let mut told = turn.write_stdin(session, "\u{3}", 1000);
    if !told.contains("exited with code") {
        told += &turn.write_stdin(session, "", 5000);
    }
    assert!(told.contains("caught"), "{told}");
    assert!(told.contains("exited with code 7"), "{told}");
    turn.finish();
}
