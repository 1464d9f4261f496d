//! Connections: one thread each, and a server per namespace.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use polynic_kernel::netns::{Netns, Pod};
use rustix::net::sockopt::{Timeout, set_socket_reuseaddr, set_socket_timeout};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::{Answers, PATIENCE, Waiting};

/// Where every namespace answers while probes run.
pub const PORT: u16 = 9_099;
/// What clients say: stand-ins for containers answer it as well.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";

/// Calls all of these, each from the port that is its number.
pub fn start(space: &Netns<Pod>, calls: &[(u16, SocketAddr)]) -> Result<Vec<Waiting>, String> {
    let numbers = calls.to_vec();
    let sockets = space.run(move || numbers.into_iter().map(open).collect::<Result<Vec<_>, _>>());
    let sockets = sockets.flatten().map_err(|why| format!("make TCP sockets: {why}"))?;
    let thread =
        |(number, to, socket)| std::thread::spawn(move || -> Answers { vec![(number, call(socket, to))] });
    Ok(sockets.into_iter().map(thread).collect())
}

fn open((number, to): (u16, SocketAddr)) -> std::io::Result<(u16, SocketAddr, OwnedFd)> {
    let (family, any) = match to {
        SocketAddr::V4(_) => (AddressFamily::INET, Ipv4Addr::UNSPECIFIED.into()),
        SocketAddr::V6(_) => (AddressFamily::INET6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let socket = socket(family, SocketType::STREAM, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddr::new(any, number))?;
    for which in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, which, Some(PATIENCE))?;
    }
    Ok((number, to, socket))
}

fn call(socket: OwnedFd, to: SocketAddr) -> Result<(), String> {
    let talk = || -> std::io::Result<()> {
        connect(&socket, &to)?;
        let mut stream = TcpStream::from(socket.try_clone()?);
        stream.write_all(REQUEST)?;
        match stream.read(&mut [0; 512])? {
            0 => Err(std::io::Error::other("the connection was closed without an answer")),
            _ => Ok(()),
        }
    };
    talk().map_err(|why| match why.kind() {
        // What a socket with a time limit says when it is over.
        ErrorKind::WouldBlock => "no answer".to_owned(),
        _ if why.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            "no answer".to_owned()
        }
        _ => why.to_string(),
    })
}

/// Sends back what it is sent, until it is dropped.
pub struct Server {
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on [`PORT`] of all addresses of a namespace.
    pub fn start(space: &Netns<Pod>) -> Result<Server, String> {
        let listener = space.run(|| {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))
                .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)))?;
            listener.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(listener)
        });
        let listener =
            listener.flatten().map_err(|why: std::io::Error| format!("listen on port {PORT}: {why}"))?;
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let thread = Some(std::thread::spawn(move || serve(&listener, &told)));
        Ok(Server { enough, thread })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It holds nothing that its failure could have spoilt.
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, enough: &AtomicBool) {
    while !enough.load(Ordering::Acquire) {
        match listener.accept() {
            // A client that goes away is its own affair.
            Ok((stream, _)) => drop(std::thread::spawn(move || echo(stream))),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut words = [0; REQUEST.len()];
    stream.read_exact(&mut words)?;
    stream.write_all(&words)
}
