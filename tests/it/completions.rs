//! `exec-server generate`: completions in the shells themselves, with a terminal, and manual pages as man reads them.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::json;

use crate::support::{Client, Environments, Need, Server, Start, finish, run};

/// A shell that completes, with environments `ws`, `unix`, `stdio` and `slow`, of which the last never answers.
struct Shell {
    environments: Environments,
    client: Client,
    written: usize,
}

impl Shell {
    /// Starts it, has it `load` the completions, and types from then on.
    fn start(argv: &[&str], load: &str) -> Self {
        let environments = Environments::start();
        for name in ["source", "with blank"] {
            fs::create_dir(format!("{}/{name}", environments.there)).unwrap();
        }
        fs::write(format!("{}/source/main.rs", environments.there), "").unwrap();
        fs::write(format!("{}/source/steers\x1b[2J", environments.there), "").unwrap();
        let file = environments.scratch.path("environments.toml");
        let slow = "\n[[environments]]\nid = \"slow\"\nprogram = \"sleep\"\nargs = [\"60\"]\n";
        fs::write(&file, fs::read_to_string(&file).unwrap() + slow).unwrap();
        let bin = environments.scratch.path("bin");
        fs::create_dir(&bin).unwrap();
        symlink(
            Server::command().get_program(),
            format!("{bin}/exec-server"),
        )
        .unwrap();
        fs::create_dir(environments.scratch.path("work")).unwrap();
        fs::write(environments.scratch.path("work/sheet.txt"), "").unwrap();
        let mut client = Client::stdio();
        let path = std::env::var("PATH").unwrap_or_default();
        client.start(
            Start::command("p", argv)
                .tty()
                .cwd(&environments.scratch.path("work"))
                .env("PATH", &format!("{bin}:{path}"))
                .env("HOME", &environments.scratch.dir())
                .env("XDG_CONFIG_HOME", &environments.scratch.path("config"))
                .env("EXEC_SERVER_HOME", &environments.scratch.dir())
                .env("TEST_TOKEN", "a-token-that-nobody-guesses")
                .env("PS1", "$ ")
                .env("TERM", "dumb")
                .with("size", json!({"rows": 24, "cols": 300})),
        );
        let mut shell = Self {
            environments,
            client,
            written: 0,
        };
        shell.key(&format!("{load}; echo loa''ded\n"));
        shell
            .client
            .output("p", "pty", |text| text.contains("loaded"));
        shell
    }

    fn key(&mut self, text: &str) {
        self.written += 1;
        self.client
            .write("p", text.as_bytes(), &self.written.to_string());
    }

    /// Types this and a tab, and waits until the line is `line`.
    #[track_caller]
    fn completes(&mut self, typed: &str, line: &str) {
        // Each with a program of its own, so that nothing earlier is taken for it; Ctrl-U leaves an empty line.
        self.key("\x15");
        let before = self.client.output("p", "pty", |_| true).len();
        self.key(&format!("{typed}\t"));
        let shown = |text: &str| text.get(before..).is_some_and(|new| new.contains(line));
        self.client.output("p", "pty", shown);
    }

    fn all(&mut self) {
        self.completes("exec-server doct", "exec-server doctor");
        self.completes("exec-server --metr", "exec-server --metrics");
        self.completes("exec-server run --sandbox wo", "--sandbox workspace-write");
        self.completes("exec-server --log-format=js", "--log-format=json");
        self.completes("exec-server run -e un", "run -e unix");
        self.completes("exec-server cp shee", "cp sheet.txt");
        self.completes("exec-server cp w", "cp ws:");
        self.completes("exec-server cp ws:so", "cp ws:source/");
        self.completes("exec-server cp unix:source/m", "unix:source/main.rs");
        self.completes("exec-server cp -e stdio :source/m", ":source/main.rs");
        self.completes("exec-server cp ws:with", "cp ws:with\\ blank/");
        // One that does not answer delays the line by 2 s, and the shell goes on.
        self.completes("exec-server cp slow:a", "cp slow:a");
        self.completes("exec-server env che", "env check");
        let there = self.environments.there.clone();
        self.completes(&format!("exec-server run -e ws -C {there}/so"), "/source/");
    }
}

#[test]
fn bash_completes_commands_flags_environments_and_paths_behind_a_colon() {
    needs!(Need::Program("bash"));
    let mut shell = Shell::start(
        &["bash", "--norc", "--noprofile", "-i"],
        ". <(exec-server generate bash)",
    );
    shell.all();
}

#[test]
fn zsh_completes_commands_flags_environments_and_paths_behind_a_colon() {
    needs!(Need::Program("zsh"));
    let mut shell = Shell::start(
        &["zsh", "-f", "-i"],
        "unsetopt beep; autoload -U compinit; compinit -u -D; . <(exec-server generate zsh)",
    );
    shell.all();
}

#[test]
fn fish_completes_commands_flags_environments_and_paths_behind_a_colon() {
    needs!(Need::Program("fish"));
    let mut shell = Shell::start(
        &["fish", "--no-config", "-i"],
        "exec-server generate fish | source",
    );
    shell.all();
}

#[test]
fn what_could_steer_a_terminal_is_no_candidate() {
    let environments = Environments::start();
    let name = format!("{}/steers\x1b[2J", environments.there);
    fs::write(name, "").unwrap();
    fs::write(format!("{}/steady", environments.there), "").unwrap();
    let text = environments.stdout(&["__complete", "cp", "unix:st"]);
    assert_eq!(text, "+unix:steady\n");
}

#[test]
fn a_hidden_file_is_a_candidate_behind_a_dot_only() {
    let environments = Environments::start();
    for name in [".hidden", "shown"] {
        fs::write(format!("{}/{name}", environments.there), "").unwrap();
    }
    let listed = |word: &str| environments.stdout(&["__complete", "cp", word]);
    assert_eq!(listed("unix:"), "+unix:shown\n");
    assert_eq!(listed("unix:.h"), "+unix:.hidden\n");
}

#[test]
fn every_command_has_a_manual_page_that_man_reads_without_a_warning() {
    needs!(Need::Program("man"));
    let help = String::from_utf8(run(&["help"]).stdout).unwrap();
    let commands = help.split("Commands:\n").nth(1).unwrap();
    let names = commands
        .lines()
        .map_while(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty());
    let mut pages: Vec<Vec<&str>> = vec![vec!["generate", "man"]];
    pages.extend(names.map(|name| vec!["generate", "man", name]));
    assert!(pages.len() > 8, "{help}");
    for arguments in pages {
        let page = run(&arguments).stdout;
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-"])
            .env("MANWIDTH", "100")
            .env("LC_ALL", "C.UTF-8");
        let output = finish(man, &page);
        let text = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{arguments:?}: {said}"
        );
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "--help"] {
            assert!(
                text.contains(heading),
                "{heading} in {arguments:?}:\n{text}"
            );
        }
    }
}

#[test]
fn generate_refuses_what_it_does_not_make() {
    for arguments in [
        &["generate"][..],
        &["generate", "powershell"],
        &["generate", "man", "nothing"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
