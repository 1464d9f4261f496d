//! Further doors to a server: connections to them are carried to the server's own socket, byte by byte.
//!
//! A socket belongs to the network namespace it was opened in, so one server can be reached in every namespace of the lab at an address
//! of that namespace, without a wire between them.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use crate::error::{Error, Result};

/// A door that is open. It closes with this, and all connections through it end.
pub struct Door(JoinHandle<()>);

impl Drop for Door {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Carries connections from `listener` to `server`.
pub fn start(listener: TcpListener, server: SocketAddr) -> Result<Door> {
    let what = || "relay API connections".to_owned();
    listener.set_nonblocking(true).map_err(Error::io(what()))?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(Error::io(what()))?;
    Ok(Door(tokio::spawn(accept(listener, server))))
}

async fn accept(listener: tokio::net::TcpListener, server: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                while connections.try_join_next().is_some() {}
                connections.spawn(carry(client, server));
            }
            // Out of descriptors, most likely: others will close theirs.
            Err(why) => {
                tracing::warn!(%why, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr) {
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    // Requests are small and answered at once: waiting to fill packets only slows them down.
    let _ = client.set_nodelay(true).and_then(|()| upstream.set_nodelay(true));
    // Either side may go at any time, and that ends it.
    let _ = copy_bidirectional(&mut client, &mut upstream).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn bytes_travel_both_ways_and_the_end_is_passed_on() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = door.local_addr().unwrap();
        let _open = start(door, server.local_addr().unwrap()).unwrap();
        let echo = tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            stream.write_all(&all).await.unwrap();
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "hello");
        echo.await.unwrap();
    }
}
