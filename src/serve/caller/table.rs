//! The same answer as by netlink from `/proc/net/tcp`, where netlink is not to be had: a list of
//! all connections, which takes the longer the more there are.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::sys::sock_diag::TcpEnd;

/// Lines have some 200 bytes.
const MAX_LINE: u64 = 4096;

/// The end at `local` of the connection with `remote`; none if there is none, or more than one.
///
/// # Errors
/// The table cannot be read.
pub(super) fn tcp_end(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<TcpEnd>> {
    let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
    let wanted = (canonical(local), canonical(remote));
    let mut found = Vec::new();
    let mut look = |path| {
        for_each_end(BufReader::new(File::open(path)?), |end| {
            if (canonical(end.local), canonical(end.remote)) == wanted {
                found.push(end);
            }
        })
    };
    let read = look("/proc/self/net/tcp");
    // A socket of version 6 may be connected to an address of version 4. Its table is missing
    // where the kernel has no version 6.
    let read_6 = look("/proc/self/net/tcp6");
    if wanted.0.0.is_ipv4() {
        read?;
    } else {
        read_6?;
    }
    Ok(match found[..] {
        [end] => Some(end),
        _ => None,
    })
}

fn for_each_end(mut table: impl BufRead, mut visit: impl FnMut(TcpEnd)) -> io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if (&mut table).take(MAX_LINE).read_line(&mut line)? == 0 {
            return Ok(());
        }
        // The first line has names.
        if let Some(end) = end(&line) {
            visit(end);
        }
    }
}

fn end(line: &str) -> Option<TcpEnd> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let local = address(words.next()?)?;
    let remote = address(words.next()?)?;
    let state = u8::from_str_radix(words.next()?, 16).ok()?;
    // Queues, timers, retransmissions.
    let mut words = words.skip(3);
    let user = words.next()?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    Some(TcpEnd {
        local,
        remote,
        state,
        user,
        inode,
    })
}

/// An address as words of 32 bits, each as this machine reads it from the network's order; behind
/// a colon the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = Vec::with_capacity(16);
    for at in (0..words.len()).step_by(8) {
        let word = u32::from_str_radix(words.get(at..at + 8)?, 16).ok()?;
        octets.extend(word.to_ne_bytes());
    }
    let ip: IpAddr = match octets.len() {
        4 => Ipv4Addr::from(*octets.first_chunk()?).into(),
        16 => Ipv6Addr::from(*octets.first_chunk()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn an_end_is_found_in_the_tables() {
        for place in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            if place.starts_with('[') && !support::has(support::Need::Ipv6) {
                continue;
            }
            let listener = TcpListener::bind(place).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, remote) = listener.accept().unwrap();
            let end = tcp_end(remote, server.local_addr().unwrap()).unwrap();
            let end = end.expect("in a table");
            assert_eq!(end.local.port(), client.local_addr().unwrap().port());
            assert_eq!((end.state, end.user), (1, crate::sys::identity::user_id()));
            assert_ne!(end.inode, 0);
            let nowhere = "127.0.0.1:1".parse().unwrap();
            assert_eq!(tcp_end(nowhere, nowhere).unwrap(), None);
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn lines_are_read_as_the_kernel_writes_them() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:9C40 0100007F:223D 01 00000000:00000000 02:00000A8C 00000000  1000        0 4321 2 0000 20 4 30 10 -1\n   \
             1: 0100007F:9C40 0100007F:223D 06 00000000:00000000 03:000017 00000000     0        0 0 3 0000\n   \
             2: 0000000000000000FFFF00000100007F:0050 00000000000000000000000001000000:1F90 05 0:0 0:0 0 7 0 9\n   \
             3: 0100007F:9C40\n   4: 0100007F:9C40 007F:223D 01 0:0 0:0 0 0 0 1\n\n";
        let mut ends = Vec::new();
        for_each_end(table.as_bytes(), |end| ends.push(end)).unwrap();
        let read: Vec<_> = ends
            .iter()
            .map(|end| {
                let addresses = format!("{} {}", end.local, end.remote);
                (addresses, end.state, end.user, end.inode)
            })
            .collect();
        let first = "127.0.0.1:40000 127.0.0.1:8765".to_owned();
        let last = "[::ffff:127.0.0.1]:80 [::1]:8080".to_owned();
        assert_eq!(
            read,
            [
                (first.clone(), 1, 1000, 4321),
                (first, 6, 0, 0),
                (last, 5, 7, 9)
            ]
        );
    }
}
