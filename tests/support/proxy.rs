//! Something between a client and a server that can go away.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A proxy on a loopback port. Its threads end with the connections, the last with the test program.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    open: Mutex<Vec<TcpStream>>,
    refuses: AtomicBool,
    tries: AtomicU64,
    connections: AtomicU64,
}

impl Proxy {
    /// In front of this server.
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                accepting.tries.fetch_add(1, Ordering::SeqCst);
                // Who is refused is hung up on at once.
                if accepting.refuses.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                accepting.pass(&client, &server);
            }
        });
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where a client connects.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Cuts every connection; new ones are taken.
    pub fn cut(&self) {
        for socket in self.shared.open.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Cuts every connection, and takes none any more.
    pub fn refuse(&self) {
        self.shared.refuses.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Takes connections again.
    pub fn accept(&self) {
        self.shared.refuses.store(false, Ordering::SeqCst);
    }

    /// Connections so far, those that were refused included.
    pub fn tries(&self) -> u64 {
        self.shared.tries.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn pass(&self, client: &TcpStream, server: &TcpStream) {
        let copies = || (client.try_clone().unwrap(), server.try_clone().unwrap());
        let (held_client, held_server) = copies();
        self.open.lock().unwrap().extend([held_client, held_server]);
        let (from_client, to_server) = copies();
        thread::spawn(move || pump(from_client, to_server));
        let (to_client, from_server) = copies();
        thread::spawn(move || pump(from_server, to_client));
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
