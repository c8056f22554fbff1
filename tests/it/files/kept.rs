//! What files keep, and what is told about that: versions, times, holes, modes.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, lchown, symlink};
use std::time::{Duration, UNIX_EPOCH};

use exec_server::sys::file::{attribute, set_attribute};
use serde_json::{Value, json};

use super::{EXISTS, content, mode, refused, set_mode, uri};
use crate::support::{Client, PATIENCE, encode, scratch, signal, within};

const CHANGED: &str = "the file was changed while it was read; read it again";

fn version(client: &mut Client, path: &str) -> Value {
    let found = client.ok("fs/getMetadata", json!({"path": path, "version": true}));
    found["version"].clone()
}

over_both! {
    fn a_version_is_another_after_each_change(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        fs::write(&path, "one").unwrap();
        let first = version(client, &path);
        assert_eq!(version(client, &path), first);
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "two").unwrap();
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
        assert_ne!(version(client, &path), first);
        let found = client.ok("fs/getMetadata", json!({"path": path}));
        assert!(found.get("version").is_none() && found.get("fileId").is_none(), "{found}");
    }

    fn a_file_is_read_in_the_version_that_was_named(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        for size in [10, 3 << 20] {
            fs::write(&path, vec![1; size]).unwrap();
            let first = version(client, &path);
            let named = json!({"path": uri(&path), "version": first});
            client.ok("fs/readFile", named.clone());
            let mut open = named.clone();
            open["handleId"] = "h".into();
            client.ok("fs/open", open.clone());
            let block = json!({"handleId": "h", "offset": 0, "len": 4});
            client.ok("fs/readBlock", block.clone());
            fs::File::options().write(true).open(&path).unwrap().write_all_at(b"x", 5).unwrap();
            refused(client, "fs/readBlock", block, -32603, CHANGED);
            refused(client, "fs/readFile", named, -32603, CHANGED);
            client.ok("fs/close", json!({"handleId": "h"}));
            refused(client, "fs/open", open, -32603, CHANGED);
        }
    }

    fn times_sizes_and_permissions_are_set_together(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        fs::write(path("f"), "content").unwrap();
        set_mode(&path("f"), 0o4751);
        symlink("f", path("link")).unwrap();
        let set = "fs/setMetadata";
        let new = json!({"permissions": 0o640, "modifiedAtMs": 1_000_000_000_123_i64, "modifiedNs": 456_789, "size": 1000});
        assert_eq!(client.ok(set, json!({"path": path("link"), "metadata": new})), json!({}));
        let found = fs::metadata(path("f")).unwrap();
        assert_eq!((found.len(), mode(&path("f"))), (1000, 0o4640));
        let time = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
        assert_eq!(found.modified().unwrap(), time);
        let told = client.ok("fs/getMetadata", json!({"path": path("f"), "version": true}));
        assert_eq!((&told["modifiedAtMs"], &told["modifiedNs"]), (&json!(1_000_000_000_123_i64), &json!(456_789)));
        // What is left out stays.
        client.ok(set, json!({"path": path("f"), "metadata": {"size": 4}}));
        client.ok(set, json!({"path": path("f"), "metadata": {"modifiedAtMs": -1}, "followSymlinks": false}));
        assert_eq!((fs::read(path("f")).unwrap(), mode(&path("f"))), (b"cont".to_vec(), 0o4640));
        assert_eq!(fs::metadata(path("f")).unwrap().modified().unwrap(), UNIX_EPOCH - Duration::from_millis(1));
        fs::create_dir(path("d")).unwrap();
        client.ok(set, json!({"path": path("d"), "metadata": {"modifiedAtMs": 5, "permissions": 0o555}}));
        assert_eq!(mode(&path("d")), 0o555);
        for metadata in [
            json!({"permissions": 0o1000}), json!({"modifiedAtMs": i64::MAX}), json!({"modifiedAtMs": 0, "modifiedNs": 1_000_000}),
        ] {
            assert_eq!(client.err(set, json!({"path": path("f"), "metadata": metadata})).code, -32602, "{metadata}");
        }
        let linked = json!({"path": path("link"), "metadata": {"permissions": 0}, "followSymlinks": false});
        refused(client, set, linked, -32600, "path contains a symbolic link");
    }

    fn a_new_file_is_made_with_all_that_it_is_to_have(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        symlink("nowhere", path("link")).unwrap();
        let new = |name: &str| json!({"path": path(name), "dataBase64": encode(b"new"), "overwrite": false,
            "metadata": {"permissions": 0o604, "modifiedAtMs": 77_000}});
        client.ok("fs/writeFile", new("f"));
        assert_eq!((content(client, &path("f")), mode(&path("f"))), (b"new".to_vec(), 0o604));
        assert_eq!(fs::metadata(path("f")).unwrap().mtime(), 77);
        for taken in ["f", "link"] {
            refused(client, "fs/writeFile", new(taken), EXISTS.0, EXISTS.1);
        }
        let create = |name: &str| json!({"handleId": name, "path": path(name), "mode": "create"});
        client.ok("fs/open", create("g"));
        assert_eq!(mode(&path("g")), 0o600);
        for taken in ["f", "link"] {
            refused(client, "fs/open", create(taken), EXISTS.0, EXISTS.1);
        }
        let both = json!({"path": path("x"), "dataBase64": "", "overwrite": false, "atomic": true});
        refused(client, "fs/writeFile", both, -32602, "atomic needs overwrite: true");
        let neither = json!({"path": path("x"), "dataBase64": "", "metadata": {}});
        refused(client, "fs/writeFile", neither, -32602, "metadata needs overwrite: false");
    }

    fn a_new_directory_gets_permissions_and_one_that_is_there_none(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        let make = "fs/createDirectory";
        client.ok(make, json!({"path": path("a/b"), "permissions": 0o707}));
        assert_eq!(mode(&path("a/b")), 0o707);
        client.ok(make, json!({"path": path("a/b"), "permissions": 0o700}));
        assert_eq!(mode(&path("a/b")), 0o707);
        set_mode(&path("a"), 0o2755);
        for (name, recursive) in [("a/c", false), ("a/d", true)] {
            client.ok(make, json!({"path": path(name), "permissions": 0o750, "recursive": recursive, "followSymlinks": false}));
            assert_eq!(mode(&path(name)), 0o2750);
        }
        assert_eq!(client.err(make, json!({"path": path("e"), "permissions": 0o4755})).code, -32602);
    }

    fn blocks_of_a_hole_are_skipped_if_that_is_wanted(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        let file = fs::File::create(&path).unwrap();
        file.write_all_at(b"data", 8 << 20).unwrap();
        file.set_len(16 << 20).unwrap();
        client.ok("fs/open", json!({"handleId": "h", "path": path}));
        let mut read = |offset: u64, len: u64| {
            let wanted = json!({"handleId": "h", "offset": offset, "len": len, "skipHoles": true});
            client.ok("fs/readBlock", wanted)
        };
        assert_eq!(read(0, 1 << 20), json!({"chunk": "", "eof": false, "dataAt": 8 << 20}));
        assert_eq!(read(12 << 20, 1 << 20), json!({"chunk": "", "eof": true, "dataAt": 16 << 20}));
        assert_eq!(read(8 << 20, 4), json!({"chunk": encode(b"data"), "eof": false}));
        assert_eq!(read((8 << 20) - 1, 2), json!({"chunk": encode(b"\0d"), "eof": false}));
        assert_eq!(read(16 << 20, 2), json!({"chunk": "", "eof": true}));
    }

    fn a_copy_preserves_what_it_is_told_to(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        fs::create_dir_all(path("t/d")).unwrap();
        fs::write(path("t/f"), "content").unwrap();
        fs::hard_link(path("t/f"), path("t/d/g")).unwrap();
        symlink("f", path("t/link")).unwrap();
        let is_root = fs::metadata(path("t")).unwrap().uid() == 0;
        if is_root {
            for name in ["t/f", "t/d", "t/link"] {
                lchown(path(name), Some(4242), Some(4343)).unwrap();
            }
        }
        let old = std::process::Command::new("touch").args(["-h", "-d", "2001-01-01", &path("t/link")]).status();
        assert!(old.unwrap().success());
        set_mode(&path("t/f"), 0o4640);
        let note = |name: &str| attribute(fs::File::open(path(name)).unwrap().as_fd(), c"user.note").ok();
        for name in ["t/f", "t/d"] {
            set_attribute(fs::File::open(path(name)).unwrap().as_fd(), c"user.note", name.as_bytes()).unwrap();
        }
        let time = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
        for name in ["t/f", "t/d", "t"] {
            fs::File::open(path(name)).unwrap().set_modified(time).unwrap();
        }
        let copy = |to: &str, preserve: bool| json!({"sourcePath": path("t"), "destinationPath": path(to),
            "recursive": true, "preserve": preserve});
        assert_eq!(client.ok("fs/copy", copy("kept", true)), json!({}));
        let kept = |name: &str| fs::symlink_metadata(path(&format!("kept/{name}"))).unwrap();
        for name in ["f", "d", "."] {
            assert_eq!(kept(name).modified().unwrap(), time, "{name}");
        }
        for name in ["f", "d", "link"] {
            let expected = if is_root { (4242, 4343) } else { (kept(".").uid(), kept(".").gid()) };
            assert_eq!((kept(name).uid(), kept(name).gid()), expected, "{name}");
        }
        assert_eq!(kept("f").ino(), kept("d/g").ino());
        assert_eq!((mode(&path("kept/f")), kept("link").mtime()), (0o640, fs::symlink_metadata(path("t/link")).unwrap().mtime()));
        assert_eq!((note("kept/f"), note("kept/d")), (Some(b"t/f".to_vec()), Some(b"t/d".to_vec())));
        client.ok("fs/copy", copy("plain", false));
        assert_ne!(fs::metadata(path("plain/f")).unwrap().modified().unwrap(), time);
        assert_eq!((fs::metadata(path("plain/f")).unwrap().nlink(), note("plain/f")), (1, None));
    }

    fn attributes_are_told_and_set(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        fs::write(&path, "content").unwrap();
        let set = |attributes: Value| json!({"path": uri(&path), "metadata": {}, "attributes": attributes});
        assert_eq!(client.ok("fs/setMetadata", set(json!({"user.note": encode(b"n\0te")}))), json!({}));
        let opened = fs::File::open(&path).unwrap();
        assert_eq!(attribute(opened.as_fd(), c"user.note").unwrap(), b"n\0te");
        let found = client.ok("fs/getMetadata", json!({"path": path, "attributes": true}));
        assert_eq!(found["attributes"], json!({"user.note": encode(b"n\0te")}));
        for name in ["security.capability", "trusted.x", "note", "user.a\0b"] {
            let refused = client.err("fs/setMetadata", set(json!({name: ""})));
            assert_eq!(refused.code, -32602, "{name}");
        }
    }

    fn a_file_gets_one_more_name(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        fs::write(path("f"), "content").unwrap();
        let link = |to: &str| json!({"sourcePath": uri(&path("f")), "destinationPath": path(to), "followSymlinks": false});
        assert_eq!(client.ok("fs/hardLink", link("g")), json!({}));
        assert_eq!(fs::metadata(path("f")).unwrap().ino(), fs::metadata(path("g")).unwrap().ino());
        let told = client.ok("fs/getMetadata", json!({"path": path("g"), "version": true}));
        let other = client.ok("fs/getMetadata", json!({"path": path("f"), "version": true}));
        assert_eq!((&told["links"], &told["fileId"]), (&json!(2), &other["fileId"]));
        refused(client, "fs/hardLink", link("g"), EXISTS.0, EXISTS.1);
    }

    fn holes_stay_holes_and_setgid_is_inherited_in_copies(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        fs::create_dir_all(path("t/d")).unwrap();
        let file = fs::File::create(path("t/d/f")).unwrap();
        file.write_all_at(b"data", 8 << 20).unwrap();
        file.set_len(64 << 20).unwrap();
        fs::create_dir(path("to")).unwrap();
        set_mode(&path("to"), 0o2775);
        client.ok("fs/copy", json!({"sourcePath": path("t"), "destinationPath": path("to/t"), "recursive": true}));
        let copied = fs::metadata(path("to/t/d/f")).unwrap();
        assert!(copied.len() == 64 << 20 && copied.blocks() * 512 < 1 << 20, "{copied:?}");
        assert!(fs::read(path("t/d/f")).unwrap() == fs::read(path("to/t/d/f")).unwrap());
        assert_eq!(mode(&path("to/t/d")), mode(&path("t/d")) | 0o2000);
    }
}

#[test]
fn an_atomic_write_that_is_killed_leaves_nothing_behind() {
    let scratch = scratch();
    let directory = scratch.path("d");
    fs::create_dir(&directory).unwrap();
    let path = format!("{directory}/f");
    fs::write(&path, "old").unwrap();
    let data = encode(&vec![7; 40 << 20]);
    for name in ["f", "g"] {
        let mut client = Client::stdio();
        let server = client.server.as_ref().unwrap().pid();
        let params =
            json!({"path": format!("{directory}/{name}"), "dataBase64": data, "atomic": true});
        client.send(&json!({"id": 99, "method": "fs/writeFile", "params": params}).to_string());
        within(PATIENCE, "the server writes", || {
            let open = fs::read_dir(format!("/proc/{server}/fd")).unwrap();
            open.flatten().any(|file| {
                let target = fs::read_link(file.path()).unwrap_or_default();
                target
                    .to_string_lossy()
                    .starts_with(&format!("{directory}/"))
                    && fs::metadata(file.path()).is_ok_and(|found| found.len() > 0)
            })
        });
        signal(server, "KILL");
        drop(client);
        let names: Vec<_> = fs::read_dir(&directory)
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        assert_eq!(names, ["f"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
