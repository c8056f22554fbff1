//! HTTPS and wss, with a certificate that only the test's root vouches for.

use std::io::{BufRead, BufReader, Write, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::{client, environment_at};
use crate::support::plane::{Plane, Style, tls};
use crate::support::{Certificate, Server, Start, finish, scratch};

#[test]
fn registration_and_rendezvous_trust_the_same_roots() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "plane");
    for variable in ["SSL_CERT_FILE", "CODEX_CA_CERTIFICATE"] {
        for (style, transport) in [(Style::Plain, "direct"), (Style::Relay, "relay")] {
            let plane = Plane::start(style);
            let front = tls::in_front_of(plane.address(), certificate.server_config());
            plane.send_executors_to(&format!("wss://{front}"));
            let mut command = environment_at(&format!("https://{front}"), transport);
            command.env(variable, &certificate.certificate);
            let _server = Server::offered(command);
            let mut client = client(&plane);
            client.run(Start::child("p", &["write", "3000000"]));
            assert_eq!(client.observed("p").bytes("stdout").len(), 3_000_000);
        }
    }
}

/// A proxy that knows one host, and the requests that it gets.
fn proxy_to(host: &'static str, front: SocketAddr) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, asked) = channel();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut head = BufReader::new(client.try_clone().unwrap()).lines();
            let request = head.next().unwrap().unwrap();
            // Nothing is sent behind the head before it is answered.
            while head
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let is_known = request.starts_with(&format!("CONNECT {host}:"));
            let _ = tell.send(request);
            let Some(server) = is_known.then(|| TcpStream::connect(front).unwrap()) else {
                continue;
            };
            (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    (address, asked)
}

#[test]
fn registration_and_rendezvous_go_through_the_proxy_that_the_environment_names() {
    const HOST: &str = "plane.invalid";
    let dir = scratch();
    let certificate = Certificate::make_for(&dir, "plane", HOST);
    let plane = Plane::start(Style::Plain);
    let front = tls::in_front_of(plane.address(), certificate.server_config());
    let (proxy, asked) = proxy_to(HOST, front);
    let place = format!("{HOST}:{}", front.port());
    plane.send_executors_to(&format!("wss://{place}"));
    let mut command = environment_at(&format!("https://{place}"), "direct");
    command
        .env("SSL_CERT_FILE", &certificate.certificate)
        .env("HTTPS_PROXY", format!("http://{proxy}"));
    let _server = Server::offered(command);
    let mut client = client(&plane);
    assert_eq!(
        client.run(Start::shell("p", "echo through")).stdout,
        "through\n"
    );
    let asked: Vec<String> = asked.try_iter().collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    for request in asked {
        assert!(
            request.starts_with(&format!("CONNECT {place} HTTP/1.1")),
            "{request}"
        );
    }
}

#[test]
fn a_proxy_that_cannot_be_used_keeps_a_registration_from_being_sent() {
    let mut command = environment_at("https://192.0.2.1", "direct");
    command.env("HTTPS_PROXY", "socks5://u:secret@127.0.0.1:1");
    let output = finish(command, b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.ends_with(
            "Error: environment registry request failed: HTTPS_PROXY is a proxy of the scheme \
             socks5; only http ones are known; check the proxy's variable, or list the host in \
             NO_PROXY\n"
        ),
        "{stderr}"
    );
}

#[test]
fn a_plane_that_nobody_vouches_for_gets_no_token() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "plane");
    let plane = Plane::start(Style::Plain);
    let front = tls::in_front_of(plane.address(), certificate.server_config());
    let output = finish(environment_at(&format!("https://{front}"), "direct"), b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let words = "Error: environment registry request failed: ";
    assert!(
        stderr.contains(words) && stderr.contains("certificate"),
        "{stderr}"
    );
    assert!(plane.asked().is_empty());
}

/// What a control plane in TLS gets that sends us to a `scheme` at a port of this machine where
/// somebody else could be; nobody may come there.
fn sent_to_this_machine(scheme: &str, host: &'static str, words: &str) {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let dir = scratch();
    let certificate = Certificate::make_for(&dir, "plane", host);
    let plane = Plane::start(Style::Plain);
    let front = tls::in_front_of(plane.address(), certificate.server_config());
    let (proxy, _asked) = proxy_to(host, front);
    plane.send_executors_to(&format!("{scheme}://{}", elsewhere.local_addr().unwrap()));
    let base = format!("https://{host}:{}", front.port());
    let mut command = environment_at(&base, "direct");
    command
        .env("SSL_CERT_FILE", &certificate.certificate)
        .env("HTTPS_PROXY", format!("http://{proxy}"));
    let output = finish(command, b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let words = format!("Error: environment registry returned a rendezvous URL that {words}\n");
    assert!(stderr.ends_with(&words), "{stderr}");
    assert!(elsewhere.accept().is_err(), "somebody has come");
}

#[test]
fn a_plane_in_tls_sends_nobody_to_a_rendezvous_in_clear_text() {
    sent_to_this_machine("ws", "127.0.0.1", "is not encrypted");
    sent_to_this_machine("ws", "plane.invalid", "is not encrypted");
}

#[test]
fn a_plane_elsewhere_sends_nobody_to_this_machine() {
    let words = "leads to this machine or its link";
    sent_to_this_machine("wss", "plane.invalid", words);
}
