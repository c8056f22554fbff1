//! A helper sees what a new one would see.

use std::fs;

use serde_json::json;

use super::{
    DENIED, MISSING, READ_ONLY, as_each_user, entry, everything, put, restricted, special,
};

as_each_user! {
    fn a_root_that_comes_later_is_seen(stage) {
        let late = stage.path("late");
        let policy = restricted(&[everything(), entry(&late, "write"), entry(&stage.path("proj"), "write")]);
        stage.write(&policy, &stage.path("proj/n"), "x");
        stage.refused(&policy, "writeFile", put(&format!("{late}/n"), "x"), MISSING);
        stage.make("late");
        stage.write(&policy, &format!("{late}/n"), "x");
        assert_eq!(fs::read(format!("{late}/n")).unwrap(), b"x");
    }

    fn a_root_that_is_replaced_is_the_new_one(stage) {
        let policy = stage.workspace();
        stage.write(&policy, &stage.path("proj/n"), "x");
        fs::rename(stage.path("proj"), stage.path("former")).unwrap();
        stage.make("proj");
        stage.write(&policy, &stage.path("proj/n"), "new");
        assert_eq!(fs::read(stage.path("proj/n")).unwrap(), b"new");
        assert_eq!(fs::read(stage.path("former/n")).unwrap(), b"x");
    }

    fn what_is_denied_and_comes_later_is_denied(stage) {
        let late = stage.path("other/late");
        let policy = restricted(&[everything(), entry(&stage.path("proj"), "write"), entry(&late, "none")]);
        stage.write(&policy, &stage.path("proj/n"), "x");
        stage.make("other/late");
        fs::write(format!("{late}/s"), "secret").unwrap();
        stage.refused(&policy, "readFile", json!({"path": format!("{late}/s")}), DENIED);
    }

    fn a_denied_file_that_is_replaced_stays_denied(stage) {
        let secret = stage.path("proj/sub/s");
        let policy = restricted(&[everything(), entry(&stage.path("proj"), "write"), entry(&secret, "none")]);
        stage.refused(&policy, "readFile", json!({"path": secret}), DENIED);
        fs::write(stage.path("proj/sub/new"), "a newer secret").unwrap();
        fs::rename(stage.path("proj/sub/new"), &secret).unwrap();
        stage.refused(&policy, "readFile", json!({"path": secret}), DENIED);
        assert_eq!(fs::read(&secret).unwrap(), b"a newer secret");
    }

    fn metadata_that_comes_later_is_protected(stage) {
        let policy = stage.workspace();
        stage.write(&policy, &stage.path("proj/n"), "x");
        let git = stage.path("proj/.git");
        fs::remove_dir_all(&git).unwrap();
        stage.write(&policy, &stage.path("proj/n"), "y");
        stage.make("proj/.git");
        fs::write(format!("{git}/config"), "new").unwrap();
        stage.own(git.as_ref());
        stage.refused(&policy, "writeFile", put(&format!("{git}/config"), "x"), READ_ONLY);
        assert_eq!(fs::read(format!("{git}/config")).unwrap(), b"new");
    }

    fn a_listing_leaves_out_what_is_there_only_to_be_mounted_on(stage) {
        let policy = stage.denying();
        stage.write(&policy, &stage.path("proj/n"), "x");
        let names = stage.ok(&policy, "readDirectory", json!({"path": stage.path("proj")}));
        let mut names: Vec<String> = names["entries"].as_array().unwrap().iter()
            .map(|entry| entry["fileName"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        assert_eq!(names, [".git", "in", "n", "out", "src", "sub"]);
        let options = json!({"maxDepth": 0, "maxDirectories": 10, "maxEntries": 100, "followDirectorySymlinks": false});
        for policy in [policy, stage.workspace(), serde_json::Value::Null] {
            let found = stage.ok(&policy, "walk", json!({"path": stage.path("proj"), "options": options}));
            let text = found.to_string();
            for fake in [".codex", ".agents", ".aws"] {
                assert!(!text.contains(fake), "{text}");
            }
            assert!(text.contains("/proj/src"), "{text}");
        }
    }

    fn a_root_by_another_name_is_the_same_root(stage) {
        let link = stage.path("alias");
        std::os::unix::fs::symlink(stage.path("proj"), &link).unwrap();
        let policy = restricted(&[special("minimal", "read"), entry(&link, "write")]);
        stage.write(&policy, &format!("{link}/n"), "x");
        assert_eq!(fs::read(stage.path("proj/n")).unwrap(), b"x");
    }

    fn a_denied_file_that_is_made_anew_stays_denied(stage) {
        let secret = stage.path("proj/sub/s");
        let policy = restricted(&[everything(), entry(&stage.path("proj"), "write"), entry(&secret, "none")]);
        stage.refused(&policy, "readFile", json!({"path": secret}), DENIED);
        // File systems like to give the new one the number of the former.
        fs::remove_file(&secret).unwrap();
        fs::write(&secret, "a newer secret").unwrap();
        stage.own(secret.as_ref());
        stage.refused(&policy, "readFile", json!({"path": secret}), DENIED);
    }

    fn a_root_that_is_made_anew_is_the_new_one(stage) {
        let root = stage.make("root");
        let policy = restricted(&[everything(), entry(&root, "write")]);
        for number in 0..3 {
            stage.write(&policy, &format!("{root}/n"), &number.to_string());
            assert_eq!(fs::read_to_string(format!("{root}/n")).unwrap(), number.to_string());
            fs::remove_dir_all(&root).unwrap();
            stage.make("root");
        }
    }

    fn a_link_that_is_led_elsewhere_leads_to_another_root(stage) {
        let link = stage.path("alias");
        std::os::unix::fs::symlink(stage.path("proj"), &link).unwrap();
        let policy = restricted(&[special("minimal", "read"), entry(&link, "write")]);
        stage.write(&policy, &format!("{link}/n"), "proj");
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(stage.path("other"), &link).unwrap();
        stage.write(&policy, &format!("{link}/n"), "other");
        assert_eq!(fs::read(stage.path("proj/n")).unwrap(), b"proj");
        assert_eq!(fs::read(stage.path("other/n")).unwrap(), b"other");
        stage.refused(&policy, "readFile", json!({"path": stage.path("proj/n")}), MISSING);
    }

    fn a_repository_that_is_pointed_to_instead_is_protected(stage) {
        let policy = stage.workspace();
        let git = stage.path("proj/.git");
        fs::remove_dir_all(&git).unwrap();
        for (one, other) in [("r1", "r2"), ("r2", "r1"), ("r1", "r2")] {
            for name in ["r1", "r2"] {
                stage.make(&format!("proj/{name}"));
            }
            // The same file, of the same length.
            fs::write(&git, format!("gitdir: {one}")).unwrap();
            stage.own(git.as_ref());
            stage.refused(&policy, "writeFile", put(&stage.path(&format!("proj/{one}/n")), "x"), READ_ONLY);
            stage.write(&policy, &stage.path(&format!("proj/{other}/n")), "x");
        }
    }
}
