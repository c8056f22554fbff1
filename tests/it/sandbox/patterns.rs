//! What patterns match is denied at each start, however much it is and whatever was found before.

use std::fs;

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
}
