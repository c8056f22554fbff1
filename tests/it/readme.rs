//! Every command of README.md and of documents in docs/ is run here, and every figure of README.md is one of
//! bench/RESULTS.md.
//!
//! The blocks of a document are scripts, run in their order by `sh`, in a project with a directory `src` and an empty
//! home. `ssh` is a stand-in that runs its command here; openssh.rs has the real one. A line that starts a server has to
//! print its address, and the server is ended after its block.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::install::make_release;
use crate::support::sandbox::{Launcher, Who};
use crate::support::{Certificate, Need, Running, Scratch, Server, finish, has, run, scratch};

/// Commands that are not run, and why.
const NOT_RUN: [(&str, &str); 8] = [
    (
        "make",
        "it builds the program under test; .ci/run begins with it",
    ),
    ("sudo make install", "it changes the machine"),
    ("make test", "it runs this test"),
    (
        "exec-server run -t bash",
        "somebody has to type; run_command/terminal.rs has a terminal",
    ),
    ("exec-server run -e box", "as above"),
    (
        "CODEX_EXEC_SERVER_URL=ws://127.0.0.1:8765 codex",
        "it needs Codex and a model; `make interop ARGS=cli` has both",
    ),
    (
        "scp ~/.local/bin/exec-server box:bin/",
        "it needs another machine; openssh.rs has sshd",
    ),
    (
        "exec-server --cloud",
        "it needs an account; cloud/ has a control plane of its own",
    ),
];

/// The documents whose commands are run and whose flags are held against ours.
const DOCUMENTS: [&str; 4] = [
    "README.md",
    "docs/command-line.md",
    "docs/install.md",
    "docs/network.md",
];

/// Flags that the documents name and that are not ours.
const FLAGS_OF_OTHERS: [&str; 4] = ["--check", "--from", "--quiet", "--to"];

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The fenced blocks with their language.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let fenced = text.split("\n```").skip(1).step_by(2);
    fenced
        .map(|block| block.split_once('\n').unwrap())
        .collect()
}

/// The commands of a script, each with the lines that go with it.
fn commands(script: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut until: Option<String> = None;
    let mut is_open = false;
    for line in script.lines() {
        match commands.last_mut() {
            Some(last) if is_open || until.is_some() => *last += &format!("\n{line}"),
            _ => commands.push(line.to_owned()),
        }
        is_open = line.ends_with('\\');
        if until.as_deref() == Some(line) {
            until = None;
        } else if let Some((_, word)) = line.split_once("<<") {
            until = Some(word.trim_matches('\'').to_owned());
        }
    }
    commands
}

/// Without the comment, which has two blanks before it or begins the line.
fn bare(command: &str) -> &str {
    let end = command.find("  #").unwrap_or(command.len());
    command[..end].trim_end()
}

fn is_server(command: &str) -> bool {
    command.contains("exec-server --listen ws") || command.contains("exec-server --listen unix")
}

/// Where the documents' commands are run.
struct Project {
    scratch: Scratch,
    port: u16,
}

impl Project {
    fn new() -> Self {
        let scratch = scratch();
        for name in [
            "bin",
            "home",
            "home/images",
            "home/work",
            "project",
            "project/src",
        ] {
            fs::create_dir(scratch.path(name)).unwrap();
        }
        let program = Server::command();
        symlink(program.get_program(), scratch.path("bin/exec-server")).unwrap();
        let ssh = scratch.path("bin/ssh");
        fs::write(
            &ssh,
            "#!/bin/sh\ncd && test \"$1\" = box && shift && exec \"$@\"\n",
        )
        .unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
        let makefile = "all:\n\techo built >built\n";
        for name in ["project/Makefile", "project/src/Makefile", "home/Makefile"] {
            fs::write(scratch.path(name), makefile).unwrap();
        }
        for name in ["project/big.iso", "home/big.iso"] {
            fs::write(scratch.path(name), vec![7; 3 << 20]).unwrap();
        }
        fs::write(scratch.path("project/token"), "a-token-that-nobody-guesses").unwrap();
        let made = Certificate::make(&scratch, "made");
        fs::rename(made.certificate, scratch.path("project/cert.pem")).unwrap();
        fs::rename(made.key, scratch.path("project/key.pem")).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        Self { scratch, port }
    }

    /// Runs the script of a block; gives all that it has printed.
    fn run(&self, script: &str) -> String {
        let mut text = "set -eu\nat=0 servers=\n\
             trap 'test $? = 0 || echo \"command $at failed\"; test -z \"$servers\" || kill $servers' EXIT\n"
            .to_owned();
        for (number, command) in commands(script).iter().enumerate() {
            let words = bare(command);
            if NOT_RUN.iter().any(|(name, _)| *name == words) {
                continue;
            }
            text += &format!("at={}\n", number + 1);
            if is_server(words) {
                let server = words.trim_end_matches('&');
                text += &format!(
                    "{server} >address </dev/null &\nservers=\"$servers $!\"\n\
                     until test -s address; do kill -0 $! && sleep 0.01; done\n"
                );
            } else if words == "exec-server doctor" {
                // 1 says that something is weaker than it could be on this machine.
                text += "exec-server doctor >/dev/null || test $? = 1\n";
            } else {
                text += &format!("{command}\n");
            }
        }
        let text = text.replace("8765", &self.port.to_string());
        let path = std::env::var("PATH").unwrap_or_default();
        let mut sh = Command::new("sh");
        sh.args(["-c", &format!("exec 2>&1\n{text}")])
            .current_dir(self.scratch.path("project"))
            .env_clear()
            .env("HOME", self.scratch.path("home"))
            .env("PATH", format!("{}:{path}", self.scratch.path("bin")))
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = Running::new(sh.spawn().unwrap()).finish(&text, b"");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}\n{printed}");
        printed.replace(&self.scratch.path("project"), "/home/you")
    }
}

