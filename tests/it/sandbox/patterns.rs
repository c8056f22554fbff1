//! What patterns match is denied at each start, however much it is and whatever was found before.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{PATIENCE, cpu_ticks, params, within};

/// Far below what a search may take, which is 10 s.
const AT_ONCE: Duration = Duration::from_secs(5);

/// More than a bwrap has words for.
const MANY: usize = 4000;

on_every_bwrap! {
    fn thousands_of_matches_are_covered(stage) {
        stage.make_directory("workspace/data");
        let path = |number: usize| format!("workspace/data/{number}.env");
        for number in 0..MANY {
            stage.make_file(&path(number), "the-secret");
        }
        let other = stage.make_file("workspace/data/other", "free");
        let policy = stage.policy().deny_glob(&format!("{}/**/*.env", stage.workspace()));
        for number in [0, MANY / 2, MANY - 1] {
            let path = stage.path(&path(number));
            stage.refuses(&policy, &["read", &path]);
            stage.refuses(&policy, &["remove", &path]);
        }
        assert_eq!(stage.allows(&policy, &["read", &other]), "free");
    }

    fn what_matches_is_found_at_each_start(stage) {
        let workspace = stage.workspace();
        let policy = stage.policy().deny_glob(&format!("{workspace}/**/*.env"));
        stage.make_directory("workspace/sub");
        let deep = stage.make_directory("workspace/sub/deep");
        let is_denied = |stage: &mut Stage, path: &str| {
            let outcome = stage.confined(&policy, &["read", path]);
            !outcome.stdout.contains("the-secret")
        };
        let made = stage.make_file("workspace/sub/deep/a.env", "the-secret");
        assert!(is_denied(stage, &made));
        let later = stage.make_file("workspace/sub/b.env", "the-secret");
        assert!(is_denied(stage, &later) && is_denied(stage, &made));
        let renamed = format!("{deep}/c.env");
        fs::rename(stage.make_file("workspace/sub/deep/free", "the-secret"), &renamed).unwrap();
        assert!(is_denied(stage, &renamed) && is_denied(stage, &later));
        let moved = stage.path("workspace/moved");
        fs::rename(&deep, &moved).unwrap();
        assert!(is_denied(stage, &format!("{moved}/a.env")));
        fs::remove_file(&later).unwrap();
        stage.allows(&policy, &["write", &later]);
    }

    fn a_pattern_wins_over_a_rule_about_the_same_path(stage) {
        let directory = stage.make_directory("workspace/hidden");
        let secret = stage.make_file("workspace/hidden/a.env", "the-secret");
        let free = stage.make_file("workspace/hidden/a.txt", "free");
        let pattern = format!("{}/**/*.env", stage.workspace());
        for policy in [
            stage.policy().deny(&directory).read(&secret).read(&free).deny_glob(&pattern),
            stage.policy().deny(&directory).write(&secret).write(&free).deny_glob(&pattern),
        ] {
            stage.refuses(&policy, &["read", &secret]);
            assert_eq!(stage.allows(&policy, &["read", &free]), "free");
        }
    }

    fn thousands_of_patterns_take_little_time(stage) {
        let workspace = stage.workspace();
        let secret = stage.make_file("workspace/4999.env", "the-secret");
        let mut policy = stage.policy();
        for number in 0..5000 {
            policy = policy.deny_glob(&format!("{workspace}/**/{number}.env"));
        }
        let before = cpu_ticks(stage.client.server_pid());
        stage.refuses(&policy, &["read", &secret]);
        let ticks = cpu_ticks(stage.client.server_pid()) - before;
        assert!(ticks < 1000, "{ticks} hundredths of a second");
    }

    fn terminate_ends_a_search_for_patterns(stage) {
        let workspace = stage.workspace();
        for number in 0..1000 {
            stage.make_file(&format!("workspace/{}{number:03}", "a".repeat(240)), "");
        }
        // Each takes long on each of these names.
        let mut policy = stage.policy();
        for number in 0..3000 {
            let name = format!("*{}b{number}*", "a".repeat(120));
            policy = policy.deny_glob(&format!("{workspace}/{name}"));
        }
        let before = cpu_ticks(stage.client.server_pid());
        let start = stage.child(&["true"]).with("sandbox", policy.json());
        let id = start.0["processId"].as_str().unwrap().to_owned();
        let start = stage.client.ask("process/start", start.0);
        let pid = stage.client.server_pid();
        within(PATIENCE, "the search is at work", || cpu_ticks(pid) > before + 20);
        let begun = Instant::now();
        stage.client.ok("process/terminate", params(&id, json!({})));
        let error = stage.client.answer(start).unwrap_err();
        assert!(error.message.contains("told to end"), "{}", error.message);
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    }
}
