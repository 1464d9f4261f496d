//! The daemon: servers and certificate on every replica, everything else on the leader.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::Client;
use polynic_runtime::Shutdown;
use polynic_runtime::health::{Probe, Probes};
use polynic_runtime::http::{self, ListenError};
use polynic_runtime::leader::{Election, Leadership, while_leading};
use polynic_runtime::metrics::Page;
use polynic_runtime::tls::{ServerCertificate, TlsError};
use tokio::sync::watch;

use crate::certificates::{CertificateFiles, Certificates, Provided};
use crate::events::Events;
use crate::gc::Gc;
use crate::metrics::ControllerMetrics;
use crate::settings::Settings;
use crate::webhook::registration::{Reach, Registration};
use crate::webhook::review::Kind;
use crate::webhook::server::Webhooks;
use crate::webhook::world::KubeWorld;
use crate::{coordinator, networks, pools, subnets};

/// Name of the Lease.
const LEASE: &str = "spiderpool-controller-leases";
/// Name of the certificate's Secret.
const SECRET: &str = "spiderpool-controller-server-certs";

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Runs until the end.
///
/// # Errors
/// A port cannot be listened on, or TLS cannot be set up.
pub async fn run(
    settings: Settings,
    client: Client,
    files: Option<CertificateFiles>,
    shutdown: Shutdown,
) -> Result<(), StartError> {
    let metrics = ControllerMetrics::default();
    let serving = ServerCertificate::default();
    let webhook_port = serve_webhooks(&settings, &client, &serving, &shutdown).await?;
    let certificate = tokio::spawn(certificate(
        settings.clone(),
        client.clone(),
        files,
        (serving.clone(), webhook_port),
        shutdown.clone(),
    ));
    let (leadership, election) = election(&settings).start(client.clone(), shutdown.clone());
    serve_probes(&settings, serving, leadership.clone(), &shutdown).await?;
    serve_metrics(&settings, &client, &metrics, &shutdown).await?;
    tracing::info!(
        identity = settings.identity,
        namespace = settings.namespace,
        "the controller has started"
    );
    while_leading(leadership, shutdown.clone(), || lead(&settings, &client, &metrics)).await;
    shutdown.triggered().await;
    // Both end with the shutdown; the lease is given back before that.
    let _ = tokio::join!(election, certificate);
    Ok(())
}

/// What only one replica does.
async fn lead(settings: &Settings, client: &Client, metrics: &ControllerMetrics) {
    let events = Events::new(client.clone(), "spiderpool-controller", Some(settings.identity.clone()));
    let pace = settings.pace;
    let network = async {
        if settings.multus_configs {
            networks::run(client.clone(), events.clone(), pace).await;
        }
    };
    let coordination = async {
        if let Some(own) = &settings.coordinator {
            coordinator::run(client.clone(), events.clone(), own.clone(), pace).await;
        }
    };
    let collection = async {
        if let Some(options) = &settings.gc {
            Gc::new(client.clone(), options.clone(), metrics.gc.clone()).run().await;
        }
    };
    let subnet = async {
        if settings.rules.subnets {
            let options = subnets::Options { auto_pools: settings.auto_pools, rules: settings.rules, pace };
            subnets::run(client.clone(), events.clone(), options).await;
        }
    };
    let pool = pools::run(client.clone(), settings.rules, pace);
    tokio::join!(network, coordination, collection, subnet, pool);
}

fn kinds(settings: &Settings) -> BTreeSet<Kind> {
    let in_use = |kind: &Kind| match kind {
        Kind::Coordinator => settings.coordinator.is_some(),
        Kind::MultusConfig => settings.multus_configs,
        _ => true,
    };
    Kind::ALL.into_iter().filter(in_use).collect()
}

fn everywhere(port: u16) -> SocketAddr {
    (Ipv6Addr::UNSPECIFIED, port).into()
}

