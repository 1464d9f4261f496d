//! A client whose credentials are exchanged while it is in use.

use std::sync::{Arc, PoisonError, RwLock};

use kube::Client;
use tower::service_fn;

/// Exchanges what stands behind a client.
#[derive(Clone)]
pub struct Reloading {
    current: Arc<RwLock<Client>>,
}

impl Reloading {
    /// A client that sends every request by the newest of the clients given, `first` to begin with, and its exchange.
    ///
    /// A request, and with it a watch, goes on to its end with the credentials that it began with. Has to be called inside a tokio runtime.
    pub fn start(first: Client) -> (Self, Client) {
        let namespace = first.default_namespace().to_owned();
        let current = Arc::new(RwLock::new(first));
        let newest = current.clone();
        let service = service_fn(move |request| {
            let client = newest.read().unwrap_or_else(PoisonError::into_inner).clone();
            async move { client.send(request).await }
        });
        (Self { current }, Client::new(service, namespace))
    }

    /// New requests go by this client from now on.
    pub fn replace(&self, client: Client) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = client;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_server::{FakeServer, failure};

    #[tokio::test]
    async fn requests_go_by_the_newest_client_whoever_holds_the_old_one() {
        let version = || {
            (
                200,
                serde_json::json!({"major": "1", "minor": "30", "gitVersion": "v1.30.0", "gitCommit": "",
            "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
            )
        };
        let servers =
            [FakeServer::new([version()]), FakeServer::new([version(), failure(403, "Forbidden", "no")])];
        let [first, second] = servers.each_ref().map(FakeServer::client);
        let (reloading, client) = Reloading::start(first.await);
        let holder = client.clone();
        assert!(client.apiserver_version().await.is_ok());
        reloading.replace(second.await);
        assert!(holder.apiserver_version().await.is_ok());
        let refused = client.apiserver_version().await.unwrap_err();
        assert!(
            matches!(refused, kube::Error::Api(status) if status.code == 403),
            "what a server says stays what it is"
        );
        assert_eq!(servers.map(|server| server.requests().len()), [1, 2]);
    }
}
