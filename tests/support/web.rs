//! A web server on loopback that does what a test tells it, however wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::tls::server_config;

/// A root that vouches for [`Web::serve_tls`], as a file for `SSL_CERT_FILE`.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/tls/root.pem");
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/tls/server.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/tls/server.key");

/// A request that came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// `GET /x HTTP/1.1`
    pub line: String,
    pub host: String,
    /// As they came, `host` left out.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    /// The path with its query.
    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let of_name = |(its, _): &&(String, String)| its == name;
        self.headers
            .iter()
            .find(of_name)
            .map(|(_, value)| value.as_str())
    }
}

/// What a behaviour answers through.
pub trait Wire: Read + Write {
    /// Sends an answer: a status line and headers in text, and a body whose length is told.
    fn reply(&mut self, head: &str, body: &[u8]) {
        let length = body.len();
        let head = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n");
        self.raw(head.as_bytes());
        self.raw(body);
    }

    /// Sends bytes as they are. A client that has hung up does not matter.
    fn raw(&mut self, bytes: &[u8]) {
        let _ = self.write_all(bytes).and_then(|()| self.flush());
    }

    /// Waits until the client hangs up.
    fn await_end(&mut self) {
        while let Ok(1..) = self.read(&mut [0; 1024]) {}
    }
}

impl<T: Read + Write> Wire for T {}

type Behaviour = dyn Fn(&Asked, &mut dyn Wire) + Send + Sync;

/// A server; each request is answered on a thread and its connection closed after that.
pub struct Web {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    open: AtomicUsize,
}

impl Web {
    /// Serves HTTP.
    pub fn serve(behave: impl Fn(&Asked, &mut dyn Wire) + Send + Sync + 'static) -> Self {
        Self::start("http", None, Arc::new(behave))
    }

    /// Serves HTTPS with a certificate of [`ROOT`].
    pub fn serve_tls(behave: impl Fn(&Asked, &mut dyn Wire) + Send + Sync + 'static) -> Self {
        let config = server_config(CERTIFICATE, KEY);
        Self::start("https", Some(config), Arc::new(behave))
    }

    fn start(scheme: &'static str, tls: Option<Arc<ServerConfig>>, behave: Arc<Behaviour>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let accepted = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (behave, shared, tls) =
                    (Arc::clone(&behave), Arc::clone(&accepted), tls.clone());
                shared.open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    match tls {
                        None => answer(socket, &*behave, &shared),
                        Some(tls) => {
                            let connection = ServerConnection::new(tls).unwrap();
                            answer(StreamOwned::new(connection, socket), &*behave, &shared);
                        }
                    }
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            scheme,
            shared,
        }
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// The same by another name of the same machine.
    pub fn url_by_name(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.address.port())
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

fn answer(stream: impl Read + Write, behave: &Behaviour, shared: &Shared) {
    let mut stream = BufReader::new(stream);
    let Some(asked) = read_request(&mut stream) else {
        return;
    };
    shared.asked.lock().unwrap().push(asked.clone());
    behave(&asked, stream.get_mut());
}

fn read_request(stream: &mut impl BufRead) -> Option<Asked> {
    let mut asked = Asked::default();
    stream
        .read_line(&mut asked.line)
        .ok()
        .filter(|count| *count > 0)?;
    asked.line.truncate(asked.line.trim_end().len());
    loop {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let value = value.trim().to_owned();
        if name == "host" {
            asked.host = value;
        } else {
            asked.headers.push((name.to_owned(), value));
        }
    }
    let length = asked.header("content-length");
    let length = length.map_or(0, |length| length.parse().unwrap());
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body).ok()?;
    Some(asked)
}