/// On all addresses, or on those of IPv4 where the machine has no IPv6.
async fn listen(port: u16) -> Result<http::Listener, ListenError> {
    match http::tcp(everywhere(port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => http::tcp((std::net::Ipv4Addr::UNSPECIFIED, port).into()).await,
    }
}

async fn serve_webhooks(
    settings: &Settings,
    client: &Client,
    serving: &ServerCertificate,
    shutdown: &Shutdown,
) -> Result<u16, StartError> {
    let listener = listen(settings.ports.webhook).await?;
    let port = listener.address().map_or(settings.ports.webhook, |address| address.port());
    // Where SpiderSubnets are off, their webhooks are registered and not served: writes of them fail.
    let mut served = kinds(settings);
    if !settings.rules.subnets {
        served.remove(&Kind::Subnet);
    }
    let world = KubeWorld::new(client.clone(), settings.rules.subnets);
    let webhooks = Webhooks { world, rules: settings.rules, kinds: served, pods: settings.pods.is_some() };
    tokio::spawn(http::serve_tls(listener, serving.acceptor()?, Arc::new(webhooks), shutdown.clone()));
    Ok(port)
}

/// Keeps the certificate: files of somebody else if they are there, and otherwise our own in a Secret.
async fn certificate(
    settings: Settings,
    client: Client,
    files: Option<CertificateFiles>,
    (serving, port): (ServerCertificate, u16),
    shutdown: Shutdown,
) {
    let (namespace, service) = (settings.namespace.clone(), settings.service.clone());
    let reach = match settings.webhook_url.as_str() {
        "" => Reach::Service { namespace: namespace.clone(), name: service.clone(), port },
        url => Reach::Url(url.trim_end_matches('/').to_owned()),
    };
    let names = [
        "",
        &format!(".{namespace}"),
        &format!(".{namespace}.svc"),
        &format!(".{namespace}.svc.cluster.local"),
    ];
    let mut names: Vec<String> = names.iter().map(|suffix| format!("{service}{suffix}")).collect();
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    let registration = Registration {
        name: service,
        reach,
        kinds: kinds(&settings).into_iter().collect(),
        pods: settings.pods.clone(),
    };
    if let Some(files) = files.filter(|files| files.certificate.exists() && files.key.exists()) {
        return Provided { client, files, registration, serving }.run(&shutdown).await;
    }
    let certificates =
        Certificates { client, namespace, secret: SECRET.to_owned(), names, registration, serving };
    certificates.run(&shutdown).await;
}

fn election(settings: &Settings) -> Election {
    let (duration, renew_deadline, retry) = settings.lease;
    Election {
        namespace: settings.namespace.clone(),
        name: LEASE.to_owned(),
        identity: settings.identity.clone(),
        duration,
        renew_deadline,
        retry,
    }
}

async fn serve_probes(
    settings: &Settings,
    serving: ServerCertificate,
    leadership: watch::Receiver<Leadership>,
    shutdown: &Shutdown,
) -> Result<(), StartError> {
    let listener = listen(settings.ports.health).await?;
    let started = Arc::new(AtomicBool::new(false));
    let probes = Probes::new("/v1/runtime", move |probe| {
        let (is_serving, has_leader) = (serving.is_set(), leadership.borrow().leader.is_some());
        started.fetch_or(is_serving, Ordering::Relaxed);
        let answer = answer(probe, started.load(Ordering::Relaxed), is_serving, has_leader);
        async move { answer.map_err(str::to_owned) }
    });
    tokio::spawn(http::serve(listener, Arc::new(probes), shutdown.clone()));
    Ok(())
}

fn answer(probe: Probe, started: bool, is_serving: bool, has_leader: bool) -> Result<(), &'static str> {
    match probe {
        Probe::Startup if !started => Err("the webhooks have no certificate yet"),
        Probe::Startup => Ok(()),
        Probe::Readiness | Probe::Liveness if !is_serving => Err("the webhooks have no certificate"),
        Probe::Readiness if !has_leader => Err("there is no leader"),
        Probe::Readiness | Probe::Liveness => Ok(()),
    }
}

async fn serve_metrics(
    settings: &Settings,
    client: &Client,
    metrics: &ControllerMetrics,
    shutdown: &Shutdown,
) -> Result<(), StartError> {
    let Some(port) = settings.ports.metrics else { return Ok(()) };
    let page = Page(metrics.page(settings.debug_metrics));
    tokio::spawn(http::serve(listen(port).await?, Arc::new(page), shutdown.clone()));
    let (metrics, client, shutdown) = (metrics.clone(), client.clone(), shutdown.clone());
    let (subnets, period) = (settings.rules.subnets, settings.metrics_period);
    tokio::spawn(async move {
        let _: Option<()> = shutdown.unless(metrics.renew(&client, subnets, period)).await;
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_say_what_is_missing() {
        assert_eq!(answer(Probe::Startup, false, false, true), Err("the webhooks have no certificate yet"));
        assert_eq!(answer(Probe::Startup, true, false, false), Ok(()));
        assert_eq!(answer(Probe::Readiness, true, true, false), Err("there is no leader"));
        assert_eq!(answer(Probe::Readiness, true, true, true), Ok(()));
        assert_eq!(answer(Probe::Liveness, true, true, false), Ok(()));
        assert!(answer(Probe::Liveness, true, false, true).is_err());
    }
}
