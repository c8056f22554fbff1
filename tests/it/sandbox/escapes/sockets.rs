//! Servers of the host, and the network.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::sandbox::{Sandbox, Stage};
use crate::support::{Client, Start};
use exec_server::sys::pass;

/// Counts what reached a server of the host.
#[derive(Clone, Default)]
struct Visits(Arc<AtomicU32>);

impl Visits {
    fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// Answers every connection that `accept` gives.
    fn serve<S: Read + Write>(&self, accept: impl Fn() -> std::io::Result<S> + Send + 'static) {
        let visits = self.clone();
        thread::spawn(move || {
            while let Ok(mut stream) = accept() {
                visits.0.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 64]);
                let _ = stream.write_all(b"welcome");
            }
        });
    }

    /// Counts every datagram that `receive` gives.
    fn hear(&self, receive: impl Fn() -> std::io::Result<()> + Send + 'static) {
        let visits = self.clone();
        thread::spawn(move || {
            while receive().is_ok() {
                visits.0.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
}

/// Fails unless a descriptor comes.
fn receives(socket: impl Into<OwnedFd>) -> std::io::Result<()> {
    let (_, descriptor) = pass::receive(socket.into().as_fd(), &mut [0; 8])?;
    descriptor
        .map(drop)
        .ok_or(std::io::ErrorKind::NotFound.into())
}

fn open_to_all(path: &str) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
}

/// No attempt reaches the server under any of the policies, and every one does without.
fn stays_unvisited(stage: &mut Stage, visits: &Visits, attempts: &[&[&str]], policies: &[Sandbox]) {
    for attempt in attempts {
        let before = visits.count();
        for policy in policies {
            stage.refuses(policy, attempt);
        }
        assert_eq!(
            visits.count(),
            before,
            "{} as {:?}: {attempt:?}",
            stage.launcher,
            stage.who
        );
        stage.works_free(attempt);
        crate::support::within(Duration::from_secs(5), "the visit is counted", || {
            visits.count() == before + 1
        });
    }
}

fn offline_and_online(stage: &Stage) -> Vec<Sandbox> {
    let policies = [Sandbox::read_only(), stage.policy()];
    policies
        .iter()
        .cloned()
        .chain(policies.iter().cloned().map(Sandbox::online))
        .collect()
}

on_every_launcher! {
    fn servers_on_a_path_are_out_of_reach(stage) {
        let path = stage.path("outside/socket");
        let listener = UnixListener::bind(&path).unwrap();
        open_to_all(&path);
        let visits = Visits::default();
        visits.serve(move || listener.accept().map(|(stream, _)| stream));
        let policies = offline_and_online(stage);
        stays_unvisited(stage, &visits, &[&["connect", &path]], &policies);
    }

    fn servers_with_an_abstract_name_are_out_of_reach(stage) {
        let name = format!("exec-server-test-{}-{}-{:?}", std::process::id(), stage.launcher, stage.who);
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let visits = Visits::default();
        visits.serve(move || listener.accept().map(|(stream, _)| stream));
        let policies = offline_and_online(stage);
        stays_unvisited(stage, &visits, &[&["connect-abstract", &name]], &policies);
    }

    fn no_descriptor_reaches_an_accomplice(stage) {
        let path = stage.path("outside/accomplice");
        let listener = UnixListener::bind(&path).unwrap();
        open_to_all(&path);
        let visits = Visits::default();
        visits.hear(move || receives(listener.accept()?.0));
        let datagrams = stage.path("outside/accomplice-of-datagrams");
        let socket = UnixDatagram::bind(&datagrams).unwrap();
        open_to_all(&datagrams);
        visits.hear(move || receives(socket.try_clone()?));
        let policies = offline_and_online(stage);
        stays_unvisited(stage, &visits, &[&["pass", &path], &["pass-in-datagram", &datagrams]], &policies);
        // Nor can the accomplice come to it.
        for policy in &policies {
            stage.refuses(policy, &["listen-path", &stage.path("workspace/socket")]);
            // What it was born with are pipes.
            for number in ["0", "1", "2"] {
                stage.refuses(policy, &["pass-to", number]);
            }
        }
    }

    fn datagrams_to_a_path_do_not_arrive(stage) {
        let path = stage.path("outside/datagrams");
        let socket = UnixDatagram::bind(&path).unwrap();
        open_to_all(&path);
        let visits = Visits::default();
        visits.hear(move || socket.recv(&mut [0; 64]).map(|_| ()));
        let policies = offline_and_online(stage);
        stays_unvisited(stage, &visits, &[&["send", &path], &["sendmsg", &path], &["sendmmsg", &path]], &policies);
    }

    fn datagrams_to_an_abstract_name_do_not_arrive(stage) {
        let name = format!("exec-server-test-datagrams-{}-{}-{:?}", std::process::id(), stage.launcher, stage.who);
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let visits = Visits::default();
        visits.hear(move || socket.recv(&mut [0; 64]).map(|_| ()));
        let policies = offline_and_online(stage);
        stays_unvisited(stage, &visits, &[&["send-abstract", &name]], &policies);
    }

    fn the_network_is_out_of_reach_when_restricted(stage) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let visits = Visits::default();
        visits.serve(move || listener.accept().map(|(stream, _)| stream));
        let policies = [Sandbox::read_only(), stage.policy()];
        stays_unvisited(stage, &visits, &[&["tcp", &address], &["fast-open", &address]], &policies);

        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let visits = Visits::default();
        visits.hear(move || socket.recv(&mut [0; 64]).map(|_| ()));
        stays_unvisited(stage, &visits, &[&["udp", &address]], &policies);
        stage.refuses(&Sandbox::read_only(), &["listen", "127.0.0.1:0"]);
    }

    fn the_network_is_there_when_enabled(stage) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Visits::default().serve(move || listener.accept().map(|(stream, _)| stream));
        assert_eq!(stage.allows(&Sandbox::read_only().online(), &["tcp", &address]), "welcome");
        stage.allows(&Sandbox::read_only().online(), &["listen", "127.0.0.1:0"]);
    }

    fn families_beyond_the_internet_are_refused(stage) {
        // Netlink, packets, the kernel's ciphers, virtual machines; each with a type that it has.
        for family in [["16", "3", "0"], ["17", "3", "0"], ["38", "5", "0"], ["40", "1", "0"], ["2", "1", "0"], ["10", "2", "0"]] {
            let attempt = [&["family"][..], &family].concat();
            stage.refuses(&Sandbox::read_only(), &attempt);
        }
        for family in [["17", "3", "0"], ["38", "5", "0"], ["40", "1", "0"]] {
            let attempt = [&["family"][..], &family].concat();
            stage.refuses(&Sandbox::read_only().online(), &attempt);
        }
        stage.works_free(&["family", "16", "3", "0"]);
    }

    fn a_pair_of_sockets_does_all_that_pairs_do(stage) {
        for policy in offline_and_online(stage) {
            for kind in ["stream", "packets"] {
                let start = stage.attempt(&on_pairs(kind)).with("sandbox", policy.json());
                all_on_pairs(&stage.client.run(start).stdout);
            }
            stage.refuses(&policy, &["pair", "datagrams", "send"]);
        }
    }

    fn a_pair_of_sockets_reaches_nobody_else(stage) {
        let path = stage.path("outside/datagrams");
        let socket = UnixDatagram::bind(&path).unwrap();
        open_to_all(&path);
        let visits = Visits::default();
        visits.hear(move || socket.recv(&mut [0; 64]).map(|_| ()));
        for policy in offline_and_online(stage) {
            for call in ["send", "sendmsg", "sendmmsg"] {
                stage.refuses(&policy, &["pair", "stream", call, &path]);
                // The kernel knows no address of packets, and gives them to the other end; `send` does not get that far.
                let outcome = stage.confined(&policy, &["pair", "packets", call, &path]);
                let is_refused = outcome.stdout.starts_with("failed");
                assert!(is_refused || outcome.stdout == "did x\n", "{call}: {outcome:?}");
            }
        }
        assert_eq!(visits.count(), 0);
        // It could have been heard.
        stage.works_free(&["send", &path]);
        crate::support::within(Duration::from_secs(5), "the visit is counted", || visits.count() == 1);
    }

    fn what_no_program_needs_of_a_pair_is_refused_without_a_network(stage) {
        for attempt in ["send-out-of-line", "sendmsg-out-of-line", "sendmmsg-out-of-line", "attach-filter"] {
            stage.works_free(&["pair", "stream", attempt]);
            stage.refuses(&Sandbox::read_only(), &["pair", "stream", attempt]);
        }
    }
}

