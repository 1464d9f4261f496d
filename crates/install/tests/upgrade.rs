//! A release of the replaced chart becomes one of ours by Helm itself, and goes back: on an API server that insists on what cannot change.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::path::{Path, PathBuf};
use std::process::Command;

use kube::Client;
use polynic_apiserver::{Config, Server};
use polynic_cluster::client_from;
use serde_json::Value;

const NAMESPACE: &str = "spiderpool";

fn repository(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

/// Helm's program, if it was ever built here.
fn helm_or_skip() -> Option<PathBuf> {
    let script = Command::new(repository("scripts/helm.sh")).env("POLYNIC_HELM", "built").output().unwrap();
    if script.status.success() {
        return Some(String::from_utf8(script.stdout).unwrap().trim().into());
    }
    let said = String::from_utf8_lossy(&script.stderr).into_owned();
    let required = std::env::var("POLYNIC_REQUIRE_TIERS").unwrap_or_default();
    assert!(!required.split(',').any(|tier| tier == "helm"), "the tier helm must run: {said}");
    eprintln!("skipped: {said}");
    None
}

struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: tempfile::TempDir,
}

impl Helm {
    fn run(&self, words: &[&str]) -> Result<String, String> {
        let home = |name: &str| self.home.path().join(name);
        let output = Command::new(&self.program)
            .args(words)
            .args(["--namespace", NAMESPACE, "--kubeconfig"])
            .arg(&self.kubeconfig)
            .env("HELM_CACHE_HOME", home("cache"))
            .env("HELM_CONFIG_HOME", home("config"))
            .env("HELM_DATA_HOME", home("data"))
            .output()
            .unwrap();
        let [said, complained] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        if output.status.success() { Ok(said) } else { Err(format!("helm {words:?}: {complained}")) }
    }
}

fn chart(path: &str) -> String {
    Path::new(&repository(path)).display().to_string()
}

async fn image(client: &Client, kind: &str, name: &str) -> Value {
    let uri = format!("/apis/apps/v1/namespaces/{NAMESPACE}/{kind}/{name}");
    let object: Value = client.request(http::Request::get(uri).body(Vec::new()).unwrap()).await.unwrap();
    object["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_of_the_replaced_chart_becomes_ours_and_goes_back() {
    let Some(program) = helm_or_skip() else { return };
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(Config::new(directory.path())).await.unwrap();
    let client = client_from(Some(server.kubeconfig_path())).await.unwrap().unwrap();
    let kubeconfig = server.kubeconfig_path().to_owned();
    let helm = Helm { program, kubeconfig, home: tempfile::tempdir().unwrap() };
    let (theirs, ours) = (chart("crates/install/tests/replaced-chart"), chart("deploy/chart/polynic"));
    let metrics = ["--set", "spiderpoolAgent.prometheus.enabled=true"];
    let (helm, error) = tokio::task::spawn_blocking(move || {
        helm.run(&["install", "spiderpool", &theirs, "--create-namespace"]).unwrap();
        // The replaced program's image would be run by our arguments.
        let image =
            "spiderpoolAgent.image.repository=mirror.example/spidernet-io/spiderpool/spiderpool-agent";
        let error = helm.run(&["upgrade", "spiderpool", &ours, "--set", image]).unwrap_err();
        helm.run(&[&["upgrade", "spiderpool", &ours], &metrics[..]].concat()).unwrap();
        (helm, error)
    })
    .await
    .unwrap();
    assert!(error.contains("spiderpoolAgent.image.repository: mirror.example/"), "{error}");
    for (kind, name) in [("daemonsets", "spiderpool-agent"), ("deployments", "spiderpool-controller")] {
        let image = image(&client, kind, name).await;
        assert!(image.as_str().is_some_and(|image| image.starts_with("ghcr.io/polynic/polynic:")), "{image}");
    }
    tokio::task::spawn_blocking(move || helm.run(&["rollback", "spiderpool", "1"]).unwrap()).await.unwrap();
    assert_eq!(image(&client, "daemonsets", "spiderpool-agent").await, "replaced");
    server.shutdown().await;
}
