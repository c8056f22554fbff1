//! The real client reads `environments.toml`: every example of our documents, and it says the same of mistakes as ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use support::{PATIENCE, comes_true};

use crate::binaries::Binaries;
use crate::children::Guarded;
use crate::http_server::{Reply, serve};
use crate::isolation::Place;
use crate::options::Options;
use crate::outcome::Tally;
use crate::subject::{Generation, Whose};

/// What a version does with the file.
struct Version {
    name: &'static str,
    /// Whether it looks at it at all.
    reads: bool,
    /// Keys that it does not know yet, with its words.
    unknown: &'static [(&'static str, &'static str)],
}

const fn version(name: &'static str, reads: bool) -> Version {
    Version {
        name,
        reads,
        unknown: &[],
    }
}

const VERSIONS: [Version; 3] = [
    version("0.130", false),
    version("0.169", true),
    version("0.171", true),
];

/// Files that the reference refuses. Ours has to refuse them in the same words, and goes on from there.
const WRONG: [&str; 16] = [
    "unknown = 1",
    "[[environments]]\nurl = \"ws://h\"",
    "[[environments]]\nid = \"a\"\nport = 1",
    "[[environments]]\nid = \"a\"\nurl = \"ws://h\"\nbearer_token_env = \"T\"",
    "[[environments]]\nid = \"a\"\nurl = \"unix:///run/x\"",
    "[[environments]]\nid = \"a\"\nurl = \"http://h\"",
    "[[environments]]\nid = \"a\"\nurl = \"ws://192.0.2.1\"\nauth_bearer_token = \"t\"",
    "[[environments]]\nid = \"a\"\nurl = \"ws://localhost.\"\nauth_bearer_token = \"t\"",
    "[[environments]]\nid = \"a\"\nurl = \"ws://127.0.0.1\"\nauth_bearer_token = \"a\\nb\"",
    "[[environments]]\nid = \"a\"\nprogram = \"p\"\nconnect_timeout_sec = 1\nauth_bearer_token = \"t\"",
    "[[environments]]\nid = \"a\"\nurl = \"ws://h\"\nskills = { needed = [] }",
    "[[environments]]\nid = \"a\"\nurl = \"ws://h\"\nskills = [\"a\"]",
    "[[environments]]\nid = \"NONE\"\nurl = \"ws://h\"",
    "[[environments]]\nid = \"a\"\nurl = \"ws://h\"\n[[environments]]\nid = \"a\"\nprogram = \"p\"",
    "[[environments]]\nid = \"a\"\nurl = \"ws://h\"\nprogram = \"p\"",
    "default = \"b\"",
];

/// Lets each version read each file that is wanted.
pub fn run(options: &Options, place: &Place, binaries: &Binaries, tally: &mut Tally) {
    println!("\nenvironments.toml");
    let examples = examples();
    for Version {
        name: version,
        reads,
        unknown,
    } in VERSIONS
    {
        let Some(client) = binaries.version(version) else {
            println!("  {version} skipped: there is no reference");
            tally.skipped += examples.len() + WRONG.len();
            continue;
        };
        for (name, text) in &examples {
            let name = format!("config {version} reads {name}");
            if !options.wants(&name) {
                continue;
            }
            let expected = unknown.iter().find(|(key, _)| text.contains(key));
            let found = read(client, place, text);
            let is_right = match (&found, expected) {
                (Ok(()), None) => true,
                (Err(words), Some((_, expected))) => words.contains(expected),
                _ => false,
            };
            told(tally, &name, is_right, || format!("{found:?}\n{text}"));
        }
        for text in WRONG {
            let last = text.lines().last().unwrap_or_default();
            let does = if reads { "refuses" } else { "does not look at" };
            let name = format!("config {version} {does} {last}");
            if !options.wants(&name) {
                continue;
            }
            let theirs = read(client, place, text).err();
            let ours = refusal(binaries, place, text);
            let is_right = match &theirs {
                // It does not look at the file.
                None => !reads,
                Some(theirs) => ours.starts_with(theirs.trim_end()),
            };
            told(tally, &name, is_right, || {
                format!("theirs: {theirs:?}\nours: {ours:?}")
            });
        }
    }
}

