//! `install.sh` of a release, from a directory and from a web server, in the shells that machines have; and what a
//! release's other tools make. `make release-test` makes a release and installs that.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    Need, Running, Scratch, Server, Web, Wire, finish, names, run, scratch, within,
};

/// The shells that the script has to work in, each with its first argument.
const SHELLS: [&[&str]; 3] = [&["dash"], &["busybox", "sh"], &["bash"]];

fn root(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn digest(path: &OsStr) -> String {
    let mut sum = Command::new("sha256sum");
    sum.arg(path);
    let sum = String::from_utf8(finish(sum, b"").stdout).unwrap();
    sum.split(' ').next().unwrap().to_owned()
}

/// Makes a directory with the program under test and an `install.sh` that expects `digest`; the name of the file.
fn make(directory: &str, digest: &str) -> String {
    let file = format!(
        "exec-server-9.9.9-{}-unknown-linux-musl",
        std::env::consts::ARCH
    );
    fs::create_dir(directory).unwrap();
    let program = Server::command().get_program().to_owned();
    fs::copy(program, format!("{directory}/{file}")).unwrap();
    let script = fs::read_to_string(root("tools/install.sh")).unwrap();
    let script = script
        .replace("\nversion=\n", "\nversion=9.9.9\n")
        .replace("\nbase=\n", "\nbase=''\n")
        .replace(
            "\ndigests=\n",
            &format!("\ndigests='\n{digest}  {file}\n'\n"),
        );
    fs::write(format!("{directory}/install.sh"), script).unwrap();
    file
}

/// Makes a directory as `make release` does, with the program under test.
pub(crate) fn make_release(directory: &str) {
    let digest = digest(Server::command().get_program());
    let file = make(directory, &digest);
    fs::write(
        format!("{directory}/SHA256SUMS"),
        format!("{digest}  {file}\n"),
    )
    .unwrap();
}

/// A release of the program under test, with a script that expects `digest`.
struct Release {
    scratch: Scratch,
    file: String,
}

impl Release {
    fn new() -> Self {
        Self::expecting(&digest(Server::command().get_program()))
    }

    fn expecting(digest: &str) -> Self {
        let scratch = scratch();
        fs::create_dir(scratch.path("home")).unwrap();
        let file = make(&scratch.path("files"), digest);
        Self { scratch, file }
    }

    fn command(&self, shell: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new(shell[0]);
        command
            .args(&shell[1..])
            .arg(self.scratch.path("files/install.sh"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.scratch.path("home"))
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.scratch.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn install(&self, arguments: &[&str]) -> Output {
        finish(self.command(&["sh"], arguments), b"")
    }

    /// It refuses, says `words`, and leaves nothing.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], words: &str) {
        let output = self.install(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
        assert_eq!(self.installed(), [""; 0]);
    }

    /// What is where programs go.
    fn installed(&self) -> Vec<String> {
        let directory = self.scratch.path("home/.local/bin");
        match Path::new(&directory).exists() {
            true => names(&directory),
            false => Vec::new(),
        }
    }
}

#[test]
fn every_shell_installs_from_a_directory_and_the_first_remote_command_follows_within_a_minute() {
    needs!(Need::Program("busybox"), Need::Program("dash"));
    for shell in SHELLS {
        let release = Release::new();
        let begun = Instant::now();
        let output = finish(release.command(shell, &[]), b"");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{shell:?}: {said}");
        assert!(said.contains("is not in PATH: export PATH="), "{said}");
        assert_eq!(release.installed(), ["exec-server"], "{shell:?}");
        let program = release.scratch.path("home/.local/bin/exec-server");
        let mode = fs::metadata(&program).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "{shell:?}");

        let socket = release.scratch.path("socket");
        let mut server = Command::new(&program);
        server.args(["--listen", &format!("unix://{socket}")]);
        server
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let server = Running::new(server.spawn().unwrap());
        within(Duration::from_secs(20), "it listens", || {
            Path::new(&socket).exists()
        });
        let mut client = Command::new(&program);
        client.args(["run", "-e", &format!("unix://{socket}"), "echo", "hello"]);
        let answer = finish(client, b"");
        assert_eq!(answer.stdout, b"hello\n", "{answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(60));
        drop(server);
    }
}

#[test]
fn to_names_the_directory_and_an_installed_program_is_replaced_by_a_rename() {
    let release = Release::new();
    let to = release.scratch.path("with blank");
    fs::create_dir(&to).unwrap();
    fs::write(format!("{to}/exec-server"), "old").unwrap();
    let old = fs::File::open(format!("{to}/exec-server")).unwrap();
    let output = release.install(&["--to", &to]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(names(&to), ["exec-server"]);
    assert_eq!(std::io::read_to_string(old).unwrap(), "old");
    assert!(fs::metadata(format!("{to}/exec-server")).unwrap().len() > 1_000_000);
}

#[test]
fn a_file_with_another_digest_is_refused() {
    Release::expecting(&"0".repeat(64)).refuses(&[], "nothing was installed");
}

#[test]
fn a_file_that_is_cut_off_is_refused_and_what_was_installed_stays() {
    let release = Release::new();
    assert!(release.install(&[]).status.success());
    let file = release.scratch.path(&format!("files/{}", release.file));
    let whole = fs::metadata(&file).unwrap().len();
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(whole - 1)
        .unwrap();
    let output = release.install(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(release.installed(), ["exec-server"]);
    let program = release.scratch.path("home/.local/bin/exec-server");
    assert_eq!(fs::metadata(program).unwrap().len(), whole);
}

/// Installs through a server that behaves so, with only this program to fetch with.
fn fetched(fetcher: &str, behave: fn(&[u8], &mut dyn Wire)) -> (Release, Output) {
    let release = Release::new();
    let bin = release.scratch.path("bin");
    fs::create_dir(&bin).unwrap();
    for name in [
        "uname",
        "sed",
        "mkdir",
        "rm",
        "sha256sum",
        "chmod",
        "mv",
        "sh",
        fetcher,
    ] {
        let place = ["/usr/bin", "/bin"].map(|place| format!("{place}/{name}"));
        let found = place.iter().find(|path| Path::new(path).exists()).unwrap();
        std::os::unix::fs::symlink(found, format!("{bin}/{name}")).unwrap();
    }
    let bytes = fs::read(release.scratch.path(&format!("files/{}", release.file))).unwrap();
    let web = Web::serve(move |_, wire| behave(&bytes, wire));
    let mut command = release.command(&["sh"], &["--from", &web.url("/place")]);
    command.env("PATH", bin);
    let output = finish(command, b"");
    assert_eq!(web.asked()[0].path(), format!("/place/{}", release.file));
    (release, output)
}

#[test]
fn curl_or_wget_fetch_it_and_a_download_that_is_cut_off_leaves_nothing() {
    needs!(Need::Program("curl"), Need::Program("wget"));
    for fetcher in ["curl", "wget"] {
        let (release, output) = fetched(fetcher, |bytes, wire| wire.reply("200 OK", bytes));
        assert!(output.status.success(), "{fetcher}: {output:?}");
        assert_eq!(release.installed(), ["exec-server"], "{fetcher}");
        // One that tells no length, so that the program that fetches it does not notice.
        let (release, output) = fetched(fetcher, |bytes, wire| {
            wire.raw(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            wire.raw(&bytes[..bytes.len() / 2]);
        });
        assert_eq!(output.status.code(), Some(1), "{fetcher}: {output:?}");
        assert_eq!(release.installed(), [""; 0], "{fetcher}");
        let (release, output) = fetched(fetcher, |_, wire| wire.reply("404 Not Found", b"no"));
        assert_eq!(output.status.code(), Some(1), "{fetcher}: {output:?}");
        assert_eq!(release.installed(), [""; 0], "{fetcher}");
    }
}

#[test]
fn an_interrupted_download_leaves_nothing() {
    needs!(Need::Program("curl"));
    let release = Release::new();
    let web = Web::serve(|_, wire| {
        wire.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nbeginning");
        wire.await_end();
    });
    let mut command = release.command(&["sh"], &["--from", &web.url("")]);
    command.process_group(0);
    let child = command.spawn().unwrap();
    let group = format!("-{}", child.id());
    let child = Running::new(child);
    let part = |names: &[String]| names.iter().any(|name| name.ends_with(".part"));
    within(Duration::from_secs(20), "a part is there", || {
        part(&release.installed())
    });
    let mut kill = Command::new("kill");
    kill.args(["-INT", "--", &group]);
    assert!(kill.status().unwrap().success());
    let output = child.finish("install.sh", b"");
    assert!(!output.status.success());
    assert_eq!(release.installed(), [""; 0]);
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused() {
    let release = Release::new();
    for arguments in [&["--to"][..], &["--to", ""], &["here"]] {
        let output = release.install(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let file = release.scratch.path("file");
    fs::write(&file, "").unwrap();
    release.refuses(&["--to", &file], "--to DIR names another directory");
    release.refuses(&["--from", "/nonexistent"], "cannot read /nonexistent/");
    assert!(release.install(&["--help"]).status.success());
}

#[test]
fn the_list_of_parts_has_every_crate_that_is_linked_and_the_bubblewrap_inside() {
    needs!(Need::Program("python3"));
    let mut sbom = Command::new("python3");
    sbom.arg(root("tools/sbom.py"))
        .arg(format!("{}-unknown-linux-musl", std::env::consts::ARCH))
        .arg(Server::command().get_program())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = finish(sbom, b"");
    assert!(output.status.success(), "{output:?}");
    let bom: Value = serde_json::from_slice(&output.stdout).unwrap();
    let parts = bom["components"].as_array().unwrap();
    let named = |name: &str| parts.iter().any(|part| part["name"] == name);
    for name in ["ring", "rustls", "serde_json", "tungstenite", "bubblewrap"] {
        assert!(named(name), "{name} in {bom}");
    }
    // Of a build script, of a macro, of the tests.
    for name in ["cc", "syn", "schemars"] {
        assert!(!named(name), "{name} in {bom}");
    }
    let licensed = run(&["licenses"]).stdout;
    let text = String::from_utf8(licensed).unwrap();
    for part in parts {
        assert!(part["licenses"][0].is_object(), "{part}");
        let (name, version) = (&part["name"], &part["version"]);
        let (name, version) = (name.as_str().unwrap(), version.as_str().unwrap());
        let is_told = text.contains(&format!("{name}-{version}")) || name == "bubblewrap";
        assert!(is_told, "'licenses' does not name {name}-{version}");
    }
}

#[test]
fn pages_that_are_made_of_documents_are_read_by_man_without_a_warning() {
    needs!(Need::Program("python3"), Need::Program("man"));
    for (arguments, word) in [
        (
            &["exec-server", "7", "x", "1", "SECURITY.md"][..],
            "WHO IS TRUSTED",
        ),
        (
            &[
                "environments.toml",
                "5",
                "x",
                "1",
                "docs/command-line.md",
                "Environments",
            ],
            "initialize_timeout_sec",
        ),
    ] {
        let mut page = Command::new("python3");
        page.arg(root("tools/man.py"))
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        let page = finish(page, b"");
        assert!(page.status.success(), "{page:?}");
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-"])
            .env("MANWIDTH", "100")
            .env("LC_ALL", "C.UTF-8");
        let output = finish(man, &page.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{arguments:?}: {said}"
        );
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(word) && !text.contains("**"), "{text}");
    }
}
