//! The other machine: a mount and a UTS namespace in which the work directory has another content and the host
//! another name.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::children::Guarded;
use crate::subject::{Transport, Whose, listening, server_command};

/// Its host name.
pub const HOSTNAME: &str = "far-away";

/// Becomes the other machine and then the server.
const ENTER: &str = "set -e
mount --bind \"$REMOTE_DISK\" \"$REMOTE_WORK\"
echo \"$REMOTE_NAME\" >/proc/sys/kernel/hostname
cd \"$REMOTE_WORK\"
exec \"$@\"";

/// What is to be started, by us or by the client.
pub struct Recipe {
    pub words: Vec<OsString>,
    pub environment: Vec<(&'static str, PathBuf)>,
}

/// How a server starts on the other machine. `disk` is what it sees at `work`.
pub fn recipe(
    server: &Path,
    whose: Whose,
    transport: Transport,
    disk: &Path,
    work: &Path,
    home: &Path,
) -> Recipe {
    let server = server_command(server, whose, transport, home);
    let mut words: Vec<OsString> = ["unshare", "--mount", "--uts", "/bin/sh", "-c", ENTER, "sh"]
        .into_iter()
        .map(OsString::from)
        .collect();
    words.push(server.get_program().into());
    words.extend(server.get_args().map(OsString::from));
    Recipe {
        words,
        environment: vec![
            ("REMOTE_DISK", disk.into()),
            ("REMOTE_WORK", work.into()),
            ("REMOTE_NAME", HOSTNAME.into()),
            ("CODEX_HOME", home.into()),
            ("HOME", home.into()),
        ],
    }
}

/// A server that listens there.
pub struct Listening {
    pub address: SocketAddr,
    /// Ends with this.
    _server: Guarded,
}

/// Starts a recipe that serves websockets.
pub fn listen(recipe: &Recipe, log: &Path) -> Listening {
    let mut command = Command::new(&recipe.words[0]);
    command
        .args(&recipe.words[1..])
        .envs(recipe.environment.iter().map(|(name, value)| (name, value)))
        .stderr(std::fs::File::create(log).expect("the run's directory can be written"));
    let (server, address) = listening(&mut command);
    Listening {
        address,
        _server: server,
    }
}
