//! A client whose process dies at a write: what it asked for before is done, its last answer is lost, and nothing of it is heard any more.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::sync::{Mutex, Notify};

/// How long a process lives, counted in the writes that the API server takes.
pub struct Life {
    allowed: usize,
    /// One write at a time, so that none is under way when another is the last.
    written: Mutex<usize>,
    is_over: AtomicBool,
    died: Notify,
}

impl Life {
    /// One that ends with this write.
    pub fn of(allowed: usize) -> Arc<Self> {
        let (written, is_over) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { allowed, written, is_over, died: Notify::new() })
    }

    /// Waits for its end.
    pub async fn ended(&self) {
        self.died.notified().await;
    }

    /// Ends it now.
    pub fn kill(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.died.notify_one();
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// A client of this life.
    pub fn client(self: &Arc<Self>, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        let life = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (life, client) = (life.clone(), client.clone());
            async move { life.ask(client, request).await }
        });
        Client::new(service, namespace)
    }

    async fn ask(&self, client: Client, request: Request<Body>) -> kube::Result<Response<Body>> {
        if is_step(&request) {
            return self.write(client, request).await;
        }
        match self.is_over() {
            true => pending().await,
            false => client.send(request).await,
        }
    }

    async fn write(&self, client: Client, request: Request<Body>) -> kube::Result<Response<Body>> {
        let mut written = self.written.lock().await;
        if self.is_over() {
            return pending().await;
        }
        let answer = client.send(request).await;
        // What is refused was not written.
        *written += usize::from(answer.as_ref().is_ok_and(|answer| answer.status().is_success()));
        if *written == self.allowed {
            self.kill();
            return pending().await;
        }
        answer
    }
}

/// Whether a request takes a controller a step further: neither the Lease, which is written for ever, nor an Event does.
fn is_step(request: &Request<Body>) -> bool {
    let path = request.uri().path();
    request.method() != Method::GET && !path.contains("/leases") && !path.contains("/events")
}
