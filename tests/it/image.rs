//! The image that tools/image.py makes: what is in it, and what podman does with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Environments, Need, Scratch, Server, finish, scratch};

/// Makes the image of the program under test.
fn make(scratch: &Scratch, name: &str) -> String {
    let out = scratch.path(name);
    let mut image = Command::new("python3");
    image
        .arg(format!("{}/tools/image.py", env!("CARGO_MANIFEST_DIR")))
        .args([&out, "9.9.9"])
        .arg(format!(
            "{}={}",
            architecture(),
            Server::command().get_program().display()
        ))
        .env("SOURCE_DATE_EPOCH", "1700000000");
    let output = finish(image, b"");
    assert!(output.status.success(), "{output:?}");
    out
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

fn unpack(archive: &str, into: &str) {
    fs::create_dir_all(into).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-xpf", archive, "-C", into]);
    assert!(finish(tar, b"").status.success());
}

#[test]
fn the_image_is_the_program_and_a_tmp_and_the_same_bytes_each_time() {
    needs!(Need::Program("python3"));
    let scratch = scratch();
    let image = make(&scratch, "image.tar");
    assert!(fs::read(&image).unwrap() == fs::read(make(&scratch, "again.tar")).unwrap());
    let layout = scratch.path("layout");
    unpack(&image, &layout);
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(format!("{layout}/{name}")).unwrap()).unwrap()
    };
    let blob = |of: &Value| {
        let digest = of["digest"].as_str().unwrap().replace(':', "/");
        let path = format!("blobs/{digest}");
        let size = fs::metadata(format!("{layout}/{path}")).unwrap().len();
        assert_eq!(of["size"], size, "{of}");
        path
    };
    let manifest = read(&blob(&read("index.json")["manifests"][0]));
    let config = read(&blob(&manifest["config"]));
    assert_eq!(config["config"]["Entrypoint"][0], "/exec-server");
    assert_eq!(config["architecture"], architecture());
    let root = scratch.path("root");
    unpack(&format!("{layout}/{}", blob(&manifest["layers"][0])), &root);
    let mut names = crate::support::names(&root);
    names.sort();
    assert_eq!(names, ["exec-server", "tmp"]);
    let mode = |name: &str| {
        fs::metadata(format!("{root}/{name}"))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode("tmp") & 0o7777, 0o1777);
    assert_eq!(mode("exec-server") & 0o7777, 0o755);
}

/// podman, with a storage of its own that goes with it.
struct Podman {
    scratch: Scratch,
}

impl Podman {
    /// With the image loaded.
    fn new() -> Self {
        let podman = Self { scratch: scratch() };
        let image = make(&podman.scratch, "image.tar");
        podman.ok(&["load", "-q", "-i", &image]);
        podman
    }

    /// How it is called; runc, since crun refuses machines with cgroups of both versions.
    fn words(&self) -> Vec<String> {
        let (root, run) = (self.scratch.path("root"), self.scratch.path("run"));
        let words = [
            "podman",
            "--root",
            &root,
            "--runroot",
            &run,
            "--storage-driver",
            "vfs",
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "file",
            "--runtime",
            "runc",
        ];
        words.map(str::to_owned).to_vec()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let words = self.words();
        let mut podman = Command::new(&words[0]);
        podman.args(&words[1..]).args(arguments);
        finish(podman, b"")
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "podman {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

const IMAGE: &str = "localhost/exec-server:9.9.9";

/// Without a network, and with limits that any machine has.
const PLAIN: [&str; 5] = [
    "--network=none",
    "--ulimit",
    "nofile=1024:1024",
    "--ulimit",
    "nproc=4096:4096",
];

/// Whether podman runs containers here at all; a note of the test is written if not.
macro_rules! podman {
    () => {{
        needs!(
            Need::Root,
            Need::MountNamespaces,
            Need::Program("podman"),
            Need::Program("runc"),
            Need::Program("python3")
        );
        Podman::new()
    }};
}

#[test]
fn a_container_serves_is_healthy_copies_itself_into_a_volume_and_ends_in_order() {
    let podman = podman!();
    let volume = podman.scratch.path("volume");
    fs::create_dir(&volume).unwrap();
    let mount = format!("{volume}:/shared");
    podman.ok(&[
        &["run", "--rm", "-v", &mount],
        &PLAIN[..],
        &[IMAGE, "install-to", "/shared"],
    ]
    .concat());
    let program = Server::command().get_program().to_owned();
    assert!(fs::read(format!("{volume}/exec-server")).unwrap() == fs::read(program).unwrap());

    let id = podman.ok(&[&["run", "-d"], &PLAIN[..], &[IMAGE]].concat());
    let is_healthy = || {
        podman
            .run(&["exec", &id, "exec-server", "health"])
            .status
            .success()
    };
    crate::support::within(Duration::from_secs(20), "it is healthy", is_healthy);

    // A client elsewhere works in it over `podman exec -i`.
    let environments = Environments::start();
    let mut args = podman.words().split_off(1);
    args.extend(["exec", "-i", &id, "exec-server", "--listen", "stdio"].map(str::to_owned));
    environments.configure(&format!(
        "default = \"box\"\n[[environments]]\nid = \"box\"\nprogram = \"podman\"\nargs = {args:?}\n"
    ));
    let told = environments.stdout(&["run", "exec-server", "--version"]);
    assert!(told.starts_with("exec-server "), "{told}");

    let begun = Instant::now();
    podman.ok(&["stop", "-t", "20", &id]);
    assert!(begun.elapsed() < Duration::from_secs(15));
    let code = podman.ok(&["inspect", &id, "--format", "{{.State.ExitCode}}"]);
    assert_eq!(code, "0");
    podman.ok(&["rm", &id]);
}

#[test]
fn under_dockers_profile_a_container_confines_by_landlock_or_says_why_not() {
    let podman = podman!();
    let profile = format!(
        "seccomp={}/tests/data/docker-seccomp.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let output = podman.run(
        &[
            &["run", "--rm", "--security-opt", &profile],
            &PLAIN[..],
            &[IMAGE, "doctor", "--json"],
        ]
        .concat(),
    );
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let policies = report["policies"].as_object().unwrap();
    assert!(!policies.is_empty(), "{report}");
    for (name, policy) in policies {
        let is_told = policy["available"] == true || policy["remedy"].to_string().len() > 10;
        assert!(is_told, "{name}: {report}");
    }
}
