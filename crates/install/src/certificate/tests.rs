//! Certificates between a node and a cluster that signs them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use polynic_apiserver::{Config, Server};
use polynic_cluster::client_from;
use polynic_control_plane::{ControlPlane, Programs};
use polynic_runtime::Shutdown;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer as Ca, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SignatureAlgorithm,
};
use serde_json::json;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

use super::generator::{self, Settings};
use super::{Identity, Store, approver};

/// Nothing here takes this long unless it is broken.
const BROKEN: Duration = Duration::from_secs(60);

/// Signs requests, as the cluster's controller manager does.
struct Signer(Ca<'static, KeyPair>);

impl Signer {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(Ca::new(params, key))
    }

    fn sign(&self, request: &str) -> String {
        let (_, pem) = parse_x509_pem(request.as_bytes()).unwrap();
        let (_, request) = X509CertificationRequest::from_der(&pem.contents).unwrap();
        let key = request.certification_request_info.subject_pki.subject_public_key.data.to_vec();
        CertificateParams::default().signed_by(&PublicKey(key), &self.0).unwrap().pem()
    }
}

/// The key of a request.
struct PublicKey(Vec<u8>);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

#[test]
fn the_store_shows_the_newest_certificate_and_never_half_of_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path().join("certs"));
    assert!(store.load().unwrap().is_none());
    let (signer, identity) = (Signer::new(), Identity::new("n1").unwrap());
    let certificate = signer.sign(&identity.request);
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    let saved = store.save(certificate.as_bytes(), &identity.key, now).unwrap();
    assert_eq!(store.load().unwrap(), Some(saved.clone()));
    assert!(saved.renewal() > saved.from && saved.renewal() < saved.until);
    let target = fs::read_link(store.current()).unwrap();
    assert_eq!(target, Path::new("multus-client-2026-01-02-03-04-05.pem"));
    assert_eq!(store.current().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(store.current()).unwrap().contains("PRIVATE KEY"));
    assert!(store.save(b"nonsense", "", now).is_err() && store.load().unwrap().is_some());
    store.save(certificate.as_bytes(), &identity.key, "2026-01-02T03:04:06Z".parse().unwrap()).unwrap();
    assert_eq!(fs::read_dir(directory.path().join("certs")).unwrap().count(), 2);
    fs::write(store.current(), "half").unwrap();
    assert!(store.load().unwrap_err().to_string().contains("multus-client-current.pem is no certificate"));
}

