use std::path::Path;
use std::time::Instant;

use polynic_wire::{AddressService, ServiceError, SocketService};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

struct Echo;

impl Handler for Echo {
    async fn handle(&self, request: Request<Bytes>) -> Answer {
        match request.uri().path() {
            "/v1/ipam/healthy" => json(StatusCode::INTERNAL_SERVER_ERROR, &"not yet"),
            _ => text(StatusCode::OK, request.into_body()),
        }
    }
}

async fn raw(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn requests_are_answered_until_the_end() {
    let listener = tcp(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.address().unwrap();
    let shutdown = Shutdown::default();
    let served = tokio::spawn(serve(listener, Arc::new(Echo), shutdown.clone()));
    let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let answer = raw(address, &format!("{head}Content-Length: 2\r\n\r\nhi")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nhi"), "{answer}");
    let large = raw(address, &format!("{head}Content-Length: {}\r\n\r\n", MAX_BODY + 1)).await;
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
    shutdown.trigger();
    served.await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_unix_socket_replaces_its_predecessor_and_goes_with_its_listener() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run").join("agent.sock");
    let ask = |path: &Path| {
        let service = SocketService::new(path);
        tokio::task::spawn_blocking(move || service.healthy(Instant::now() + PATIENCE).unwrap_err())
    };
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // What a killed process leaves.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let shutdown = Shutdown::default();
    let served = tokio::spawn(serve(unix(&path).unwrap(), Arc::new(Echo), shutdown.clone()));
    let error = ask(&path).await.unwrap();
    assert!(matches!(&error, ServiceError::Status { code: 500, message } if message == "not yet"), "{error}");
    shutdown.trigger();
    served.await.unwrap();
    assert!(!path.exists());
    std::fs::write(&path, "no socket").unwrap();
    assert!(unix(&path).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "no socket");
}
