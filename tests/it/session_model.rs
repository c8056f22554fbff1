//! Some rounds of the session model, always the same ones; `make chaos` plays others.

use crate::support::{Server, session_model};

#[test]
fn sessions_at_random_do_what_the_model_says() {
    let server = Server::websocket(&[]);
    for seed in 1..=100 {
        if let Err(why) = session_model::play(&server, seed) {
            panic!("{why}");
        }
    }
}
