//! A real sshd on a loopback port, with keys made for it; for the tests and for the comparison.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The daemon, which insists on being called by its whole path.
const PROGRAM: &str = "/usr/sbin/sshd";

/// A running sshd; killed when dropped.
pub struct Sshd {
    child: Child,
    port: u16,
    directory: PathBuf,
}

impl Sshd {
    /// Starts one with its files in `directory`, which is there.
    ///
    /// # Errors
    /// Why there is none, for whoever skips for it.
    pub fn start(directory: &Path) -> Result<Self, String> {
        if !Path::new(PROGRAM).exists() {
            return Err(format!(
                "there is no {PROGRAM}; the package openssh-server has it"
            ));
        }
        let path = |name: &str| directory.join(name).display().to_string();
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)])
                .stdin(Stdio::null())
                .status();
            if !made.is_ok_and(|made| made.success()) {
                return Err("ssh-keygen does not work here".to_owned());
            }
        }
        let text = |error: std::io::Error| error.to_string();
        fs::copy(path("user.pub"), path("authorized")).map_err(text)?;
        // Where it locks itself up between two logins; only root can make it.
        let _ = fs::create_dir_all("/run/sshd");
        let free = TcpListener::bind("127.0.0.1:0").map_err(text)?;
        let port = free.local_addr().map_err(text)?.port();
        drop(free);
        // With SHLVL bash takes itself for a shell within a shell, and leaves the account's start file
        // alone, which takes as long as it likes and prints what it likes.
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\n\
             UsePAM no\nPidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             MaxStartups 100\nSetEnv SHLVL=1\nSubsystem sftp internal-sftp\nPermitRootLogin prohibit-password\n",
            path("host"),
            path("authorized"),
        );
        fs::write(path("config"), config).map_err(text)?;
        let mut child = Command::new(PROGRAM)
            .args(["-D", "-e", "-f", &path("config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(text)?;
        let stderr = child.stderr.take();
        let sshd = Self {
            child,
            port,
            directory: directory.to_owned(),
        };
        wait_until_it_listens(&lines_of(stderr))?;
        let logged_in = Command::new("ssh")
            .args(sshd.options())
            .args(["127.0.0.1", "true"])
            .stdin(Stdio::null())
            .output();
        match logged_in {
            Ok(output) if output.status.success() => Ok(sshd),
            Ok(output) => Err(format!(
                "nobody can log in to it: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Err(error) => Err(format!("there is no ssh: {error}")),
        }
    }

    /// What ssh and scp need to reach it, but for the host.
    pub fn options(&self) -> Vec<String> {
        let port = format!("Port={}", self.port);
        let key = format!("IdentityFile={}", self.directory.join("user").display());
        let mut options = vec!["-F".to_owned(), "none".to_owned()];
        for option in [
            port.as_str(),
            key.as_str(),
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
        ] {
            options.extend(["-o".to_owned(), option.to_owned()]);
        }
        options
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it logs; read to the end, or it would wait for room some time.
fn lines_of(stderr: Option<ChildStderr>) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        let stderr = stderr.into_iter().map(BufReader::new);
        for line in stderr.flat_map(BufRead::lines).map_while(Result::ok) {
            // Nobody takes what is logged once it listens.
            let _ = sender.send(line);
        }
    });
    lines
}

fn wait_until_it_listens(lines: &Receiver<String>) -> Result<(), String> {
    let begun = Instant::now();
    let mut log = String::new();
    // A channel that ends is a daemon that has ended.
    while let Ok(line) = lines.recv_timeout(Duration::from_secs(10).saturating_sub(begun.elapsed()))
    {
        if line.starts_with("Server listening on") {
            return Ok(());
        }
        log += &line;
        log += "\n";
    }
    Err(format!("{PROGRAM} does not listen: {}", log.trim()))
}
