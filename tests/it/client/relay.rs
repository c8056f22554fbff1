//! A relay before a server, which can lose connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes bytes on, both ways.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    open: Mutex<Vec<TcpStream>>,
    is_down: AtomicBool,
    accepted: AtomicUsize,
}

impl Relay {
    /// A relay to this address.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                accepting.accepted.fetch_add(1, Ordering::SeqCst);
                if accepting.is_down.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(onwards) = TcpStream::connect(server) else {
                    continue;
                };
                let both = [&socket, &onwards].map(|it| it.try_clone().unwrap());
                accepting.open.lock().unwrap().extend(both);
                let back = (onwards.try_clone().unwrap(), socket.try_clone().unwrap());
                thread::spawn(move || pass_on(socket, onwards));
                thread::spawn(move || pass_on(back.0, back.1));
            }
        });
        Self { address, shared }
    }

    /// Where a client connects.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Loses all connections of the moment.
    pub fn cut(&self) {
        for socket in self.shared.open.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Whether new connections are hung up at once.
    pub fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::SeqCst);
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
