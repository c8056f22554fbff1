//! A real sshd on a loopback port, with keys made for it; for the tests and for the comparison.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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
        let log = fs::File::create(path("log")).map_err(text)?;
        let child = Command::new(PROGRAM)
            .args(["-D", "-e", "-f", &path("config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(text)?;
        let mut sshd = Self {
            child,
            port,
            directory: directory.to_owned(),
        };
        sshd.wait_until_it_listens()?;
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

    fn wait_until_it_listens(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let has_ended = !matches!(self.child.try_wait(), Ok(None));
            if has_ended || begun.elapsed() > Duration::from_secs(10) {
                let mut log = String::new();
                let _ = fs::File::open(self.directory.join("log"))
                    .and_then(|mut file| file.read_to_string(&mut log));
                return Err(format!("{PROGRAM} does not listen: {}", log.trim()));
            }
            // Nobody tells when it does.
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
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
