//! A lab, driven by this machine's kubectl.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::labs::{Labs, text};

/// A lab with kubectl.
pub struct Cluster {
    pub labs: Labs,
    /// Where kubectl keeps what it looked up.
    home: tempfile::TempDir,
    kubeconfig: String,
}

impl Cluster {
    /// Two nodes.
    pub fn start() -> Option<Cluster> {
        Cluster::with(&["--nodes", "2", "--services", "10.233.0.0/18,fd00:10:233::/112", "--rbac"])
    }

    /// As the options of `up` say.
    pub fn with(options: &[&str]) -> Option<Cluster> {
        let labs = Labs::with_plugins()?;
        if Command::new("kubectl").arg("version").arg("--client").output().is_err() {
            eprintln!("skipped: scenarios: there is no kubectl");
            return None;
        }
        labs.ok(&[&["up"], options].concat());
        let kubeconfig = labs.ok(&["kubeconfig"]).trim().to_owned();
        Some(Cluster { labs, home: tempfile::tempdir().unwrap(), kubeconfig })
    }

    /// Where the cluster is.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.home.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }

    pub fn apply(&self, manifests: &str) {
        let mut child = self.command(&["apply", "-f", "-"]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    pub fn field(&self, object: &str, path: &str) -> String {
        self.ok(&["get", object, "-o", &format!("jsonpath={{{path}}}")])
    }

    /// A pod of the Deployment.
    pub fn web(&self) -> String {
        let path = "jsonpath={.items[0].metadata.name}";
        self.ok(&["get", "pods", "-l", "app=web", "--field-selector", "status.phase=Running", "-o", path])
    }

    pub fn roll_out(&self, workload: &str) {
        let done = self.ok(&["rollout", "status", workload, "--timeout=120s"]);
        assert!(done.contains("roll") || done.contains("complete"), "{done}");
    }
}