/// Runs all blocks; those that are followed by what they print have to print it, as far as it is ours.
fn works(project: &Project, text: &str) {
    // The documents show what a bwrap says.
    let has_namespaces = has(Need::Launcher(Launcher::Bundled, Who::Myself));
    let blocks = blocks(text);
    assert!(blocks.iter().any(|(language, _)| *language == "sh"));
    for (index, (language, script)) in blocks.iter().enumerate() {
        if *language != "sh" || script.contains("--sandbox") && !has_namespaces {
            continue;
        }
        let printed = project.run(script);
        if let Some(("text", shown)) = blocks.get(index + 1) {
            for line in shown.lines().filter(|line| !line.starts_with("touch:")) {
                assert!(printed.contains(line), "not printed: {line}\n{printed}");
            }
        }
    }
}

#[test]
fn the_commands_of_readme_work() {
    works(&Project::new(), &document("README.md"));
}

#[test]
fn the_commands_of_the_command_line_work() {
    let project = Project::new();
    let text = document("docs/command-line.md");
    fs::create_dir(project.scratch.path("home/.codex")).unwrap();
    let files = blocks(&text)
        .into_iter()
        .filter(|(language, _)| *language == "toml");
    let mut names = Vec::new();
    for (_, file) in files {
        let (name, _) = file.split_once('\n').unwrap();
        let name = name.strip_prefix("# ").unwrap();
        fs::write(project.scratch.path(&format!("home/.codex/{name}")), file).unwrap();
        names.push(name);
    }
    assert_eq!(names, ["environments.toml", "exec-server.toml"]);
    works(&project, &text);
}

#[test]
fn the_commands_of_the_network_work() {
    let project = Project::new();
    for name in ["token", "cert.pem", "key.pem"] {
        fs::remove_file(project.scratch.path(&format!("project/{name}"))).unwrap();
    }
    works(&project, &document("docs/network.md"));
}

#[test]
fn the_commands_of_installing_work() {
    let project = Project::new();
    make_release(&project.scratch.path("project/dist"));
    works(&project, &document("docs/install.md"));
}

#[test]
fn the_file_of_the_network_is_one_of_ours() {
    let text = document("docs/network.md");
    let blocks = blocks(&text);
    let (_, file) = blocks
        .iter()
        .find(|(language, _)| *language == "toml")
        .unwrap();
    let home = scratch();
    fs::write(home.path("exec-server.toml"), file).unwrap();
    let mut env = Server::command();
    env.args(["--config", &home.dir(), "env"]);
    let output = finish(env, b"");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("there  "), "{text}");
}

#[test]
fn every_command_that_is_not_run_is_in_a_document() {
    let text: String = DOCUMENTS.iter().map(|name| document(name)).collect();
    let all: Vec<String> = blocks(&text)
        .iter()
        .flat_map(|(_, script)| commands(script))
        .collect();
    for (name, _) in NOT_RUN {
        assert!(all.iter().any(|command| bare(command) == name), "{name}");
    }
}

#[test]
fn every_flag_of_the_documents_is_one_of_ours() {
    let mut helps = String::new();
    for command in ["", "run", "cp", "env", "doctor", "token", "cert"] {
        let arguments: Vec<&str> = ["help", command]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect();
        helps += &String::from_utf8(run(&arguments).stdout).unwrap();
    }
    let is_known = |flag: &str| {
        helps
            .split(|c: char| c.is_whitespace() || ",[".contains(c))
            .any(|word| word == flag)
    };
    let mut count = 0;
    for name in DOCUMENTS {
        let text = document(name);
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
            if word.len() > 3 && word.starts_with("--") && !word.starts_with("---") {
                assert!(
                    FLAGS_OF_OTHERS.contains(&word) || is_known(word),
                    "{name}: {word}"
                );
                count += 1;
            }
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn the_figures_of_readme_are_those_of_the_results() {
    let (readme, results) = (document("README.md"), document("bench/RESULTS.md"));
    let figures = readme.split_once("## Figures").unwrap().1;
    let rows: Vec<&str> = figures
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(2)
        .collect();
    assert_eq!(rows.len(), 8, "{rows:?}");
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, ours, old, new] = cells[..] else {
            panic!("{row}");
        };
        let is_there = results.lines().any(|line| {
            line.contains(&format!("| **{ours}** | {old}")) && line.contains(&format!("| {new}"))
        });
        assert!(is_there, "{row}");
    }
}

#[test]
fn readme_is_read_within_a_minute() {
    let lines = document("README.md").lines().count();
    assert!(lines <= 150, "{lines} lines");
}
