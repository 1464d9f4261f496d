//! A node's certificates at a real API server, which looks at them, with a real controller that signs them and our approver.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::{Timestamp, Zoned};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{ListParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, Client};
use polynic_cluster::client_from;
use polynic_control_plane::{
    CertificateSigner, ClientCertificate, ControlPlane, Programs, controller_manager_or_skip,
};
use polynic_install::certificate::{Store, approver};
use polynic_runtime::Shutdown;
use serde_json::json;

use super::super::Config;
use super::super::config::PerNodeCertificate;
use super::{Own, client};

const NODE: &str = "n1";
/// Whom the server takes the node for by its certificate.
const USER: &str = "system:multus:n1";
/// And by what it begins with.
const BOOTSTRAP: &str = "system:node:n1";
/// Nothing here takes this long unless it is broken.
const BROKEN: Duration = Duration::from_secs(120);

/// A control plane that signs what is approved, and an approver.
struct Cluster {
    administrator: Client,
    shutdown: Shutdown,
    _signer: CertificateSigner,
    plane: ControlPlane,
}

impl Cluster {
    async fn start() -> Option<Self> {
        let (programs, manager) = (Programs::or_skip()?, controller_manager_or_skip()?);
        let started = tokio::task::spawn_blocking(move || {
            let plane = ControlPlane::start(&programs).unwrap();
            (CertificateSigner::start(&manager, &plane).unwrap(), plane)
        });
        let (_signer, plane) = started.await.unwrap();
        let administrator = client_from(Some(&plane.kubeconfig_path())).await.unwrap().unwrap();
        let shutdown = Shutdown::default();
        tokio::spawn(approver::run(administrator.clone(), shutdown.clone()));
        let cluster = Self { administrator, shutdown, _signer, plane };
        cluster.let_groups_ask().await;
        Some(cluster)
    }

    /// Nodes ask for their first certificate, and by that one for the next.
    async fn let_groups_ask(&self) {
        let role = json!({"metadata": {"name": "ask"}, "rules": [
            {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["create", "get"]}]});
        let group =
            |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name});
        let binding = json!({"metadata": {"name": "ask"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "ask"},
            "subjects": [group("system:nodes"), group("system:multus")]});
        let roles: Api<ClusterRole> = Api::all(self.administrator.clone());
        roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
        let bindings: Api<ClusterRoleBinding> = Api::all(self.administrator.clone());
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    }

    /// The administrator's credentials, in the node's name.
    fn bootstrap(&self, file: &Path) {
        let mut config = Kubeconfig::read_from(self.plane.kubeconfig_path()).unwrap();
        let user = config.auth_infos[0].auth_info.as_mut().unwrap();
        user.impersonate = Some(BOOTSTRAP.to_owned());
        user.impersonate_groups = Some(vec!["system:nodes".to_owned()]);
        fs::write(file, serde_json::to_string(&config).unwrap()).unwrap();
    }

    /// Who asked for certificates, by name.
    async fn asked(&self) -> Vec<String> {
        let requests: Api<CertificateSigningRequest> = Api::all(self.administrator.clone());
        let requests = requests.list(&ListParams::default()).await.unwrap().items;
        let mut users: Vec<String> =
            requests.into_iter().filter_map(|request| request.spec.username).collect();
        users.sort();
        users
    }
}

/// Whom the server takes a client for, and by which certificate.
async fn seen(client: &Client) -> (String, Option<String>) {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let user = review.status.unwrap_or_default().user_info.unwrap_or_default();
    let by = user
        .extra
        .and_then(|extra| extra.get("authentication.kubernetes.io/credential-id")?.first().cloned());
    (user.username.unwrap_or_default(), by)
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < BROKEN, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_node_goes_by_certificates_that_the_api_server_looks_at_and_renews_them_by_themselves() {
    let Some(cluster) = Cluster::start().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let certificate = PerNodeCertificate {
        bootstrap: directory.path().join("bootstrap"),
        directory: directory.path().join("certificates"),
        duration: Duration::from_secs(600),
    };
    cluster.bootstrap(&certificate.bootstrap);
    let config = Config::read(b"{}", &|_| None).unwrap();
    let config = Config { node: Some(NODE.to_owned()), ..config };
    let first = client(&config, &certificate, &cluster.shutdown).await.unwrap();
    let (user, by) = seen(&first).await;
    assert_eq!((user.as_str(), by.is_some()), (USER, true), "the server looks at the certificate");
    assert_eq!(cluster.asked().await, [BOOTSTRAP]);

    // Of the next one four fifths of its time are over, so that it is renewed at once.
    let year = i32::from(Zoned::now().year());
    let due = ClientCertificate { user: USER, group: "system:multus", from: year - 50, until: year + 10 };
    let (pem, key) = cluster.plane.client_certificate(&due).unwrap();
    let certificate = PerNodeCertificate { directory: directory.path().join("due"), ..certificate };
    let kept = Store::new(&certificate.directory).save(pem.as_bytes(), &key, Timestamp::now()).unwrap();
    assert!(kept.renewal() < Timestamp::now());
    let own = Own { certificate, node: NODE.to_owned() };
    let by_the_old = own.by_certificate().await.unwrap();
    let (user, old) = seen(&by_the_old).await;
    assert_eq!(user, USER);
    let kept = own.go_by(by_the_old, &cluster.shutdown);
    eventually("the next certificate is used", async || seen(&kept).await.1 != old).await;
    assert_eq!(seen(&kept).await.0, USER);
    assert_eq!(cluster.asked().await, [USER, BOOTSTRAP], "the node asks by the certificate that it has");
    cluster.shutdown.trigger();
}
