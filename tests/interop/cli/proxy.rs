//! A TCP relay that can cut what runs through it.

use std::io::copy;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The relay; it takes new connections until the program ends.
pub struct Proxy {
    pub address: SocketAddr,
    open: Arc<Mutex<Vec<[TcpStream; 2]>>>,
    taken: Arc<Mutex<usize>>,
}

impl Proxy {
    /// Relays to `server`.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let open: Arc<Mutex<Vec<[TcpStream; 2]>>> = Arc::default();
        let taken: Arc<Mutex<usize>> = Arc::default();
        let (keep, count) = (Arc::clone(&open), Arc::clone(&taken));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                if let Some(both) = relay(&client, &server) {
                    *count.lock().unwrap() += 1;
                    keep.lock().unwrap().push(both);
                }
            }
        });
        Self {
            address,
            open,
            taken,
        }
    }

    /// Cuts every connection; gives how many there were.
    pub fn cut(&self) -> usize {
        let open = std::mem::take(&mut *self.open.lock().unwrap());
        // A side that is gone may have been cut by its other side.
        let cut = |[client, server]: &[TcpStream; 2]| {
            let client = client.shutdown(Shutdown::Both).is_ok();
            server.shutdown(Shutdown::Both).is_ok() || client
        };
        open.iter().filter(|both| cut(both)).count()
    }

    /// Connections taken so far.
    pub fn taken(&self) -> usize {
        *self.taken.lock().unwrap()
    }
}

fn relay(client: &TcpStream, server: &TcpStream) -> Option<[TcpStream; 2]> {
    for (from, to) in [(client, server), (server, client)] {
        let (mut from, mut to) = (from.try_clone().ok()?, to.try_clone().ok()?);
        thread::spawn(move || {
            let _ = copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Some([client.try_clone().ok()?, server.try_clone().ok()?])
}
