//! TLS in front of a plane.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection};

/// Takes TLS connections and passes what is inside to `inner`; the address to connect to.
pub fn in_front_of(inner: SocketAddr, config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let Ok(plain) = TcpStream::connect(inner) else {
                continue;
            };
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a configuration");
            let connection = Arc::new(Mutex::new(connection));
            let up = (socket.try_clone(), plain.try_clone());
            let (Ok(up_socket), Ok(up_plain)) = up else {
                continue;
            };
            let shared = Arc::clone(&connection);
            thread::spawn(move || decrypt(up_socket, up_plain, &shared));
            thread::spawn(move || encrypt(plain, socket, &connection));
        }
    });
    address
}

fn decrypt(mut from: TcpStream, mut to: TcpStream, connection: &Mutex<ServerConnection>) {
    let mut sealed = vec![0; 64 << 10];
    'all: while let Ok(count @ 1..) = from.read(&mut sealed) {
        let mut rest = &sealed[..count];
        while !rest.is_empty() {
            let mut plain = Vec::new();
            let mut answer = Vec::new();
            {
                let mut connection = connection.lock().unwrap();
                let is_good = connection.read_tls(&mut rest).is_ok()
                    && connection.process_new_packets().is_ok();
                while connection.wants_write() {
                    connection.write_tls(&mut answer).unwrap();
                }
                let mut piece = [0; 4096];
                while let Ok(count @ 1..) = connection.reader().read(&mut piece) {
                    plain.extend(&piece[..count]);
                }
                if from.write_all(&answer).is_err() || !is_good {
                    break 'all;
                }
            }
            if to.write_all(&plain).is_err() {
                break 'all;
            }
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn encrypt(mut from: TcpStream, mut to: TcpStream, connection: &Mutex<ServerConnection>) {
    let mut plain = vec![0; 16 << 10];
    loop {
        let count = from.read(&mut plain).unwrap_or(0);
        let mut sealed = Vec::new();
        let mut connection = connection.lock().unwrap();
        if count == 0 {
            connection.send_close_notify();
        } else {
            connection.writer().write_all(&plain[..count]).unwrap();
        }
        while connection.wants_write() {
            connection.write_tls(&mut sealed).unwrap();
        }
        // Under the lock, so that records leave in the order in which they were made.
        if to.write_all(&sealed).is_err() || count == 0 {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
