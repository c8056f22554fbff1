//! What takes bytes of strangers, as targets of a fuzzer: each with what must hold of it, whatever the bytes are.
//!
//! `make fuzz` searches for inputs that break one. The inputs that it has found worth keeping are in `fuzz/corpus`, and a
//! unit test runs the targets on them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64_simd::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

use crate::cloud::relay::frame::Frame;
use crate::env::config::{Config, own};
use crate::net::proxy::choose_by;
use crate::net::url::Url;
use crate::net::{InBuffer, Sink, Source};
use crate::rpc::encode;
use crate::rpc::message::Message;
use crate::rpc::path_uri::{PathError, PathStyle, WirePath};
use crate::rpc::transport::{Framing, Outbound, Reader, Received, Role, WebSocketReader};
use crate::sandbox::journal::Journal;
use crate::sandbox::mounts::{Action, Cancel, MaskKind, MountPlan};
use crate::sandbox::policy::{Access, Context, Policy};
use crate::serve::access::jwt::{self, Claims};
use crate::serve::access::upgrade::{Progress, UpgradePolicy};
use crate::serve::in_process::InProcess;

/// A target: its name, which is that of its corpus too, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 10] = [
    ("message", message),
    ("frames", frames),
    ("upgrade", upgrade),
    ("path", path),
    ("environments", environments),
    ("token", token),
    ("relay", relay),
    ("policy", policy),
    ("proxy", proxy),
    ("connection", connection),
];

/// A line of a client: its id comes back as it was.
fn message(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(Message::Request { id, .. }) = Message::decode(text) {
        let mut answer = Vec::new();
        encode::result(&mut answer, id, &json!({}));
        let sent: Value = serde_json::from_str(text).unwrap();
        let back: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(sent["id"], back["id"]);
    }
}

/// Bytes that come a few at a time.
struct Pieces<'a> {
    bytes: &'a [u8],
    most: usize,
}

impl Source for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8], _timeout: Duration) -> io::Result<usize> {
        let count = self.bytes.len().min(self.most).min(buffer.len());
        buffer[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes = &self.bytes[count..];
        Ok(count)
    }
}

/// What a websocket's reader makes of bytes that come so many at a time. It is read on for a while after the end, as a
/// connection is that hangs up: nothing is promised of what comes then.
fn read_frames(role: Role, bytes: &[u8], most: usize) -> Vec<String> {
    let sink = fs::File::options().write(true).open("/dev/null").unwrap();
    let outbound = Arc::new(Outbound::new(Sink::Stream(sink), Framing::WebSocket(role)));
    let source = Pieces { bytes, most };
    let mut reader = WebSocketReader::new(source, InBuffer::default(), outbound);
    let mut seen = Vec::new();
    loop {
        let received = reader.receive(Duration::from_secs(5));
        let is_end = matches!(received, Received::Closed(_));
        seen.push(match received {
            Received::Message => format!("{:?}", reader.message()),
            other => format!("{other:?}"),
        });
        if is_end {
            for _ in 0..8 {
                reader.receive(Duration::from_secs(5));
            }
            return seen;
        }
    }
}

/// Frames of a websocket, for a server or a client: the same messages in however many pieces they come.
fn frames(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else {
        return;
    };
    let role = match first & 1 {
        0 => Role::Server,
        _ => Role::Client,
    };
    let at_once = read_frames(role, bytes, usize::MAX);
    let in_pieces = read_frames(role, bytes, usize::from(first >> 1) % 9 + 1);
    assert_eq!(at_once, in_pieces);
}

/// The head of an HTTP request: a browser's page is never let in, and what is let in does not depend on how much has
/// come.
fn upgrade(data: &[u8]) {
    let policy = UpgradePolicy {
        loopback: true,
        websocket: true,
        metrics: true,
        ..UpgradePolicy::default()
    };
    let Progress::Upgrade { head_len, .. } = policy.examine(data, false) else {
        return;
    };
    let head = data[..head_len].to_ascii_lowercase();
    for line in head.split(|byte| *byte == b'\n') {
        assert!(!line.starts_with(b"origin:"), "a page was let in");
    }
    for end in 0..head_len {
        assert_eq!(policy.examine(&data[..end], false), Progress::NeedMore);
    }
    assert!(matches!(
        policy.examine(data, true),
        Progress::Respond(response) if response.refused.is_some()
    ));
}

