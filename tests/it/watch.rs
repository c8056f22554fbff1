//! `fs/watch`: being told what changes in a directory or a tree.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Client, PATIENCE, Scratch, Server, decode, resident, scratch, within};

/// Watches of inotify that a server has, by its own word: what it has open is closed to others.
fn inotify_watches(client: &mut Client) -> usize {
    let infos = client.ok("fs/readDirectory", json!({"path": "/proc/self/fdinfo"}));
    let infos = infos["entries"].as_array().unwrap().iter();
    let paths =
        infos.map(|info| format!("/proc/self/fdinfo/{}", info["fileName"].as_str().unwrap()));
    let of_one = |path: String| {
        let info = client.request("fs/readFile", json!({"path": path})).ok()?;
        let text = String::from_utf8(decode(info["dataBase64"].as_str()?)).unwrap();
        let lines = text.lines();
        Some(lines.filter(|line| line.starts_with("inotify wd:")).count())
    };
    paths.filter_map(of_one).sum()
}

/// A policy that lets everything be read.
fn reading() -> Value {
    json!({
        "permissions": {"type": "managed", "network": "restricted", "file_system": {"type": "restricted", "entries": [
            {"path": {"type": "special", "value": {"kind": "root"}}, "access": "read"},
        ]}},
        "windowsSandboxLevel": "disabled",
    })
}

fn watch(client: &mut Client, id: &str, path: &str, recursive: bool) {
    let params = json!({"watchId": id, "path": path, "recursive": recursive});
    assert_eq!(client.ok("fs/watch", params), json!({"watching": true}));
}

/// The changes that are told until the last is `kind` of `path`.
fn changes_to(client: &mut Client, id: &str, kind: &str, path: &str) -> Vec<Value> {
    let mut all = Vec::new();
    while !all
        .last()
        .is_some_and(|last: &Value| last["kind"] == kind && last["path"] == path)
    {
        let notice = client.notice("fs/changed");
        assert_eq!(notice["watchId"], id);
        assert_eq!(notice.get("overflow"), None, "{notice}");
        all.extend(notice["changes"].as_array().unwrap().clone());
    }
    all
}

/// The changes as `kind path`, from the top of the scratch directory on.
fn short(scratch: &Scratch, changes: &[Value]) -> Vec<String> {
    let top = scratch.path("");
    let line = |change: &Value| {
        let path = change["path"].as_str().unwrap().replace(&top, "");
        let slash = if change["isDirectory"] == true {
            "/"
        } else {
            ""
        };
        let from = change["from"]
            .as_str()
            .map(|from| from.replace(&top, "") + " ");
        let kind = change["kind"].as_str().unwrap();
        format!("{kind} {}{path}{slash}", from.unwrap_or_default())
    };
    let mut lines: Vec<_> = changes.iter().map(line).collect();
    // Writing is two modifications, which a slow machine may tell apart.
    lines.dedup();
    lines
}

