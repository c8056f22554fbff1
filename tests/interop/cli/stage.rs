//! The setting of one scenario: directories, a remote, a model, and a client that knows both.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::model::Model;
use super::proxy::Proxy;
use super::remote::{self, Listening};
use super::turn::Turn;
use crate::isolation::Place;
use crate::subject::{Generation, Transport, Whose};

/// One scenario's setting; everything in it ends with it.
pub struct Stage {
    pub generation: Generation,
    /// The work directory as the client knows it. On the remote its content is another.
    pub work: PathBuf,
    /// The content of the work directory on the remote.
    pub disk: PathBuf,
    /// What the client's connections run through, on a websocket.
    pub proxy: Option<Proxy>,
    root: PathBuf,
    client: PathBuf,
    url: Option<String>,
    model: Option<Model>,
    _listening: Option<Listening>,
}

impl Stage {
    /// Makes the directories, starts the server, writes the client's configuration.
    pub fn set(
        place: &Place,
        name: &str,
        client: &Path,
        server: &Path,
        whose: Whose,
        generation: Generation,
        transport: Transport,
    ) -> Self {
        let root = root(place, name, whose);
        let _ = std::fs::remove_dir_all(&root);
        let [work, disk, home, far_home] = ["work", "disk", "home", "far-home"].map(|name| {
            let path = root.join(name);
            std::fs::create_dir_all(&path).expect("the run's directory can be written");
            path
        });
        write(&work.join("only-here.txt"), "the client's own disk\n");
        write(&disk.join("only-there.txt"), "the remote's disk\n");
        let model = Model::new();
        write(&home.join("config.toml"), &config(&model.base_url()));
        let recipe = remote::recipe(server, whose, transport, &disk, &work, &far_home);
        let mut stage = Self {
            generation,
            work,
            disk,
            proxy: None,
            client: client.to_path_buf(),
            url: None,
            model: Some(model),
            _listening: None,
            root,
        };
        let reach = match transport {
            Transport::Websocket => {
                let listening = remote::listen(&recipe, &stage.root.join("server.log"));
                let proxy = Proxy::to(listening.address);
                let url = format!("ws://{}", proxy.address);
                stage._listening = Some(listening);
                stage.proxy = Some(proxy);
                stage.url = Some(url.clone());
                format!("url = {url:?}\n")
            }
            Transport::Stdio => {
                let quoted =
                    |text: &std::ffi::OsStr| toml(text.to_str().expect("paths of a run are text"));
                let arguments: Vec<String> =
                    recipe.words[1..].iter().map(|word| quoted(word)).collect();
                let mut reach = format!(
                    "program = {}\nargs = [{}]\n",
                    quoted(&recipe.words[0]),
                    arguments.join(", ")
                );
                reach += "[environments.env]\n";
                for (name, value) in &recipe.environment {
                    let _ = writeln!(reach, "{name} = {}", quoted(value.as_os_str()));
                }
                reach
            }
        };
        if generation != Generation::V130 {
            let head = "default = \"far\"\ninclude_local = false\n[[environments]]\nid = \"far\"\n";
            write(
                &stage.root.join("home/environments.toml"),
                &format!("{head}{reach}"),
            );
        }
        stage
    }

    /// Puts a file on the remote's disk.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        put(&self.disk, name, content.as_ref());
    }

    /// Puts a file on the client's disk, where it must do no harm.
    pub fn decoy(&self, name: &str, content: impl AsRef<[u8]>) {
        put(&self.work, name, content.as_ref());
    }

    /// Adds to the client's configuration.
    pub fn configure(&self, text: &str) {
        let path = self.root.join("home/config.toml");
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        write(&path, &(known + text));
    }

    /// A file of the remote's disk, if it is there.
    pub fn there(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.disk.join(name)).ok()
    }

    /// Starts the client and waits for its first request.
    pub fn begin(&mut self) -> Turn {
        let home = self.root.join("home");
        let mut command = Command::new(&self.client);
        command
            .args([
                "exec",
                "--json",
                "--skip-git-repo-check",
                "--dangerously-bypass-approvals-and-sandbox",
                "-C",
            ])
            .arg(&self.work)
            .arg("go on as told")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &home)
            .env("CODEX_HOME", &home);
        // Whatever the client would like to ask of the world, it stays on this machine.
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env(name, "http://127.0.0.1:9");
        }
        command.env("NO_PROXY", "127.0.0.1");
        if self.generation == Generation::V130
            && let Some(url) = &self.url
        {
            command.env("CODEX_EXEC_SERVER_URL", url);
        }
        let model = self.model.take().expect("a stage has one turn");
        Turn::begin(command, model, self.generation, &self.root)
    }
}

/// The end of what the client and the server wrote, for the reader of a failure.
pub fn logs(place: &Place, name: &str, whose: Whose) -> String {
    let mut logs = String::new();
    for log in ["client.jsonl", "client.log", "server.log"] {
        let text = std::fs::read(root(place, name, whose).join(log)).unwrap_or_default();
        let end = String::from_utf8_lossy(&text[text.len().saturating_sub(1500)..]).into_owned();
        let _ = writeln!(logs, "    --- {log}\n{end}");
    }
    logs
}

fn root(place: &Place, name: &str, whose: Whose) -> PathBuf {
    place
        .scratch
        .join(format!("{name} {whose}").replace([' ', ','], "-"))
}

fn put(disk: &Path, name: &str, content: &[u8]) {
    let path = disk.join(name);
    let parent = path.parent().expect("it is below the disk");
    std::fs::create_dir_all(parent).expect("the run's directory can be written");
    std::fs::write(path, content).expect("the run's directory can be written");
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn config(base_url: &str) -> String {
    format!(
        "model = \"gpt-5.2-codex\"\n\
         model_provider = \"scripted\"\n\
         [model_providers.scripted]\n\
         name = \"scripted\"\n\
         base_url = {base_url:?}\n\
         wire_api = \"responses\"\n\
         request_max_retries = 0\n\
         stream_max_retries = 0\n"
    )
}

/// Text as a TOML string: JSON's escapes are TOML's too.
fn toml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
