//! What every test needs: a server under test, a client over either transport, a child program, and waits with an end.
//!
//! It is a crate of its own, so that it is compiled once for the tests, the programs beside them and the comparison.
//! Nothing of exec-server is used: what is tested is the binary.

mod base64;
pub mod chaos;
mod cli;
mod client;
mod http;
pub mod link;
mod logged;
mod need;
mod observed;
pub mod pattern;
pub mod plane;
mod procfs;
mod program;
mod proxy;
pub mod recorded;
mod run;
pub mod sandbox;
mod server;
pub mod session_model;
pub mod sshd;
mod start;
mod tls;
mod transcript;
pub mod vm;
mod web;
mod websocket;
mod within;

pub use base64::{decode, encode};
pub use cli::{EVERY, Environments, REMOTE, Running, command_line, finish};
pub use client::{Client, RpcError, params};
pub use http::{exchange, refused_or_silent, upgrade, upgrade_head};
pub use logged::{Logged, all_logged, logged};
pub use need::{Need, has};
pub use observed::{Event, Sink};
pub use procfs::{
    address_space, alive, anonymous, children_named, cpu_ticks, descendants, descriptors,
    peak_resident, resident, session, signal, thread_names, threads, working_children, zombies_of,
};
pub use program::{Scratch, child, example, names, scratch, through, through_child};
pub use proxy::Proxy;
pub use run::{fails, run};
pub use server::Server;
pub use start::Start;
pub use tls::Certificate;
pub use web::{ROOT, Web, Wire};
pub use websocket::frame;
pub use within::{comes_true, settled, within};

use std::time::Duration;

/// How long a test waits for what must come; generous, because a busy CI machine is not a fault of the server.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// So many bytes of the [`pattern`].
pub fn patterned(count: usize) -> Vec<u8> {
    patterned_from(0, count)
}

/// The same from `offset` of it.
pub fn patterned_from(offset: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    pattern::fill(offset, &mut bytes);
    bytes
}

/// Ends the test, as skipped, where this machine has not what it needs.
#[macro_export]
macro_rules! needs {
    ($($need:expr),+) => {
        $(if !$crate::has($need) {
            return;
        })+
    };
}

/// Makes two tests of one body, one a transport; the body gets a client that has said `initialize` and `initialized`.
#[macro_export]
macro_rules! over_both {
    ($($(#[$meta:meta])* fn $name:ident($client:ident $(, $flag:literal)*) $body:block)*) => {$(
        $(#[$meta])*
        pub mod $name {
            #[allow(unused_imports)]
            use super::*;

            pub fn behaviour($client: &mut $crate::Client) $body

            #[test]
            fn over_stdio() {
                behaviour(&mut $crate::Client::stdio_with(&[$($flag),*]));
            }

            #[test]
            fn over_websocket() {
                behaviour(&mut $crate::Client::websocket_with(&[$($flag),*]));
            }
        }
    )*};
}
