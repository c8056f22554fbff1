//! Ways out that lead nowhere.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use exec_server::sys::file::{attribute, set_attribute};
use serde_json::json;

use super::{DENIED, MISSING, READ_ONLY, as_each_user, changes, entry, put, restricted, special};
use crate::support::encode;

as_each_user! {
    fn one_more_name_makes_no_file_writable(stage) {
        let before = stage.host();
        for (policy, from) in [
            (stage.workspace(), "other/o.txt"),
            (stage.workspace(), "proj/.git/config"),
            (stage.denying(), "proj/sub/s"),
            (stage.denying(), "proj/in/s"),
        ] {
            let (from, to) = (stage.path(from), stage.path("proj/src/more"));
            let link = json!({"sourcePath": from, "destinationPath": to});
            assert!(stage.ask(&policy, "hardLink", link).is_err(), "{from}");
            assert!(fs::symlink_metadata(&to).is_err(), "{from}");
        }
        stage.assert_host(&before);
    }

    fn a_copy_preserves_no_attribute_of_the_system(stage) {
        let source = stage.path("proj/src/a.txt");
        let opened = fs::File::open(&source).unwrap();
        set_attribute(opened.as_fd(), c"user.note", b"note").unwrap();
        // Only root sets such a one.
        let _ = set_attribute(opened.as_fd(), c"security.note", b"note");
        let policy = stage.workspace();
        let to = stage.path("proj/copy");
        let copy = json!({"sourcePath": source, "destinationPath": to, "recursive": false, "preserve": true});
        stage.ok(&policy, "copy", copy);
        let copied = fs::File::open(&to).unwrap();
        assert_eq!(attribute(copied.as_fd(), c"user.note").unwrap(), b"note");
        assert!(attribute(copied.as_fd(), c"security.note").is_err());
        let told = stage.ok(&policy, "getMetadata", json!({"path": source, "attributes": true}));
        assert_eq!(told["attributes"], json!({"user.note": encode(b"note")}));
    }

    fn a_link_out_of_the_root_leads_to_nothing_that_can_be_changed(stage) {
        let policy = stage.workspace();
        let before = stage.host();
        for (method, params) in changes(&stage.path("proj/out"), "o.txt") {
            stage.refused(&policy, method, params, READ_ONLY);
        }
        stage.assert_host(&before);
    }

    fn a_link_that_is_made_inside_leads_no_further(stage) {
        let policy = stage.workspace();
        let before = stage.host();
        let link = stage.path("proj/mine");
        stage.ok(&policy, "symlink", json!({"path": link, "target": stage.path("other/o.txt")}));
        stage.refused(&policy, "writeFile", put(&link, "x"), READ_ONLY);
        stage.refused(&policy, "open", json!({"handleId": "h", "path": link, "mode": "replace"}), READ_ONLY);
        stage.refused(&policy, "setPermissions", json!({"path": link, "mode": 0o777}), READ_ONLY);
        stage.ok(&policy, "remove", json!({"path": link}));
        stage.assert_host(&before);
    }

    fn dots_lead_to_nothing_that_can_be_changed(stage) {
        let policy = stage.workspace();
        let before = stage.host();
        for directory in ["proj/../other", "proj/src/../../other", "proj/out/."] {
            for (method, params) in changes(&stage.path(directory), "o.txt") {
                stage.refused(&policy, method, params, READ_ONLY);
            }
        }
        stage.assert_host(&before);
    }

    fn a_link_to_what_is_denied_shows_nothing(stage) {
        let policy = stage.denying();
        let before = stage.host();
        for path in ["proj/in/s", "proj/src/../in/s", "proj/sub/../sub/s"] {
            let path = stage.path(path);
            stage.refused(&policy, "readFile", json!({"path": path}), DENIED);
            stage.refused(&policy, "getMetadata", json!({"path": path}), DENIED);
            stage.refused(&policy, "open", json!({"handleId": "h", "path": path}), DENIED);
            stage.refused(&policy, "canonicalize", json!({"path": path}), DENIED);
            let copy = json!({"sourcePath": path, "destinationPath": stage.path("proj/src/got"), "recursive": false});
            stage.refused(&policy, "copy", copy, DENIED);
        }
        stage.assert_host(&before);
    }

    fn a_link_out_of_a_minimal_view_leads_to_nothing(stage) {
        let policy = restricted(&[special("minimal", "read"), entry(&stage.path("proj"), "read")]);
        for path in ["proj/out/o.txt", "proj/../other/o.txt"] {
            let path = stage.path(path);
            stage.refused(&policy, "readFile", json!({"path": path}), MISSING);
            stage.refused(&policy, "open", json!({"handleId": "h", "path": path}), MISSING);
            stage.refused(&policy, "canonicalize", json!({"path": path}), MISSING);
        }
    }

    fn a_denied_directory_cannot_be_moved_to_where_it_can_be_read(stage) {
        let policy = stage.denying();
        let before = stage.host();
        let (sub, to) = (stage.path("proj/sub"), stage.path("proj/src/moved"));
        stage.ask(&policy, "rename", json!({"sourcePath": sub, "destinationPath": to})).unwrap_err();
        stage.ask(&policy, "setPermissions", json!({"path": sub, "mode": 0o777})).unwrap_err();
        stage.refused(&policy, "readFile", json!({"path": format!("{sub}/s")}), DENIED);
        stage.assert_host(&before);
    }

    fn a_write_keeps_a_hard_link_one_file(stage) {
        let policy = stage.workspace();
        let (one, two) = (stage.path("proj/src/a.txt"), stage.path("proj/src/two"));
        fs::hard_link(&one, &two).unwrap();
        stage.write(&policy, &two, "both");
        assert_eq!(fs::read(&one).unwrap(), b"both");
        assert_eq!(fs::metadata(&one).unwrap().nlink(), 2);
    }

    fn the_descriptors_of_a_helper_are_not_the_server_s(stage) {
        let policy = stage.denying();
        // The helper's own view of itself: whatever it holds open could be read through it.
        let names = stage.ok(&policy, "readDirectory", json!({"path": "/proc/self/fd"}));
        let names = names["entries"].as_array().unwrap().len();
        assert!(names <= 8, "{names} descriptors");
        let status = String::from_utf8(stage.read(&policy, "/proc/self/status")).unwrap();
        for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(line), "no {line} in {status}");
        }
    }

    fn processes_of_the_host_are_not_in_sight(stage) {
        let policy = stage.denying();
        let server = stage.client.server_pid();
        let error = stage.ask(&policy, "readFile", json!({"path": format!("/proc/{server}/environ")}));
        let error = error.expect_err("the server's environment");
        assert!(error.code == -32004 || error.code == -32600, "{error:?}");
        let root = stage.path("proj/sub/s");
        for pid in ["self", "1"] {
            let through = format!("/proc/{pid}/root{root}");
            let error = stage.ask(&policy, "readFile", json!({"path": through})).unwrap_err();
            assert!(error.code == -32004 || error.code == -32600, "{error:?}");
        }
    }
}
