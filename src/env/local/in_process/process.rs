//! A process of this machine in the hands of who started it.

use std::sync::Arc;
use std::time::Duration;

use super::events::Events;
use super::stdin_closed;
use crate::env::local::{Process, refusal};
use crate::env::{Confined, EnvironmentError, ProcessEvent, RunningProcess, TerminalSize};
use crate::oneshot;
use crate::rpc::error::RpcError;
use crate::rpc::methods::process::WriteStatus;
use crate::sandbox::launcher::Level;
use crate::sys::pty::WindowSize;

pub(super) struct LocalProcess {
    process: Arc<Process>,
    events: Arc<Events>,
    confined: Option<Confined>,
}

impl LocalProcess {
    pub(super) fn new(process: Arc<Process>, events: Arc<Events>, level: Option<Level>) -> Self {
        Self {
            process,
            events,
            confined: level.map(|level| Confined {
                sandbox_type: level.sandbox_type().to_owned(),
                launcher: Some(level.launcher.name().to_owned()),
                weaker: level.weaker,
            }),
        }
    }
}

impl RunningProcess for LocalProcess {
    fn next_event(&self, timeout: Duration) -> Result<Option<ProcessEvent>, EnvironmentError> {
        Ok(self.events.next(timeout))
    }

    fn confined(&self) -> Option<&Confined> {
        self.confined.as_ref()
    }

    fn write(&self, data: &[u8]) -> Result<(), EnvironmentError> {
        let (sender, receiver) = oneshot::channel();
        let reply = move |outcome| sender.send(outcome);
        self.process.write(None, data.to_vec(), Box::new(reply));
        // The end of the process answers too, so nobody waits for ever.
        match receiver.wait(None) {
            Ok(Ok(WriteStatus::Accepted)) => Ok(()),
            Ok(Ok(_)) | Err(_) => Err(stdin_closed()),
            Ok(Err(error)) => Err(RpcError::from(error).into()),
        }
    }

    fn close_stdin(&self) -> Result<(), EnvironmentError> {
        match self.process.close_stdin() {
            WriteStatus::Accepted => Ok(()),
            _ => Err(stdin_closed()),
        }
    }

    fn resize(&self, size: TerminalSize) -> Result<(), EnvironmentError> {
        let size = WindowSize {
            rows: size.rows,
            cols: size.cols,
        };
        let outcome = self.process.resize(size);
        Ok(outcome.map_err(|error| refusal::cannot_resize(self.process.id(), &error))?)
    }

    fn signal(&self, name: &str) -> Result<(), EnvironmentError> {
        let signal = refusal::signal_named(name)?;
        let mut outcome = Ok(());
        self.process.signal(signal, |sent| outcome = sent);
        Ok(outcome.map_err(|error| refusal::cannot_signal(signal, &error))?)
    }

    fn terminate(&self, grace: Duration) -> Result<(), EnvironmentError> {
        let grace = Some(grace).filter(|grace| !grace.is_zero());
        self.process.terminate(grace, |_| {});
        Ok(())
    }
}

impl Drop for LocalProcess {
    fn drop(&mut self) {
        // Nobody takes its output any more, which must not stop the program.
        self.process.detach();
    }
}
