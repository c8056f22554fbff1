//! `fs/copy`.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::{EXISTS, IS_A_DIRECTORY, NOT_FOUND, make_fifo, mode, refused, set_mode, uri};
use crate::support::scratch;

const COPY: &str = "fs/copy";

fn from_to(from: &str, to: &str, recursive: bool) -> Value {
    json!({"sourcePath": from, "destinationPath": to, "recursive": recursive})
}

over_both! {
    fn a_file_is_copied_with_its_mode(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::write(path("a"), "new").unwrap();
        set_mode(&path("a"), 0o4751);
        std::fs::write(path("b"), "old and longer").unwrap();
        symlink("b", path("to-b")).unwrap();
        assert_eq!(client.ok(COPY, from_to(&uri(&path("a")), &uri(&path("to-b")), false)), json!({}));
        assert_eq!((std::fs::read(path("b")).unwrap(), mode(&path("b"))), (b"new".to_vec(), 0o751));
        let mut special = from_to(&path("a"), &path("c"), true);
        special["preserveSetuid"] = true.into();
        client.ok(COPY, special);
        assert_eq!(mode(&path("c")), 0o4751);
        std::fs::create_dir(path("d")).unwrap();
        for (to, (code, message)) in [("d", IS_A_DIRECTORY), ("none/x", NOT_FOUND)] {
            refused(client, COPY, from_to(&path("a"), &path(to), false), code, message);
        }
        refused(client, COPY, from_to(&path("none"), &path("x"), false), NOT_FOUND.0, NOT_FOUND.1);
    }

    fn a_file_copied_onto_itself_stays_as_it_is(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::write(path("f"), "precious").unwrap();
        set_mode(&path("f"), 0o4700);
        std::fs::hard_link(path("f"), path("hard")).unwrap();
        symlink("f", path("soft")).unwrap();
        for to in ["f", "hard", "soft"] {
            assert_eq!(client.ok(COPY, from_to(&path("f"), &uri(&path(to)), false)), json!({}));
            assert_eq!((std::fs::read(path("f")).unwrap(), mode(&path("f"))), (b"precious".to_vec(), 0o4700), "to {to}");
        }
    }

    fn a_link_is_copied_as_a_link(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        symlink("no/where", path("link")).unwrap();
        for (to, recursive) in [("a", false), ("b", true)] {
            client.ok(COPY, from_to(&path("link"), &path(to), recursive));
            assert_eq!(std::fs::read_link(path(to)).unwrap(), Path::new("no/where"));
        }
        refused(client, COPY, from_to(&path("link"), &path("a"), false), EXISTS.0, EXISTS.1);
    }

    fn a_tree_keeps_its_modes_and_tells_what_it_left_out(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::create_dir_all(path("t/closed/in")).unwrap();
        std::fs::create_dir(path("t/group")).unwrap();
        std::fs::write(path("t/closed/in/f"), "x").unwrap();
        std::fs::write(path("t/program"), "y").unwrap();
        set_mode(&path("t/program"), 0o6755);
        symlink("/etc", path("t/link")).unwrap();
        make_fifo(&path("t/closed/fifo"));
        for (name, bits) in [("t/closed/in", 0o711), ("t/closed", 0o555), ("t/group", 0o2770), ("t", 0o1750)] {
            set_mode(&path(name), bits);
        }
        let copied = client.ok(COPY, from_to(&uri(&path("t")), &uri(&path("new/parents/t")), true));
        let skipped = &copied["skipped"][0];
        assert_eq!(copied["skipped"].as_array().unwrap().len(), 1);
        assert_eq!(skipped["path"], uri(&path("t/closed/fifo")));
        assert!(skipped["reason"].as_str().unwrap().contains("fifo"), "{skipped}");
        let to = |name: &str| path(&format!("new/parents/{name}"));
        for (name, bits) in [("t", 0o1750), ("t/closed", 0o555), ("t/closed/in", 0o711), ("t/group", 0o770), ("t/program", 0o755)] {
            assert_eq!(mode(&to(name)), bits, "{name}");
        }
        assert_eq!(std::fs::read(to("t/closed/in/f")).unwrap(), b"x");
        assert_eq!(std::fs::read_link(to("t/link")).unwrap(), Path::new("/etc"));
        assert!(std::fs::symlink_metadata(to("t/closed/fifo")).is_err());
        // So that the directory can be removed by whoever runs this.
        for name in [path("t/closed"), to("t/closed")] {
            set_mode(&name, 0o755);
        }
    }

    fn a_tree_is_merged_into_one_that_exists(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        for (name, text) in [("a/x/f", "new"), ("b/x/f", "old"), ("b/x/g", "kept")] {
            std::fs::create_dir_all(Path::new(&path(name)).parent().unwrap()).unwrap();
            std::fs::write(path(name), text).unwrap();
        }
        set_mode(&path("b/x"), 0o700);
        assert_eq!(client.ok(COPY, from_to(&path("a"), &path("b"), true)), json!({}));
        assert_eq!(std::fs::read(path("b/x/f")).unwrap(), b"new");
        assert_eq!(std::fs::read(path("b/x/g")).unwrap(), b"kept");
        assert_eq!(mode(&path("b/x")), 0o700, "what was there keeps its mode");
        std::fs::write(path("file"), "").unwrap();
        refused(client, COPY, from_to(&path("a"), &path("file"), true), EXISTS.0, EXISTS.1);
        // A link in the destination leads nothing astray.
        std::fs::create_dir(path("c")).unwrap();
        symlink(path("b/x"), path("c/x")).unwrap();
        std::fs::write(path("a/x/evil"), "").unwrap();
        refused(client, COPY, from_to(&path("a"), &path("c"), true), EXISTS.0, EXISTS.1);
        assert!(!Path::new(&path("b/x/evil")).exists());
    }

    fn a_directory_needs_recursive_and_another_place(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::create_dir_all(path("d/e")).unwrap();
        symlink("d", path("link")).unwrap();
        make_fifo(&path("fifo"));
        let message = "fs/copy requires recursive: true when sourcePath is a directory";
        refused(client, COPY, from_to(&path("d"), &path("x"), false), -32600, message);
        let message = "fs/copy cannot copy a directory to itself or one of its descendants";
        for to in ["d", "d/x", "d/e/x/y", "link/x"] {
            refused(client, COPY, from_to(&path("d"), &path(to), true), -32600, message);
        }
        let message = "fs/copy only supports regular files, directories, and symlinks";
        refused(client, COPY, from_to(&path("fifo"), &path("x"), true), -32600, message);
        assert_eq!(std::fs::read_dir(scratch.dir()).unwrap().count(), 3);
        assert_eq!(std::fs::read_dir(path("d/e")).unwrap().count(), 0);
    }
}