fn told(tally: &mut Tally, name: &str, is_right: bool, why: impl FnOnce() -> String) {
    if is_right {
        println!("  {name:<32} same");
        tally.same += 1;
    } else {
        println!("  {name:<32} WRONG\n{}", why());
        tally.wrong += 1;
    }
}

/// The examples of README.md and docs/: blocks that begin with the file's name, and what a command writes there.
fn examples() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).expect("there is documentation");
    let mut files: Vec<PathBuf> = docs
        .map(|entry| entry.expect("it is read").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    files.push(root.join("README.md"));
    files.sort();
    let mut examples = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a document is text");
        let name = file.file_name().unwrap_or_default().display().to_string();
        let blocks = text.split("```toml\n# environments.toml\n").skip(1);
        let blocks = blocks.filter_map(|block| block.split("\n```").next());
        let written = text.split("environments.toml <<'END'\n").skip(1);
        let written = written.filter_map(|block| block.split("\nEND\n").next());
        for (number, example) in blocks.chain(written).enumerate() {
            examples.push((format!("{name} {}", number + 1), format!("{example}\n")));
        }
    }
    assert!(examples.len() >= 2, "the examples are not found");
    examples
}

/// A directory with this file in it.
fn home(place: &Place, text: &str) -> PathBuf {
    let home = place.scratch.join("config");
    let _ = std::fs::remove_dir_all(&home);
    std::fs::create_dir_all(&home).expect("the run's directory can be written");
    std::fs::write(home.join("environments.toml"), text).expect("as above");
    home
}

/// Whether the real client goes on to its model with this file; else what it says.
fn read(client: &Path, place: &Place, text: &str) -> Result<(), String> {
    let home = home(place, text);
    let (asked, asks) = channel();
    let model = serve(move |_| {
        let _ = asked.send(());
        Some(Reply::whole("404 Not Found", Vec::new(), Vec::new()))
    });
    let config = format!(
        "model = \"m\"\nmodel_provider = \"none\"\n[model_providers.none]\nname = \"none\"\n\
         base_url = \"http://{model}/v1\"\nwire_api = \"responses\"\n\
         request_max_retries = 0\nstream_max_retries = 0\n"
    );
    std::fs::write(home.join("config.toml"), config).expect("the run's directory can be written");
    let stderr = home.join("stderr");
    let log = std::fs::File::create(&stderr).expect("as above");
    let mut command = Command::new(client);
    command
        .args(["exec", "--skip-git-repo-check", "-C"])
        .args([home.as_os_str(), "hello".as_ref()])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", &home)
        .env("CODEX_HOME", &home)
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    // Whatever the client would like to ask of the world, it stays on this machine.
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:9");
    }
    let client = Guarded::spawn(&mut command);
    let mut has_asked = false;
    comes_true(PATIENCE, || {
        has_asked = has_asked || asks.try_recv().is_ok();
        has_asked || client.with(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    });
    // It may have asked and ended between two looks.
    if has_asked || asks.try_recv().is_ok() {
        return Ok(());
    }
    let words = std::fs::read_to_string(&stderr).unwrap_or_default();
    match words.split_once("Error: ") {
        Some((_, error)) => Err(error.trim_end().to_owned()),
        None => Err(words),
    }
}

/// What ours says of it, as one text again.
fn refusal(binaries: &Binaries, place: &Place, text: &str) -> String {
    let home = home(place, text);
    let ours = binaries
        .server(Whose::Ours, Generation::V169)
        .expect("ours is there");
    let output = Command::new(ours)
        .args(["env", "--config"])
        .arg(home)
        .output()
        .expect("ours starts");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = words.strip_prefix("exec-server env: ").unwrap_or(&words);
    words.replace("\n  ", "\n")
}
