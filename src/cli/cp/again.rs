//! Asking again for what was lost with a connection.
//!
//! The client makes a lost websocket again and takes the session up, but what was under way on it
//! fails: a server may have done it or not. Of what a copy asks for, all can be done twice.

use std::thread;
use std::time::{Duration, Instant};

use crate::rpc::client::ClientError;

/// For how long one thing is asked for again and again: longer than the client's window of 45 s.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);
/// Between two attempts, so that a server that hangs up at once does not keep us busy.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until there is an answer, be it an error. A connection that cannot be had any more is one.
pub(super) fn again<T>(mut ask: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let begun = Instant::now();
    loop {
        match ask() {
            Err(error) if error.is_disconnect() && begun.elapsed() < PATIENCE => {
                thread::sleep(PAUSE);
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_connection_is_a_reason_to_ask_again() {
        let mut outcomes = vec![
            Err(ClientError::Connect("refused".to_owned())),
            Err(ClientError::Disconnected("cut".to_owned())),
            Err(ClientError::Disconnected("cut".to_owned())),
        ];
        let outcome: Result<(), _> = again(|| outcomes.pop().unwrap());
        assert_eq!(outcome, Err(ClientError::Connect("refused".to_owned())));
        assert!(outcomes.is_empty());
    }
}