/// A path of a client, of either style: absolute and without detours, and said again it is the same.
fn path(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    match WirePath::parse(text) {
        Ok(found) => {
            let bytes = found.path.as_os_str().as_encoded_bytes();
            assert!(found.path.is_absolute() && !bytes.contains(&0));
            let mut parts = bytes.split(|byte| *byte == b'/');
            assert!(!parts.any(|part| part == b"." || part == b".."));
            let again = WirePath::parse(&PathStyle::Uri.render(&found.path));
            match again {
                Ok(again) => assert_eq!(again.path, found.path),
                // A directory of the root that is called like a drive has no URI.
                Err(PathError::Foreign { .. }) if found.style == PathStyle::Native => {}
                Err(error) => panic!("{}: {error}", found.path.display()),
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Both files of environments, with a line of `---` between them: an error says where.
fn environments(data: &[u8]) {
    const BETWEEN: &[u8] = b"\n---\n";
    let middle = data.windows(BETWEEN.len()).position(|it| it == BETWEEN);
    let (shared, ours) = match middle {
        Some(at) => (&data[..at], &data[at + BETWEEN.len()..]),
        None => (data, &[][..]),
    };
    let directory = Path::new("/nowhere");
    let names = ["environments.toml", "exec-server.toml"].map(|name| directory.join(name));
    let read = || {
        let mut config = Config::parse(shared, &names[0], Some(directory))?;
        own::add(&mut config, ours, &names[1], directory)?;
        Ok::<_, crate::env::config::ConfigError>(config)
    };
    if let Err(error) = read() {
        let text = error.to_string();
        assert!(
            names
                .iter()
                .any(|name| text.contains(name.to_str().unwrap())),
            "{text}"
        );
    }
}

/// A bearer token: nothing that we have not signed is good, and what we have signed only with the claims asked for.
fn token(data: &[u8]) {
    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW: u64 = 1_800_000_000;
    let claims = Claims {
        issuer: Some("us".to_owned()),
        audience: Some("them".to_owned()),
        skew: 30,
    };
    if let Ok(text) = str::from_utf8(data) {
        assert!(jwt::check(text, SECRET, &claims, NOW).is_err(), "{text}");
    }
    let middle = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (header, body) = data.split_at(middle);
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let signed = [header, body]
        .map(|part| URL_SAFE_NO_PAD.encode_to_string(part))
        .join(".");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = hmac::sign(&key, signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode_to_string(signature));
    if jwt::check(&token, SECRET, &claims, NOW).is_ok() {
        let read = |part| serde_json::from_slice::<Value>(part);
        // A member that decides nothing may have a text that is none.
        let (Ok(header), Ok(body)) = (read(header), read(body)) else {
            return;
        };
        assert_eq!(header["alg"], "HS256");
        assert!(header["crit"].is_null());
        assert_eq!(body["iss"], "us");
        assert!(body["exp"].as_i64().unwrap() >= NOW as i64 - 30);
        let audience = &body["aud"];
        let names = audience
            .as_array()
            .cloned()
            .unwrap_or(vec![audience.clone()]);
        assert!(names.contains(&json!("them")));
    }
}

/// A frame of the relay: written again it says the same.
fn relay(data: &[u8]) {
    if let Ok(frame) = Frame::decode(data) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let again = Frame::decode(&bytes).unwrap();
        assert_eq!(format!("{frame:?}"), format!("{again:?}"));
    }
}

/// Variables of proxies: with a proxy set and no exception from it, nothing goes without one.
fn proxy(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default().to_owned();
    let (url, proxy, exceptions) = (line(), line(), line());
    let Ok(url) = Url::parse(&url).or_else(|_| Url::parse_websocket(&url)) else {
        return;
    };
    let chosen = choose_by(&url, false, |name| match name {
        "ALL_PROXY" => Some(proxy.clone()),
        "NO_PROXY" => Some(exceptions.clone()),
        _ => None,
    });
    let is_wanted = !proxy.trim().is_empty() && !url.is_loopback() && exceptions.trim().is_empty();
    if is_wanted {
        assert!(
            !matches!(chosen, Ok(None)),
            "{} goes without {proxy}",
            url.redacted()
        );
    }
}

/// Choices, made by the bytes of an input.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

/// A directory with some of everything, and what is in it by its real paths.
struct Tree {
    root: PathBuf,
    inventory: Vec<PathBuf>,
    journal: Journal,
}

const NAMES: [&str; 16] = [
    "",
    "a",
    "a/f",
    "a/b",
    "a/b/g",
    "a/b/c",
    "a/link",
    "a/link/h",
    "d",
    "d/.git",
    "d/.git/config",
    "d/e",
    "d/e/i",
    "missing",
    "a/missing/below",
    "d/e/hard",
];

impl Tree {
    fn new() -> io::Result<Self> {
        let root = std::env::temp_dir().join(format!("exec-server-fuzz-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("a/b/c"))?;
        fs::create_dir_all(root.join("d/.git"))?;
        fs::create_dir_all(root.join("d/e"))?;
        for file in ["a/f", "a/b/g", "d/h", "d/.git/config", "d/e/i"] {
            fs::write(root.join(file), file)?;
        }
        symlink("../d", root.join("a/link"))?;
        fs::hard_link(root.join("a/f"), root.join("d/e/hard"))?;
        let root = root.canonicalize()?;
        let mut inventory = Vec::new();
        walk(&root, &mut inventory)?;
        let journal = Journal::open_in(&[root.with_extension("journal")]);
        Ok(Self {
            root,
            inventory,
            journal,
        })
    }
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    found.push(directory.to_owned());
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => walk(&entry.path(), found)?,
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

/// A policy over a small tree: its mounts give no path of the tree more than the policy says.
fn policy(data: &[u8]) {
    static TREE: LazyLock<Tree> = LazyLock::new(|| Tree::new().unwrap());
    let tree = &*TREE;
    let mut choices = Choices(data);
    let at = |name: &str| tree.root.join(name).to_str().unwrap().to_owned();
    let cwd = at(choices.of(&NAMES));
    let mut entries = Vec::new();
    while !choices.is_over() {
        let access = choices.of(&["read", "write", "deny"]);
        let target = match choices.byte() % 4 {
            0 | 1 => json!({"type": "path", "path": at(choices.of(&NAMES))}),
            2 => {
                let base = at(choices.of(&NAMES));
                let pattern =
                    choices.of(&["/**", "/*", "/**/*", "/?", "/**/[a-g]", "/*/c", "/{b,e}/**"]);
                json!({"type": "glob_pattern", "pattern": format!("{base}{pattern}")})
            }
            _ => {
                let kinds = [
                    "root",
                    "minimal",
                    "current_working_directory",
                    "project_roots",
                    "tmpdir",
                    "slash_tmp",
                ];
                let kind = choices.of(&kinds);
                if access == "write" && ["root", "slash_tmp"].contains(&kind) {
                    continue;
                }
                json!({"type": "special", "value": {"kind": kind}})
            }
        };
        entries.push(json!({"path": target, "access": access}));
    }
    let files = json!({"type": "restricted", "entries": entries});
    let permissions = json!({"type": "managed", "file_system": files, "network": "restricted"});
    let sandbox = json!({
        "permissions": permissions, "cwd": cwd, "windowsSandboxLevel": "disabled", "workspaceRoots": [at("d")],
    });
    let tmpdir = tree.root.join("d/e");
    let context = Context {
        process_cwd: None,
        tmpdir: Some(&tmpdir),
        style: PathStyle::Native,
    };
    let Ok(policy) = Policy::parse(&sandbox.to_string(), &context) else {
        return;
    };
    // What goes by the rules alone, as Landlock's list does, must not permit more.
    for rule in policy.rules() {
        let permitted = policy.access(&rule.path);
        assert!(
            rule.access <= permitted,
            "{rule:?} for {permitted:?} by {sandbox}"
        );
    }
    let Ok(plan) = MountPlan::build(&policy, Path::new("/"), &tree.journal, Cancel::default())
    else {
        return;
    };
    for path in &tree.inventory {
        let (given, permitted) = (given(&plan, path), policy.access(path));
        assert!(
            given <= permitted.max(Access::Deny),
            "{}: {given:?} for {permitted:?} by {sandbox}",
            path.display()
        );
    }
}

/// What a plan lets a program do with a path.
fn given(plan: &MountPlan, path: &Path) -> Access {
    let covers = |target: &Path| path.starts_with(target);
    let is_masked = plan.masks.iter().any(|mask| {
        mask.kind != MaskKind::Itself && covers(Path::new(mask.path.to_str().unwrap()))
    });
    let mount = plan.mounts.iter().rfind(|mount| {
        covers(&mount.target) && !matches!(mount.action, Action::Seal | Action::Link { .. })
    });
    match mount.map(|mount| &mount.action) {
        _ if is_masked => Access::Deny,
        Some(Action::Bind { writable: true, .. }) => Access::Write,
        Some(Action::Bind { .. }) => Access::Read,
        _ => Access::Deny,
    }
}

/// A whole connection: each request is answered once, and each line of an answer is JSON.
fn connection(data: &[u8]) {
    static SERVER: LazyLock<InProcess> = LazyLock::new(|| InProcess::begin().unwrap());
    static DIRECTORY: LazyLock<Tree> = LazyLock::new(|| Tree::new().unwrap());
    let root = &DIRECTORY.root;
    let mut choices = Choices(data);
    let mut lines = vec![
        json!({"id": 0, "method": "initialize", "params": {"clientName": "fuzz"}}).to_string(),
    ];
    let mut expected = BTreeMap::from([(0, 0)]);
    while !choices.is_over() && lines.len() < 24 {
        let id = lines.len();
        let process = choices.of(&["p", "q", ""]);
        let path = root
            .join("a")
            .join(choices.of(&["f", "new", "b", "", "\u{e9}"]));
        let uri = PathStyle::Uri.render(&path);
        let path = choices
            .of(&[path.to_str().unwrap(), &uri, "relative", ""])
            .to_owned();
        let argv = choices.of(&[
            &["true"][..],
            &["cat"],
            &["no-such-program"],
            &[],
            &["sh", "-c", "exit 3"],
        ]);
        let number = choices.of(&["0", "1", "-1", "9007199254740992", "1.5", "null", "\"1\""]);
        let number: Value = serde_json::from_str(number).unwrap();
        let (method, params) = match choices.byte() % 14 {
            0 => (
                "process/start",
                json!({"processId": process, "argv": argv, "cwd": root, "env": {}, "tty": false, "pipeStdin": choices.byte() % 2 == 0}),
            ),
            1 => (
                "process/read",
                json!({"processId": process, "afterSeq": number, "maxBytes": choices.byte(), "waitMs": choices.byte() % 4}),
            ),
            2 => (
                "process/write",
                json!({"processId": process, "chunk": choices.of(&["aGVsbG8=", "", "!", "aGVsbG8"])}),
            ),
            3 => ("process/terminate", json!({"processId": process})),
            4 => ("process/run", json!({"argv": argv, "timeoutMs": number})),
            5 => ("fs/readFile", json!({"path": path})),
            6 => (
                "fs/writeFile",
                json!({"path": path, "dataBase64": choices.of(&["aGVsbG8=", "!"])}),
            ),
            7 => ("fs/getMetadata", json!({"path": path})),
            8 => ("fs/readDirectory", json!({"path": path})),
            9 => ("fs/open", json!({"path": path, "mode": "read"})),
            10 => ("fs/watch", json!({"watchId": process, "path": path})),
            11 => ("fs/unwatch", json!({"watchId": process})),
            12 => ("environmentInfo", number.clone()),
            _ => (
                choices.of(&["initialized", "initialize", "unknown", ""]),
                json!([&number]),
            ),
        };
        match choices.byte() % 8 {
            0 => lines.push(json!({"method": "initialized", "params": &number}).to_string()),
            1 => lines.push(format!("{{\"id\":{number},\"method\":[{id}")),
            _ => {
                expected.insert(id, 0);
                lines.push(json!({"id": id, "method": method, "params": params}).to_string());
            }
        }
    }
    let stream = SERVER.connect().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let text = lines.join("\n") + "\n";
    (&stream).write_all(text.as_bytes()).unwrap();
    let mut waiting = expected.len();
    for line in BufReader::new(&stream).lines() {
        let line = line.unwrap_or_else(|error| panic!("{error} after {expected:?}\n{text}"));
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let id = answer["id"]
            .as_u64()
            .and_then(|id| usize::try_from(id).ok());
        let Some(count) = id.and_then(|id| expected.get_mut(&id)) else {
            continue;
        };
        *count += 1;
        assert_eq!(*count, 1, "the second answer, {line}, to\n{text}");
        waiting -= 1;
        if waiting == 0 {
            // What has not begun is not answered to a client that is gone.
            stream.shutdown(Shutdown::Write).unwrap();
        }
    }
    assert_eq!(waiting, 0, "answers {expected:?} to\n{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_of_each_target_holds_of_its_corpus() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, run) in TARGETS {
            let mut count = 0;
            for entry in fs::read_dir(corpus.join(name)).unwrap() {
                run(&fs::read(entry.unwrap().path()).unwrap());
                count += 1;
            }
            assert!(count > 0, "no corpus of {name}");
        }
    }
}
