//! Start and stop: the listener, TLS, connections, and the files that tell clients where the server is.

mod connection;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::admission::ServiceResolver;
use crate::api::{Api, Options, SERVICE_RANGES, aggregate, collector};
use crate::http::Authenticator;
use crate::http::{Authorization, Kubelets, Service, Streams};
use crate::identity::{Identity, IdentityError, write_passing};
use crate::status::Status;
use crate::store::Limits;

pub(crate) use self::connection::Tasks;

/// How a server is to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the store, the CA, the token and the kubeconfig live; made if it is not there, for its owner only.
    pub data_dir: PathBuf,
    /// Where to listen; port 0 takes any free port.
    pub listen: SocketAddr,
    /// Names and addresses, besides the obvious ones, that the server's certificate is good for.
    pub names: Vec<String>,
    /// Name of the cluster, user and context in the kubeconfig.
    pub context: String,
    /// Bounds of what is kept in memory for watches.
    pub limits: Limits,
    /// How webhooks that are Services are reached; without it, by the addresses that the API knows of them.
    pub services: Option<Arc<dyn ServiceResolver>>,
    /// Where Services get their addresses, in a data directory that is new: an IPv4 network, an IPv6 one, or both.
    pub service_ranges: Vec<String>,
    /// How the kubelets of nodes are reached, for exec, attach, log and port-forward; without it, those are not there.
    pub kubelets: Option<Arc<dyn Kubelets>>,
    /// Who may do what.
    pub authorization: Authorization,
}

impl Config {
    /// A server on a free port of 127.0.0.1.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            names: Vec::new(),
            context: "polynic".into(),
            limits: Limits::default(),
            services: None,
            service_ranges: SERVICE_RANGES.map(str::to_owned).to_vec(),
            kubelets: None,
            authorization: Authorization::default(),
        }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The listener that was handed in cannot be used.
    #[error("cannot use the given listener")]
    Listener(#[source] io::Error),
    /// Certificates, token or kubeconfig.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The object store.
    #[error("cannot open the API in {data_dir}")]
    Api {
        /// Where.
        data_dir: PathBuf,
        /// Why.
        #[source]
        source: Status,
    },
}

/// Starts servers.
pub struct Server;

impl Server {
    /// Listens where `config` says and serves until [`Running::shutdown`].
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let addr = config.listen;
        let listener = TcpListener::bind(addr).map_err(|source| StartError::Listen { addr, source })?;
        Self::start_on(config, listener).await
    }

    /// Serves on a listener that is bound already, perhaps in another network namespace; `config.listen` is not used.
    pub async fn start_on(config: Config, listener: TcpListener) -> Result<Running, StartError> {
        let addr = listener.local_addr().map_err(StartError::Listener)?;
        listener.set_nonblocking(true).map_err(StartError::Listener)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Listener)?;
        let identity = Identity::load(&config.data_dir)?;
        let tls = TlsAcceptor::from(Arc::new(identity.tls(addr, &config.names)?));
        let store = config.data_dir.join("store.redb");
        let options = Options {
            limits: config.limits,
            resolver: config.services.clone(),
            service_ranges: config.service_ranges.clone(),
        };
        let api = Api::open(&store, options).await;
        let api = api.map_err(|source| StartError::Api { data_dir: config.data_dir.clone(), source })?;
        let kubeconfig = identity.kubeconfig(addr, &config.context);
        let kubeconfig_path = config.data_dir.join("kubeconfig");
        write_passing(&kubeconfig_path, &kubeconfig)?;
        let tasks = Tasks::default();
        let streams = Streams::new(config.kubelets.clone(), tasks.clone());
        let api = Arc::new(api);
        hyper::rt::Executor::execute(&tasks, collector::run(api.clone()));
        hyper::rt::Executor::execute(&tasks, aggregate::run(api.clone()));
        let authenticator = Authenticator::new(&identity.token, identity.signer()?);
        let service = Arc::new(Service::new(api, authenticator, config.authorization, streams));
        let accept = tokio::spawn(connection::accept(listener, tls, service, tasks.clone()));
        tracing::info!(%addr, data_dir = %config.data_dir.display(), "the API server is listening");
        Ok(Running {
            addr,
            kubeconfig,
            kubeconfig_path,
            ca_pem: identity.ca_pem,
            token: identity.token,
            accept,
            tasks,
        })
    }
}

/// A server that runs. Dropping it stops it without waiting; see [`Running::shutdown`].
pub struct Running {
    addr: SocketAddr,
    kubeconfig: String,
    kubeconfig_path: PathBuf,
    ca_pem: String,
    token: String,
    accept: JoinHandle<()>,
    tasks: Tasks,
}

impl Running {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The kubeconfig's text; it holds the token.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// The kubeconfig's file, readable by its owner only.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig_path
    }

    /// The CA's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The bearer token that every request needs.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Stops listening, ends all connections and closes the store. Accepted writes are durable when this returns, and
    /// the data directory may be used by another server.
    pub async fn shutdown(mut self) {
        self.accept.abort();
        // The only outcome of an aborted accept loop is that it was aborted.
        let _ = (&mut self.accept).await;
        self.tasks.end().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.accept.abort();
        self.tasks.abort();
    }
}
