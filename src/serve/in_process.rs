//! This machine as an environment of the program that runs here: a server at the other end of a
//! socket pair.
//!
//! It listens nowhere, takes no signals, makes the program no parent of orphans, and reaps no child
//! that it has not started. Its one connection's thread forgets what has expired. What it has started
//! ends with it, as does what has left its group; when the whole program dies the guardian kills
//! them.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use super::config::Options;
use super::connection::Peer;
use super::injector::serve_lines;
use super::server::{KILL_TIME, Server};
use crate::env::Environment;
use crate::env::local::Host;
use crate::sandbox::journal::Journal;
use crate::sandbox::launcher::Launchers;
use crate::sys::poll::WakeEvent;
use crate::sys::sync::Mutex;

/// This machine, with the server's limits on processes. They die with the environment.
///
/// A sandbox made by bwrap begins with this program's own file, so a program whose `main` does not
/// begin with [`take_over`](crate::env::local::take_over) confines by Landlock alone, or refuses.
pub fn local_environment() -> Environment {
    let server = Mutex::<Option<InProcess>>::default();
    Environment::local(move || {
        let mut server = server.lock();
        let server = match &mut *server {
            Some(server) => server,
            none => none.insert(InProcess::begin()?),
        };
        server.connect()
    })
}

/// A server for this program alone.
pub(crate) struct InProcess(Arc<Server>);

impl InProcess {
    pub(crate) fn begin() -> io::Result<Self> {
        let options = Options::default();
        let launchers = Launchers::new(options.sandbox.clone(), Journal::open());
        let cannot = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot prepare to start processes: {error}"),
            )
        };
        let host = Arc::new(Host::new(options.processes, launchers).map_err(cannot)?);
        let wake = Arc::new(WakeEvent::new().map_err(cannot)?);
        Ok(Self(Arc::new(Server::new(&options, host, wake))))
    }

    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        serve_lines(&self.0, theirs, Peer::InProcess)?;
        Ok(ours)
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        let server = &self.0;
        server.services.drain();
        server.services.confined.close();
        // The program may end next, and nothing is to be left then.
        for session in server.sessions.all() {
            session.end_and_wait();
        }
        let confined = &server.services.confined;
        confined.wait_until_none(Instant::now() + KILL_TIME);
        let host = &server.services.host;
        host.end_cgroups(Instant::now() + KILL_TIME);
        server.hang_up();
    }
}
