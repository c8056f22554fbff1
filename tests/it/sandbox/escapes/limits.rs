//! Programs that want everything.

use std::fs;

use serde_json::json;

// The kernel counts no processes of root.
as_another_on_every_launcher! {
    fn a_fork_bomb_stays_within_its_limit_and_is_gone_with_its_start(stage) {
        let policy = stage.policy();
        let mark = format!("{}-{}-{:?}", std::process::id(), stage.launcher, stage.who);
        let start = stage
            .attempt(&["bomb", "--", "wait"])
            .env("TEST_BOMB", &mark)
            .with("rlimits", json!({"nproc": 200}))
            .with("sandbox", policy.json());
        let id = start.id();
        stage.client.start(start);
        let said = stage.client.output(&id, "stdout", |text| text.contains('\n'));
        assert!(said.starts_with("failed after"), "{said}");
        let alive = count(&mark);
        assert!((1..=201).contains(&alive), "{alive} processes: {said}");
        stage.client.still_serves();
        stage.client.ok("process/terminate", json!({"processId": id}));
        stage.client.closed(&id);
        crate::support::within(std::time::Duration::from_secs(10), "all are gone", || count(&mark) == 0);
    }
}

/// Processes that were started with this mark.
fn count(mark: &str) -> usize {
    let wanted = format!("TEST_BOMB={mark}\0");
    let entries = fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| fs::read(entry.ok()?.path().join("environ")).ok())
        .filter(|environment| String::from_utf8_lossy(environment).contains(&wanted))
        .count()
}