over_both! {
    fn what_happens_in_a_directory_is_told(client) {
        let scratch = scratch();
        fs::create_dir(scratch.path("sub")).unwrap();
        fs::write(scratch.path("old"), "x").unwrap();
        watch(client, "w", &scratch.dir(), false);
        let file = scratch.path("a b");
        fs::write(&file, "").unwrap();
        fs::write(scratch.path("old"), "y").unwrap();
        fs::write(scratch.path("sub/unseen"), "y").unwrap();
        fs::rename(&file, scratch.path("c")).unwrap();
        fs::create_dir(scratch.path("d")).unwrap();
        fs::remove_dir(scratch.path("d")).unwrap();
        fs::remove_file(scratch.path("c")).unwrap();
        let changes = changes_to(client, "w", "removed", &scratch.path("c"));
        assert_eq!(short(&scratch, &changes), [
            "created a b", "modified old", "renamed a b c", "created d/", "removed d/", "removed c",
        ]);
    }

    fn paths_are_told_in_the_style_of_the_request(client) {
        let scratch = scratch();
        watch(client, "uri", &format!("file://{}", scratch.dir()), false);
        fs::write(scratch.path("a b"), "").unwrap();
        let path = format!("file://{}", scratch.path("a%20b"));
        let changes = changes_to(client, "uri", "created", &path);
        assert_eq!(changes, [json!({"path": path, "kind": "created", "isDirectory": false})]);
    }

    fn what_comes_from_elsewhere_is_new_and_what_leaves_is_gone(client) {
        let (scratch, other) = (scratch(), scratch());
        watch(client, "w", &scratch.dir(), false);
        fs::write(other.path("x"), "").unwrap();
        fs::rename(other.path("x"), scratch.path("x")).unwrap();
        fs::rename(scratch.path("x"), other.path("x")).unwrap();
        fs::write(scratch.path("x"), "").unwrap();
        fs::write(scratch.path("end"), "").unwrap();
        let changes = changes_to(client, "w", "created", &scratch.path("end"));
        assert_eq!(short(&scratch, &changes), ["created x", "removed x", "created x", "created end"]);
    }

    fn a_tree_is_watched_with_what_comes_into_it(client) {
        let (scratch, other) = (scratch(), scratch());
        fs::create_dir_all(scratch.path("a/b")).unwrap();
        fs::create_dir(other.path("linked")).unwrap();
        std::os::unix::fs::symlink(other.path("linked"), scratch.path("link")).unwrap();
        fs::create_dir_all(other.path("new/deep")).unwrap();
        fs::write(other.path("new/deep/file"), "").unwrap();
        watch(client, "t", &scratch.dir(), true);
        fs::write(other.path("linked/unseen"), "").unwrap();
        fs::write(scratch.path("a/b/f"), "").unwrap();
        fs::rename(other.path("new"), scratch.path("a/new")).unwrap();
        let mut changes = changes_to(client, "t", "created", &scratch.path("a/new/deep/file"));
        fs::write(scratch.path("a/new/deep/more"), "").unwrap();
        fs::rename(scratch.path("a"), scratch.path("z")).unwrap();
        fs::write(scratch.path("z/new/deep/last"), "").unwrap();
        changes.extend(changes_to(client, "t", "created", &scratch.path("z/new/deep/last")));
        assert_eq!(short(&scratch, &changes), [
            "created a/b/f", "created a/new/", "created a/new/deep/", "created a/new/deep/file",
            "created a/new/deep/more", "renamed a z/", "created z/new/deep/last",
        ]);
        fs::rename(scratch.path("z/new"), other.path("gone")).unwrap();
        changes_to(client, "t", "removed", &scratch.path("z/new"));
        fs::write(other.path("gone/deep/unseen"), "").unwrap();
        fs::remove_dir_all(scratch.path("z")).unwrap();
        let changes = changes_to(client, "t", "removed", &scratch.path("z"));
        assert_eq!(short(&scratch, &changes), ["removed z/b/f", "removed z/b/", "removed z/"]);
    }

    fn too_much_at_once_is_told_as_such(client) {
        let (scratch, other) = (scratch(), scratch());
        watch(client, "t", &scratch.dir(), true);
        fs::create_dir(other.path("many")).unwrap();
        for number in 0..2000 {
            fs::write(other.path(&format!("many/{number}")), "").unwrap();
        }
        fs::rename(other.path("many"), scratch.path("many")).unwrap();
        let told = client.notice("fs/changed");
        assert_eq!(told, json!({"watchId": "t", "changes": [], "overflow": true}));
        fs::write(scratch.path("many/new"), "").unwrap();
        changes_to(client, "t", "created", &scratch.path("many/new"));
    }

    fn a_watch_ends_with_its_directory(client) {
        let scratch = scratch();
        let (gone, moved) = (scratch.path("gone"), scratch.path("moved"));
        for path in [&gone, &moved] {
            fs::create_dir_all(format!("{path}/sub")).unwrap();
            watch(client, path.rsplit('/').next().unwrap(), path, true);
        }
        fs::remove_dir_all(&gone).unwrap();
        let changes = changes_to(client, "gone", "removed", &gone);
        assert_eq!(short(&scratch, &changes), ["removed gone/sub/", "removed gone/"]);
        fs::rename(&moved, &gone).unwrap();
        changes_to(client, "moved", "removed", &moved);
        within(PATIENCE, "no watch is left", || inotify_watches(client) == 0);
        watch(client, "gone", &gone, true);
        fs::write(format!("{gone}/sub/x"), "").unwrap();
        changes_to(client, "gone", "created", &format!("{gone}/sub/x"));
    }

    fn what_cannot_be_watched_is_an_error(client) {
        let scratch = scratch();
        let dir = scratch.dir();
        fs::write(scratch.path("file"), "").unwrap();
        let code = |client: &mut Client, params| client.err("fs/watch", params).code;
        assert_eq!(code(client, json!({"watchId": "a", "path": scratch.path("none")})), -32004);
        assert_eq!(code(client, json!({"watchId": "a", "path": scratch.path("file")})), -32603);
        assert_eq!(code(client, json!({"watchId": "a", "path": "relative"})), -32602);
        assert_eq!(code(client, json!({"watchId": "a".repeat(65), "path": dir})), -32602);
        assert_eq!(code(client, json!({"watchId": 1, "path": dir})), -32602);
        assert_eq!(code(client, json!({"watchId": "a", "path": dir, "sandbox": {}})), -32602);
        let hiding = json!({
            "permissions": {"type": "managed", "network": "restricted", "file_system": {"type": "restricted", "entries": []}},
            "windowsSandboxLevel": "disabled",
        });
        let error = client.err("fs/watch", json!({"watchId": "a", "path": dir, "sandbox": hiding}));
        assert_eq!(error.code, -32600);
        assert!(error.message.contains("fs/watch is not confined"), "{error:?}");
        let reading = reading();
        for (path, code) in [("/dev", -32600), ("/dev/shm", -32600), ("/proc/self", -32600), (&scratch.path("none"), -32004)] {
            let error = client.err("fs/watch", json!({"watchId": "a", "path": path, "sandbox": reading}));
            assert_eq!(error.code, code, "{path}: {error:?}");
        }
        std::os::unix::fs::symlink("/dev/shm", scratch.path("link")).unwrap();
        let link = json!({"watchId": "a", "path": scratch.path("link"), "sandbox": reading});
        assert_eq!(client.err("fs/watch", link).code, -32600);
        for number in 0..64 {
            watch(client, &number.to_string(), &dir, false);
        }
        let error = client.err("fs/watch", json!({"watchId": "7", "path": dir}));
        assert_eq!(error.code, -32600);
        assert!(error.message.contains("`7`"), "{error:?}");
        let error = client.err("fs/watch", json!({"watchId": "64", "path": dir}));
        assert_eq!(error.code, -32600);
        assert!(error.message.contains("at most 64"), "{error:?}");
        client.ok("fs/unwatch", json!({"watchId": "7"}));
        watch(client, "64", &dir, false);
        assert_eq!(inotify_watches(client), 1, "all share one");
    }

    fn a_watch_under_a_policy_tells_what_its_sandbox_shows(client) {
        let scratch = scratch();
        let dir = scratch.dir();
        fs::create_dir(scratch.path("before")).unwrap();
        let link = scratch.path("before/link");
        std::os::unix::fs::symlink(scratch.path("before"), &link).unwrap();
        let params = json!({"watchId": "a", "path": link, "recursive": true, "sandbox": reading()});
        assert_eq!(client.ok("fs/watch", params), json!({"watching": true}));
        fs::create_dir(scratch.path("before/new")).unwrap();
        changes_to(client, "a", "created", &format!("{link}/new"));
        fs::write(scratch.path("before/new/file"), "").unwrap();
        changes_to(client, "a", "created", &format!("{link}/new/file"));
        let unseen = format!("/dev/shm/exec-server-test-watch-{}", std::process::id());
        let missing = json!({"watchId": 1, "missing": [unseen], "sandbox": reading()});
        assert_eq!(client.ok("fs/watchMissing", missing), json!({"watching": false}));
        let missing = json!({"watchId": 2, "missing": [format!("{dir}/later")], "sandbox": reading()});
        assert_eq!(client.ok("fs/watchMissing", missing), json!({"watching": true}));
        fs::write(scratch.path("later"), "").unwrap();
        assert_eq!(client.notice("fs/missingChanged"), json!({"watchId": 2}));
    }

    fn unwatching_ends_the_reports(client) {
        let scratch = scratch();
        assert_eq!(client.ok("fs/unwatch", json!({"watchId": "none"})), json!({}));
        watch(client, "a", &scratch.dir(), true);
        watch(client, "b", &scratch.dir(), true);
        assert_eq!(client.ok("fs/unwatch", json!({"watchId": "a"})), json!({}));
        fs::write(scratch.path("x"), "").unwrap();
        changes_to(client, "b", "created", &scratch.path("x"));
        assert!(client.unclaimed_notices().is_empty());
        client.ok("fs/unwatch", json!({"watchId": "b"}));
        assert_eq!(inotify_watches(client), 0);
        watch(client, "a", &scratch.dir(), false);
    }
}

