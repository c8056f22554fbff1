//! When an URL is given up and another one is asked for.

use std::net::TcpListener;

use super::{await_executors, client, environment};
use crate::support::plane::{Plane, Seat, Style};
use crate::support::{PATIENCE, Server, within};

#[test]
fn an_address_where_nobody_is_any_more_is_asked_for_again() {
    let plane = Plane::start(Style::Relay);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    plane.send_executors_to(&format!("ws://{address}"));
    let server = Server::offered(environment(&plane, "relay"));
    within(PATIENCE, "it tries", || {
        server.stderr().contains(&address.to_string())
    });
    plane.send_executors_to(&format!("ws://{}", plane.address()));
    await_executors(&plane, 1);
}

#[test]
fn a_rendezvous_that_always_hangs_up_is_asked_for_again() {
    for (style, transport) in [(Style::Plain, "direct"), (Style::Relay, "relay")] {
        let plane = Plane::start(style);
        plane.seat(std::iter::repeat_n(Seat::Close, 6));
        let _server = Server::offered(environment(&plane, transport));
        client(&plane).still_serves();
        assert_eq!(plane.upgrades().len(), 7);
        assert_eq!(plane.registrations().len(), 3, "{transport}");
    }
}

#[test]
fn a_signature_that_has_run_out_is_asked_for_again() {
    let plane = Plane::start(Style::Plain);
    let _server = Server::offered(environment(&plane, "direct"));
    client(&plane).still_serves();
    plane.seat([Seat::Refuse(403)]);
    plane.cut();
    client(&plane).still_serves();
    assert_eq!(plane.registrations().len(), 2);
}