/// The parts of the API server (who asks), of the approver and of the controller manager (the signature).
async fn grant_all(client: Client, signer: Signer) {
    let api: Api<CertificateSigningRequest> = Api::all(client);
    loop {
        for request in api.list(&ListParams::default()).await.unwrap() {
            if request.status.clone().unwrap_or_default().certificate.is_none() {
                let pem = signer.sign(std::str::from_utf8(&request.spec.request.0).unwrap());
                let patch = json!({"status": {"certificate": ByteString(pem.into_bytes())}});
                let name = request.metadata.name.unwrap();
                api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < BROKEN, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_generator_gets_a_certificate_and_writes_a_kubeconfig_that_leads_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(Config::new(directory.path().join("server"))).await.unwrap();
    let client = client_from(Some(server.kubeconfig_path())).await.unwrap().unwrap();
    let granting = tokio::spawn(grant_all(client.clone(), Signer::new()));
    let settings = Settings {
        directory: directory.path().join("certs"),
        bootstrap: server.kubeconfig_path().to_owned(),
        output: directory.path().join("kubeconfig"),
        good: Duration::from_secs(600),
        node: "n1".to_owned(),
    };
    let shutdown = Shutdown::default();
    let running = tokio::spawn(generator::run(settings.clone(), shutdown.clone()));
    eventually("the kubeconfig", async || settings.output.exists()).await;
    let config = Kubeconfig::read_from(&settings.output).unwrap();
    assert_eq!(config.current_context.as_deref(), Some("default-context"));
    let user = config.auth_infos[0].auth_info.clone().unwrap();
    let current = Store::new(&settings.directory).current().display().to_string();
    assert_eq!(
        (user.client_certificate.as_ref(), user.client_key.as_ref()),
        (Some(&current), Some(&current))
    );
    assert!(client_from(Some(&settings.output)).await.unwrap().is_some());
    let request =
        &Api::<CertificateSigningRequest>::all(client).list(&ListParams::default()).await.unwrap().items[0];
    assert_eq!(
        (request.spec.signer_name.as_str(), request.spec.expiration_seconds),
        (super::SIGNER, Some(600))
    );
    shutdown.trigger();
    running.await.unwrap().unwrap();
    assert!(!settings.output.exists());
    granting.abort();
}

/// The same server as a node sees it: the administrator speaks for it.
async fn as_node(kubeconfig: &Path, node: &str) -> Client {
    let mut config = Kubeconfig::read_from(kubeconfig).unwrap();
    let user = config.auth_infos[0].auth_info.as_mut().unwrap();
    user.impersonate = Some(format!("system:node:{node}"));
    user.impersonate_groups = Some(vec!["system:nodes".to_owned()]);
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Nodes may ask for certificates, as everywhere.
async fn allow_nodes_to_ask(client: &Client) {
    let role = json!({"metadata": {"name": "ask"}, "rules": [
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["create"]}]});
    let binding = json!({"metadata": {"name": "ask"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "ask"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}]});
    let roles: Api<ClusterRole> = Api::all(client.clone());
    roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
}

/// A node asks for its own certificate, another one for the same: one is granted, one denied, both are told about.
async fn asks_and_is_judged(kubeconfig: &Path) {
    let client = client_from(Some(kubeconfig)).await.unwrap().unwrap();
    allow_nodes_to_ask(&client).await;
    let shutdown = Shutdown::default();
    let running = tokio::spawn(approver::run(client.clone(), shutdown.clone()));
    let mut names = Vec::new();
    for node in ["n1", "n2"] {
        let request = Identity::new("n1").unwrap().object(Duration::from_secs(600));
        let api: Api<CertificateSigningRequest> = Api::all(as_node(kubeconfig, node).await);
        let created = async || api.create(&PostParams::default(), &request).await;
        // A role that was just made may not be known yet.
        eventually("may ask", async || {
            created().await.map(|made| names.push(made.metadata.name.unwrap())).is_ok()
        })
        .await;
    }
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let decision = async |name: &str| {
        let status = api.get(name).await.unwrap().status.unwrap_or_default();
        let condition = status.conditions.unwrap_or_default().into_iter().next();
        condition.map(|condition| (condition.type_, condition.reason.unwrap_or_default()))
    };
    let is = |type_: &str, reason: &str| Some((type_.to_owned(), reason.to_owned()));
    eventually("approved", async || decision(&names[0]).await == is("Approved", "AutoApproved")).await;
    eventually("denied", async || decision(&names[1]).await == is("Denied", "CSRDenied")).await;
    let events: Api<Event> = Api::all(client);
    let told = async |reason: &str| {
        let events = events.list(&ListParams::default()).await.unwrap();
        events.into_iter().any(|event| event.reason.as_deref() == Some(reason))
    };
    eventually("the Events", async || told("CSRApproved").await && told("CSRDenied").await).await;
    shutdown.trigger();
    running.await.unwrap();
}

#[tokio::test]
async fn the_approver_grants_a_nodes_request_and_denies_a_false_one() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(Config::new(directory.path().join("server"))).await.unwrap();
    asks_and_is_judged(server.kubeconfig_path()).await;
}

#[tokio::test]
async fn the_approver_does_so_at_a_real_api_server() {
    let Some(programs) = Programs::or_skip() else { return };
    let plane = tokio::task::spawn_blocking(move || ControlPlane::start(&programs).unwrap()).await.unwrap();
    asks_and_is_judged(&plane.kubeconfig_path()).await;
}