#[test]
fn too_large_a_tree_is_refused() {
    let mut client = Client::stdio();
    let scratch = scratch();
    for number in 0..8192 {
        fs::create_dir(scratch.path(&number.to_string())).unwrap();
    }
    let params = json!({"watchId": "t", "path": scratch.dir(), "recursive": true});
    let error = client.err("fs/watch", params);
    assert_eq!(error.code, -32600);
    assert!(error.message.contains("8192"), "{error:?}");
    assert_eq!(inotify_watches(&mut client), 0);
    fs::remove_dir(scratch.path("0")).unwrap();
    watch(&mut client, "t", &scratch.dir(), true);
    fs::create_dir_all(scratch.path("0/deep")).unwrap();
    loop {
        let notice = client.notice("fs/changed");
        if notice["overflow"] == true {
            break;
        }
    }
    client.still_serves();
}

#[test]
fn a_client_that_does_not_read_gets_an_overflow_and_costs_no_memory() {
    /// So many changes a round that they are told at once, and far more bytes than sockets hold.
    const FILES: usize = 300;
    const ROUNDS: usize = 80;
    // The slow one answers no ping either, for longer than that takes by default on a busy machine.
    let server = Server::websocket(&["--ping-interval", "600"]);
    let scratch = scratch();
    let (mut slow, mut other) = (server.connect(), server.connect());
    for client in [&mut slow, &mut other] {
        watch(client, "w", &scratch.dir(), false);
    }
    let before = resident(server.pid());
    let names: Vec<_> = (0..FILES)
        .map(|number| scratch.path(&format!("{number:0>200}")))
        .collect();
    for _ in 0..ROUNDS {
        names.iter().for_each(|name| fs::write(name, "").unwrap());
        changes_to(&mut other, "w", "created", &names[FILES - 1]);
        names.iter().for_each(|name| fs::remove_file(name).unwrap());
        changes_to(&mut other, "w", "removed", &names[FILES - 1]);
    }
    let grown = resident(server.pid()).saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more");
    while slow.notice("fs/changed")["overflow"] != true {}
    fs::write(scratch.path("end"), "").unwrap();
    let is_end = |change: &Value| change["path"] == scratch.path("end");
    while !slow.notice("fs/changed")["changes"]
        .as_array()
        .unwrap()
        .iter()
        .any(is_end)
    {}
    slow.still_serves();
}

