//! Commands on pipes.

use serde_json::json;

use super::super::remote::HOSTNAME;
use super::super::stage::Stage;
use super::session;

pub fn one(stage: &mut Stage) {
    let mut turn = stage.begin();
    let cmd = "uname -n; cat only-there.txt; pwd; cat only-here.txt; echo oops >&2; exit 3";
    let told = turn.exec(json!({"cmd": cmd}));
    for fact in [
        HOSTNAME,
        "the remote's disk",
        stage.work.to_str().unwrap(),
        "oops",
        "exited with code 3",
    ] {
        assert!(told.contains(fact), "no {fact:?} in {told}");
    }
    assert!(!told.contains("the client's own disk"), "{told}");
    turn.finish();
}

/// A start that fails is told, and the next one works.
pub fn failing_start(stage: &mut Stage) {
    let mut turn = stage.begin();
    let told = turn.exec(json!({"cmd": "uname -n", "workdir": "/no/such/directory"}));
    assert!(told.contains("No such file or directory"), "{told}");
    assert!(!told.contains("exited with code 0"), "{told}");
    let told = turn.exec(json!({"cmd": "uname -n"}));
    assert!(told.contains(HOSTNAME), "{told}");
    turn.finish();
}

pub fn polled(stage: &mut Stage) {
    let mut turn = stage.begin();
    // It waits for the poller, so the first answer cannot be its end.
    let cmd = "echo first; until [ -e go ]; do sleep 0.05; done; for i in 1 2 3; do echo tick $i; sleep 0.3; done; uname -n";
    let told = turn.exec(json!({"cmd": cmd, "yield_time_ms": 300}));
    assert!(told.contains("first"), "{told}");
    let session = session(&told);
    stage.put("go", "");
    let mut all = String::new();
    for _ in 0..10 {
        let told = turn.write_stdin(session, "", 5000);
        all += &told;
        if told.contains("exited with code") {
            break;
        }
    }
    for fact in ["tick 1", "tick 2", "tick 3", HOSTNAME, "exited with code 0"] {
        assert_eq!(all.matches(fact).count(), 1, "{fact:?} in {all}");
    }
    turn.finish();
}

/// More than anybody shows: the client cuts the middle out, but its beginning and end must be there.
pub fn bulk(stage: &mut Stage) {
    let mut turn = stage.begin();
    // 5.2 MB in 80-byte lines, their number in front, and the last word behind.
    let cmd = "i=0; x=$(printf '%070d' 0); while [ $i -lt 65000 ]; do printf '%08d %s\\n' $i $x; i=$((i+1)); done; uname -n";
    let mut told =
        turn.exec(json!({"cmd": cmd, "yield_time_ms": 30000, "max_output_tokens": 2000}));
    let mut all = told.clone();
    for _ in 0..5 {
        if told.contains("exited with code") {
            break;
        }
        let session = session(&told);
        told = turn.write_stdin(session, "", 30000);
        all += &told;
    }
    assert!(all.contains("exited with code 0"), "{all:.2000}");
    assert!(all.contains(HOSTNAME), "the end is missing: {all:.2000}");
    let told = turn.exec(json!({"cmd": "uname -n"}));
    assert!(told.contains(HOSTNAME), "{told}");
    turn.finish();
}
