//! Answers over TCP.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Stand;

/// The longest line or request head that is looked at, bytes.
const LONGEST: usize = 16 << 10;
const METHODS: [&str; 7] = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH "];

/// Listens on all addresses of both families, those that come later included.
pub fn listen(port: u16, stand: Stand) -> std::io::Result<()> {
    let listener = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))?;
    listener.set_nonblocking(true)?;
    tokio::spawn(accept(TcpListener::from_std(listener)?, stand));
    Ok(())
}

async fn accept(listener: TcpListener, stand: Stand) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let stand = stand.clone();
                tokio::spawn(async move {
                    // The other side may go at any time.
                    let _ = converse(stream, client, &stand).await;
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(mut stream: TcpStream, client: SocketAddr, stand: &Stand) -> std::io::Result<()> {
    let (client, local) = (plain(client), plain(stream.local_addr()?));
    let mut heard = Vec::new();
    loop {
        let start = heard.len();
        heard.resize(start + 4096, 0);
        let count = stream.read(&mut heard[start..]).await?;
        heard.truncate(start + count);
        if is_http(&heard) && (ends_head(&heard) || count == 0) {
            return page(&mut stream, &heard, (client, local), stand).await;
        }
        if count == 0 {
            return Ok(());
        }
        if !is_http(&heard) {
            echo(&mut stream, &mut heard, client, stand).await?;
        }
        if heard.len() > LONGEST {
            return Ok(());
        }
    }
}

/// IPv4 addresses as such, not as IPv6 ones.
pub fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn is_http(heard: &[u8]) -> bool {
    METHODS.iter().any(|method| heard.starts_with(method.as_bytes()))
}

fn ends_head(heard: &[u8]) -> bool {
    heard.windows(4).any(|four| four == b"\r\n\r\n")
}

async fn page(
    stream: &mut TcpStream,
    head: &[u8],
    (client, local): (SocketAddr, SocketAddr),
    stand: &Stand,
) -> std::io::Result<()> {
    let request = String::from_utf8_lossy(head).lines().next().unwrap_or_default().to_owned();
    stand.log.line(&format!("{client} -> {local} {request:?} 200"));
    let answer = answer(&stand.pod, client, local, &request);
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn answer(pod: &str, client: SocketAddr, local: SocketAddr, request: &str) -> String {
    let body = format!("Hostname: {pod}\nClient: {client}\nServer: {local}\nRequest: {request}\n");
    let length = body.len();
    let body = if request.starts_with("HEAD ") { "" } else { &body };
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Sends back the lines that are whole, and keeps the rest.
async fn echo(
    stream: &mut TcpStream,
    heard: &mut Vec<u8>,
    client: SocketAddr,
    stand: &Stand,
) -> std::io::Result<()> {
    while let Some(end) = heard.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = heard.drain(..=end).collect();
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        stand.log.line(&format!("{client} says {text:?}"));
        stream.write_all(format!("{} {client}: {text}\n", stand.pod).as_bytes()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_the_pod_and_both_ends() {
        let [client, local] = ["10.0.0.1:5", "10.0.0.2:80"].map(|text| text.parse().unwrap());
        let page = answer("web-1", client, local, "GET / HTTP/1.1");
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert_eq!(
            body,
            "Hostname: web-1\nClient: 10.0.0.1:5\nServer: 10.0.0.2:80\nRequest: GET / HTTP/1.1\n"
        );
        assert!(answer("web-1", client, local, "HEAD / HTTP/1.1").ends_with("\r\n\r\n"));
    }

    #[test]
    fn clients_of_either_family_are_written_in_their_own_way() {
        assert_eq!(plain("[::ffff:10.0.0.1]:5".parse().unwrap()).to_string(), "10.0.0.1:5");
        assert_eq!(plain("[fd00::1]:5".parse().unwrap()).to_string(), "[fd00::1]:5");
    }
}
