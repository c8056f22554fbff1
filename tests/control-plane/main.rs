//! The tests' control plane as a program, to try `--cloud` and `--remote` without an account: `make cloud-demo`.
//!
//! Alone it serves until it is interrupted and says what to type elsewhere. With `--demo PROGRAM` it plays the whole
//! sequence with that `exec-server`, and ends.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use support::plane::{Plane, Style};
use tungstenite::Message;

/// How long a step of the demonstration may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => serve(Style::Plain),
        ["--relay"] => serve(Style::Relay),
        ["--demo", program] => match demonstrate(program) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => eprintln!("cloud-demo: {error}"),
        },
        _ => eprintln!("usage: control-plane [--relay | --demo EXEC-SERVER]"),
    }
    ExitCode::FAILURE
}

/// Serves for ever, and tells what is asked.
fn serve(style: Style) {
    let plane = Plane::start(style);
    let (base, address) = (plane.base(), plane.address());
    println!("A control plane at {base}. In a second terminal, offer a machine:\n");
    match style {
        Style::Plain => {
            println!("  export CODEX_EXEC_SERVER_REMOTE_BEARER_TOKEN=any");
            println!("  exec-server --remote {base} --executor-id demo\n");
        }
        Style::Relay => {
            println!("  export CODEX_API_KEY=any");
            println!("  exec-server --remote {base} --environment-id demo\n");
        }
    }
    println!("and in a third one, run something there:\n");
    println!("  exec-server run -e ws://{address} -- uname -a\n");
    tell(&plane);
}

fn tell(plane: &Plane) {
    let mut told = 0;
    loop {
        let asked = plane.asked();
        for asked in &asked[told..] {
            // What is behind the question mark is a signature.
            let path = asked.path.split('?').next().unwrap_or_default();
            println!(
                "{} {path} {}",
                asked.method,
                String::from_utf8_lossy(&asked.body)
            );
        }
        told = asked.len();
        plane.comes_true(Duration::MAX, || plane.asked().len() > told);
    }
}

/// Ends its program, and waits until it has.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A login that goes when the demonstration does.
struct Home(PathBuf);

impl Home {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("cloud-demo-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        let login = r#"{"auth_mode":"chatgpt","OPENAI_API_KEY":null,"tokens":{"id_token":"a.b.c","access_token":"demo","refresh_token":"demo","account_id":"demo"}}"#;
        std::fs::write(path.join("auth.json"), login)?;
        Ok(Self(path))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn demonstrate(program: &str) -> Result<(), String> {
    let plane = Plane::start(Style::Plain);
    let home = Home::new().map_err(|error| format!("no home for a login: {error}"))?;
    println!("1. A control plane listens at {}.", plane.base());
    println!(
        "2. exec-server --cloud registers there, with the login in {}.",
        home.0.display()
    );
    let mut executor = Command::new(program)
        .args([
            "--cloud",
            "--cloud-base-url",
            &plane.base(),
            "--cloud-name",
            "demo",
        ])
        .env("CODEX_HOME", &home.0)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map(Guarded)
        .map_err(|error| format!("{program}: {error}"))?;
    if let Some(stderr) = executor.0.stderr.take() {
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                println!("   {line}");
            }
        });
    }
    within(&plane, "the executor is at the rendezvous", || {
        plane.executors() == 1
    })?;
    for asked in plane.registrations() {
        println!("   {} {}", asked.method, asked.path);
        println!("   {}", String::from_utf8_lossy(&asked.body));
    }
    println!("3. It has connected to the rendezvous, and a client comes through it:");
    converse(&plane).map_err(|error| format!("the client: {error}"))?;
    println!("4. The rendezvous is cut; the executor registers again.");
    let before = plane.registrations().len();
    plane.cut();
    within(&plane, "the executor is back", || {
        plane.registrations().len() > before && plane.executors() == 1
    })?;
    println!("5. It is back. That is all; docs/cloud.md tells the rest.");
    Ok(())
}

/// What a client says, and hears.
fn converse(plane: &Plane) -> Result<(), Box<dyn std::error::Error>> {
    let socket = TcpStream::connect(plane.address())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (mut websocket, _) = tungstenite::client(format!("ws://{}/", plane.address()), socket)
        .map_err(|error| error.to_string())?;
    for message in [
        r#"{"id":1,"method":"initialize","params":{"clientName":"demo"}}"#,
        r#"{"method":"initialized"}"#,
        r#"{"id":2,"method":"process/start","params":{"processId":"p1","argv":["/bin/sh","-c","echo hello from process $$"],"cwd":"/","env":{},"tty":false}}"#,
    ] {
        println!("   -> {message}");
        websocket.send(Message::text(message))?;
    }
    loop {
        if let Message::Text(text) = websocket.read()? {
            let shown: String = text.chars().take(110).collect();
            println!("   <- {shown}");
            if text.contains("process/closed") {
                return Ok(());
            }
        }
    }
}

fn within(plane: &Plane, what: &str, condition: impl FnMut() -> bool) -> Result<(), String> {
    match plane.comes_true(PATIENCE, condition) {
        true => Ok(()),
        false => Err(format!("not within {PATIENCE:?}: {what}")),
    }
}
