//! How requests get to the API server: by HTTP/2 where it speaks that, so that everything that is under way at the same time shares one
//! connection, and one TLS handshake. A burst of pods would otherwise open a connection for each of its requests, at both ends.
//!
//! Credentials, addresses and headers are kube's business. Proxies and credential programs are left to its own client as well.

use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Builder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{AuthError, Body, ConfigExt};
use kube::{Client, Config};
use rustls::pki_types::ServerName;
use tower::util::MapRequestLayer;
use tower::{BoxError, ServiceBuilder};

use crate::token_file::TokenFile;

/// How long a connection may be silent before it is asked whether it still lives, and how long its answer may take. Every request
/// waits for the one connection: that of a server that vanished has to be given up before a CNI call runs out of time.
const SILENCE: Duration = Duration::from_secs(5);

/// Makes a client inside a runtime. Nothing is sent yet.
pub(crate) fn client(config: Config) -> Result<Client, kube::Error> {
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
        return Client::try_from(config);
    }
    with_silence(&config, SILENCE)
}

fn with_silence(config: &Config, silence: Duration) -> Result<Client, kube::Error> {
    let mut config = config.clone();
    let token = token_file(&mut config).transpose().map_err(kube::Error::Auth)?;
    let http = Builder::new(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(silence)
        .http2_keep_alive_timeout(silence)
        .http2_keep_alive_while_idle(true)
        .build::<_, Body>(connector(&config)?);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .option_layer(token.map(|token| MapRequestLayer::new(move |request| token.sign(request))))
        .map_err(unreached(&config))
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// A request that got no answer. Which server was asked is the first question of whoever reads of it.
#[derive(Debug, thiserror::Error)]
#[error("API server {server}")]
struct Unreached {
    server: String,
    #[source]
    why: BoxError,
}

fn unreached<E: Into<BoxError>>(config: &Config) -> impl Fn(E) -> BoxError + Clone + use<E> {
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    move |why| Unreached { server: server.clone(), why: why.into() }.into()
}

/// The file of a token, where kube would have used it: it sends what is in it as it is.
fn token_file(config: &mut Config) -> Option<Result<TokenFile, AuthError>> {
    let auth = &mut config.auth_info;
    let has_other = auth.token.is_some() || auth.username.is_some() || auth.auth_provider.is_some();
    let path = if has_other { None } else { auth.token_file.take() };
    path.map(|path| TokenFile::open(path.into()))
}

type Connector = TimeoutConnector<HttpsConnector<HttpConnector>>;

/// TCP, then TLS unless the server's address is plain HTTP. The server chooses the version.
fn connector(config: &Config) -> Result<Connector, kube::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let tls = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    let tls = match config.tls_server_name.clone().map(ServerName::try_from).transpose() {
        Ok(Some(name)) => tls.with_server_name_resolver(FixedServerNameResolver::new(name)),
        Ok(None) => tls,
        Err(why) => return Err(kube::Error::Service(Box::new(why))),
    };
    let mut connector = TimeoutConnector::new(tls.enable_all_versions().wrap_connector(tcp));
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    Ok(connector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use k8s_openapi::api::core::v1::Namespace;
    use kube::Api;
    use polynic_apiserver::{Running, Server};
    use tokio::io::copy_bidirectional;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;
    use tokio::time::timeout;

    /// Generous: the machine may be busy.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Carries connections to an API server, and counts them.
    struct Path {
        config: Config,
        opened: Arc<AtomicUsize>,
        /// Nothing arrives any more of what is sent on the first so many connections.
        severed: watch::Sender<usize>,
        _directory: tempfile::TempDir,
        _server: Running,
    }

    async fn path() -> Path {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(polynic_apiserver::Config::new(directory.path())).await.unwrap();
        let mut config = crate::connect::config_from(Some(server.kubeconfig_path())).await.unwrap().unwrap();
        let behind = config.cluster_url.authority().unwrap().to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        config.cluster_url = format!("https://127.0.0.1:{port}").parse().unwrap();
        let (opened, severed) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(0));
        tokio::spawn(carry(listener, behind, opened.clone(), severed.subscribe()));
        Path { config, opened, severed, _directory: directory, _server: server }
    }

    async fn carry(
        listener: TcpListener,
        to: String,
        opened: Arc<AtomicUsize>,
        severed: watch::Receiver<usize>,
    ) {
        while let Ok((mut near, _)) = listener.accept().await {
            let number = opened.fetch_add(1, Ordering::SeqCst) + 1;
            let (to, mut severed) = (to.clone(), severed.clone());
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    biased;
                    () = cut(&mut severed, number) => std::future::pending().await,
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                }
            });
        }
    }

    /// Waits until the connection is severed, or the test is over.
    async fn cut(severed: &mut watch::Receiver<usize>, number: usize) {
        let _ = severed.wait_for(|first| number <= *first).await.map(drop);
    }

    #[tokio::test]
    async fn a_burst_of_requests_shares_one_connection() {
        let path = path().await;
        let namespaces: Api<Namespace> = Api::all(client(path.config.clone()).unwrap());
        namespaces.get("default").await.unwrap();
        let answers = join_all((0..200).map(|_| namespaces.get("default"))).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(path.opened.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_connection_that_went_silent_is_replaced() {
        let path = path().await;
        let client = with_silence(&path.config, Duration::from_millis(300)).unwrap();
        let namespaces: Api<Namespace> = Api::all(client);
        namespaces.get("default").await.unwrap();
        let severed = path.opened.load(Ordering::SeqCst);
        path.severed.send_replace(severed);
        let again = async {
            while !matches!(timeout(Duration::from_secs(5), namespaces.get("default")).await, Ok(Ok(_))) {}
        };
        timeout(PATIENCE, again).await.expect("the silent connection is given up");
        assert!(path.opened.load(Ordering::SeqCst) > severed);
    }
}
