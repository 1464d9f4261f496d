//! etcd and kube-apiserver, started and ready.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::identity::{self, ClientCertificate, TOKEN};
use crate::probe::Probe;
use crate::process::{Server, free_port};
use crate::programs::Programs;
use crate::store::Store;

/// How long the server may take until it is ready, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a server that is not ready.
const PAUSE: Duration = Duration::from_millis(50);

const APISERVER: &str = "kube-apiserver";
const FLAGS: [&str; 12] = [
    "--endpoint-reconciler-type=none",
    "--cert-dir=certificates",
    "--tls-cert-file=tls.crt",
    "--tls-private-key-file=tls.key",
    "--token-auth-file=tokens.csv",
    "--client-ca-file=ca.crt",
    "--authorization-mode=RBAC",
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    "--service-account-key-file=service-accounts.pub",
    "--service-account-signing-key-file=service-accounts.key",
    "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112",
    "--allow-privileged",
];
/// No controllers run beside it, so nothing makes service accounts: pods must not wait for one.
const ALONE: &str = "--disable-admission-plugins=ServiceAccount";
/// Nobody carries the addresses of services here: webhooks are called at those of their pods.
const WITH_NODES: &str = "--enable-aggregator-routing";

/// Why a control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file cannot be written or a process not started.
    #[error("cannot start {what}")]
    Start {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A process ended, or did not become ready.
    #[error("{what} did not become ready; it said:\n{said}")]
    Ready {
        /// Which.
        what: &'static str,
        /// The end of its output.
        said: String,
    },
}

/// A control plane that runs; it ends when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: the server before its store, and the directory last.
    kube_apiserver: Server,
    etcd: Server,
    directory: TempDir,
    addr: SocketAddr,
    ca_pem: String,
    store: Store,
    /// Keys of the objects that were there when it was ready.
    first: BTreeSet<String>,
}

impl ControlPlane {
    /// Starts one on loopback and waits until it is ready: some five seconds of processor time.
    ///
    /// # Errors
    /// A process cannot be started or does not become ready.
    pub fn start(programs: &Programs) -> Result<Self, StartError> {
        Self::start_on(programs, Ipv4Addr::LOCALHOST, ALONE)
    }

    /// The same for a cluster: with a server that nodes reach at this address, in the network of the calling thread. Pods need a service
    /// account, which only [`Controllers`](crate::Controllers) make.
    ///
    /// # Errors
    /// As [`ControlPlane::start`].
    pub fn start_at(programs: &Programs, address: Ipv4Addr) -> Result<Self, StartError> {
        Self::start_on(programs, address, WITH_NODES)
    }

    fn start_on(programs: &Programs, address: Ipv4Addr, flag: &str) -> Result<Self, StartError> {
        let directory = TempDir::new().map_err(|source| StartError::Start { what: "anything", source })?;
        let ca_pem = identity::write(directory.path(), address)
            .map_err(|source| StartError::Start { what: "the certificates", source })?;
        let (store, etcd) = start_etcd(&programs.etcd, directory.path())?;
        let failed = |source| StartError::Start { what: APISERVER, source };
        let addr = SocketAddr::from((address, free_port().map_err(failed)?));
        let args = apiserver_arguments(addr, store, flag);
        let kube_apiserver =
            Server::start(&programs.kube_apiserver, APISERVER, directory.path(), &args).map_err(failed)?;
        let (store, first) = (Store { port: store }, BTreeSet::new());
        let mut plane = Self { kube_apiserver, etcd, directory, addr, ca_pem, store, first };
        plane.write_kubeconfig().map_err(|source| StartError::Start { what: "kube-apiserver", source })?;
        plane.wait_until_ready()?;
        plane.first =
            store.keys().map_err(|source| StartError::Start { what: "a look into etcd", source })?;
        Ok(plane)
    }

    /// Where kube-apiserver listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The CA's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The administrator's bearer token.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// A certificate with its key, PEM, for a client whom the server is to believe.
    ///
    /// # Errors
    /// The authority's key cannot be read, or nothing can be signed with it.
    pub fn client_certificate(&self, client: &ClientCertificate<'_>) -> io::Result<(String, String)> {
        client.sign(self.directory.path())
    }

    /// Removes what was made since the start, but for definitions of kinds; finalizers do not count.
    ///
    /// # Errors
    /// etcd does not answer.
    pub fn forget(&self) -> io::Result<()> {
        self.store.keep_only(&self.first)
    }

    /// Where its files are: certificates and keys.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process ids of etcd and kube-apiserver, for those who measure them.
    pub fn process_ids(&self) -> [u32; 2] {
        [self.etcd.id(), self.kube_apiserver.id()]
    }

    fn write_kubeconfig(&self) -> io::Result<()> {
        let ca = self.directory.path().join("ca.crt");
        let (ca, addr) = (ca.display(), self.addr);
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: real\n  cluster:\n    server: https://{addr}\n    \
             certificate-authority: {ca}\nusers:\n- name: real\n  user:\n    token: {TOKEN}\ncontexts:\n- name: real\n  \
             context:\n    cluster: real\n    user: real\ncurrent-context: real\n"
        );
        fs::write(self.kubeconfig_path(), text)
    }

    /// Ready means that the start-up hooks have run too: namespaces and RBAC roles are there.
    fn wait_until_ready(&mut self) -> Result<(), StartError> {
        let probe = Probe::new(&self.ca_pem).map_err(|e| StartError::Ready { what: APISERVER, said: e })?;
        let addr = self.addr;
        wait(APISERVER, &mut self.kube_apiserver, || probe.is_ready(addr, TOKEN))
    }
}

fn start_etcd(program: &Path, directory: &Path) -> Result<(u16, Server), StartError> {
    let failed = |source| StartError::Start { what: "etcd", source };
    let (clients, peers) = (free_port().map_err(failed)?, free_port().map_err(failed)?);
    let (clients_url, peers_url) =
        (format!("http://127.0.0.1:{clients}"), format!("http://127.0.0.1:{peers}"));
    let args = [
        "--data-dir=etcd".to_owned(),
        format!("--listen-client-urls={clients_url}"),
        format!("--advertise-client-urls={clients_url}"),
        format!("--listen-peer-urls={peers_url}"),
        format!("--initial-advertise-peer-urls={peers_url}"),
        format!("--initial-cluster=default={peers_url}"),
        "--logger=zap".to_owned(),
    ];
    let mut server = Server::start(program, "etcd", directory, &args).map_err(failed)?;
    wait("etcd", &mut server, || TcpStream::connect((Ipv4Addr::LOCALHOST, clients)).is_ok())?;
    Ok((clients, server))
}

fn apiserver_arguments(addr: SocketAddr, store: u16, flag: &str) -> Vec<String> {
    let own = [
        format!("--etcd-servers=http://127.0.0.1:{store}"),
        format!("--bind-address={}", addr.ip()),
        format!("--advertise-address={}", addr.ip()),
        format!("--secure-port={}", addr.port()),
        flag.to_owned(),
    ];
    own.into_iter().chain(FLAGS.map(str::to_owned)).collect()
}

/// Waits until `ready`; fails if the process ends or patience does.
fn wait(what: &'static str, server: &mut Server, ready: impl Fn() -> bool) -> Result<(), StartError> {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        if server.has_ended() || Instant::now() > deadline {
            return Err(StartError::Ready { what, said: server.last_words() });
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}