/// Every call on a pair, one attempt each.
fn on_pairs(kind: &str) -> Vec<&str> {
    let calls = ON_PAIRS.map(|(call, _)| ["pair", kind, call]);
    calls.join(&"--")
}

/// What a program calls on a pair, and what it gets.
const ON_PAIRS: [(&str, &str); 14] = [
    ("send", "x"),
    ("sendmsg", "x"),
    ("sendmmsg", "x"),
    ("recv", "x"),
    ("recvmsg", "x"),
    ("recvmmsg", "x"),
    ("poll", "1"),
    ("select", "1"),
    ("epoll", "1"),
    ("shutdown", "0"),
    // AF_UNIX
    ("getsockopt", "1"),
    ("setsockopt", ""),
    ("getsockname", ""),
    ("getpeername", ""),
];

#[track_caller]
fn all_on_pairs(stdout: &str) {
    let expected: Vec<String> = ON_PAIRS
        .iter()
        .map(|(_, got)| format!("did {got}").trim_end().to_owned())
        .collect();
    let found: Vec<&str> = stdout.lines().collect();
    assert_eq!(found, expected, "of {ON_PAIRS:?}");
}

#[test]
fn a_pair_of_sockets_works_where_only_the_network_is_denied() {
    let mut client = Client::stdio();
    let permissions = json!({"type": "external", "network": "restricted"});
    let sandbox = json!({"permissions": permissions, "windowsSandboxLevel": "disabled"});
    for kind in ["stream", "packets"] {
        let attempts = [&["attempt"][..], &on_pairs(kind)].concat();
        let start = Start::child(kind, &attempts).with("sandbox", sandbox.clone());
        all_on_pairs(&client.run(start).stdout);
    }
}