#[test]
fn a_full_client_hears_of_the_overflow_whatever_others_take() {
    const WATCHES: usize = 4;
    let server = Server::websocket(&[]);
    let scratch = scratch();
    for name in ["d", "e"] {
        fs::create_dir(scratch.path(name)).unwrap();
    }
    let large = scratch.path("large");
    fs::File::create(&large).unwrap().set_len(4 << 20).unwrap();
    let mut other = server.connect();
    watch(&mut other, "e", &scratch.path("e"), false);
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &mut clients {
        for number in 0..WATCHES {
            watch(client, &number.to_string(), &scratch.path("d"), false);
        }
        for _ in 0..8 {
            client.ask("fs/readFile", json!({"path": large}));
        }
    }
    for _ in 0..3 {
        let names = (0..1000).map(|number| scratch.path(&format!("d/{number:0200}")));
        let names: Vec<_> = names.collect();
        names.iter().for_each(|name| fs::write(name, "").unwrap());
        names.iter().for_each(|name| fs::remove_file(name).unwrap());
    }
    // What comes behind all that is told, so all that was taken in.
    fs::write(scratch.path("e/end"), "").unwrap();
    changes_to(&mut other, "e", "created", &scratch.path("e/end"));
    // Nobody else takes anything meanwhile.
    for client in &mut clients {
        for _ in 0..WATCHES {
            while client.notice("fs/changed")["overflow"] != true {}
        }
    }
}

#[test]
fn a_watch_ends_with_its_connection() {
    let server = Server::websocket(&[]);
    let scratch = scratch();
    fs::create_dir_all(scratch.path("a/b/c")).unwrap();
    let mut other = server.connect();
    watch(&mut other, "w", &scratch.dir(), false);
    for _ in 0..5 {
        let mut client = server.connect();
        watch(&mut client, "w", &scratch.dir(), true);
    }
    within(PATIENCE, "only the other's watch is left", || {
        inotify_watches(&mut other) == 1
    });
    fs::write(scratch.path("x"), "").unwrap();
    changes_to(&mut other, "w", "created", &scratch.path("x"));
}

#[test]
fn where_the_system_has_no_watch_to_give_the_server_is_busy() {
    let mut client = Client::stdio_denied("inotify", &[]);
    let params = json!({"watchId": "w", "path": "/"});
    let error = client.err("fs/watch", params);
    assert_eq!(error.code, -32000);
    assert!(error.message.contains("max_user_instances"), "{error:?}");
    client.still_serves();
}
