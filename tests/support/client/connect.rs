//! Where a client comes from: a server of its own on either transport, or an address.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{ChildStdin, ChildStdout, Command};

use super::Client;
use crate::link::Link;
use crate::{Server, upgrade};

impl Client {
    /// A server on stdio and its client, nothing said.
    pub fn stdio_silent(flags: &[&str]) -> Self {
        Self::of(Server::stdio(flags))
    }

    fn of((server, stdin, stdout): (Server, ChildStdin, ChildStdout)) -> Self {
        let mut client = Self::new(Link::stdio(stdin, stdout));
        client.server = Some(server);
        client
    }

    /// A server on stdio and its client, initialized.
    pub fn stdio() -> Self {
        Self::stdio_with(&[])
    }

    /// The same with flags.
    pub fn stdio_with(flags: &[&str]) -> Self {
        let mut client = Self::stdio_silent(flags);
        client.initialize();
        client
    }

    /// A client of a command that serves on stdin and stdout, initialized.
    pub fn stdio_command(command: Command) -> Self {
        let mut client = Self::of(Server::stdio_command(command));
        client.initialize();
        client
    }

    /// A client of a server without the system calls that `words` name, initialized.
    pub fn stdio_denied(words: &str, flags: &[&str]) -> Self {
        let mut command = Server::command_denied(words);
        command.args(["--listen", "stdio"]).args(flags);
        Self::stdio_command(command)
    }

    /// A websocket to an address, nothing said.
    pub fn dial(address: SocketAddr) -> Self {
        Self::dial_with(address, "")
    }

    /// The same with further header lines.
    pub fn dial_with(address: SocketAddr, extra: &str) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        Self::over(socket, extra)
    }

    /// The same over any stream socket: the calls that are needed are those of TCP.
    pub fn over(socket: impl Into<OwnedFd>, extra: &str) -> Self {
        let (socket, early) = upgrade(TcpStream::from(socket.into()), extra);
        Self::new(Link::websocket(socket, early))
    }

    /// A server on a websocket and a client of its own, nothing said.
    pub fn websocket_silent(flags: &[&str]) -> Self {
        let server = Server::websocket(flags);
        let mut client = server.connect_silent();
        client.server = Some(server);
        client
    }

    /// A server on a websocket and a client of its own, initialized.
    pub fn websocket() -> Self {
        Self::websocket_with(&[])
    }

    /// The same with flags.
    pub fn websocket_with(flags: &[&str]) -> Self {
        let mut client = Self::websocket_silent(flags);
        client.initialize();
        client
    }
}
