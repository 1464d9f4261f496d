//! kube-controller-manager and kube-scheduler, beside a control plane.

use std::path::Path;

use crate::plane::{ControlPlane, StartError};
use crate::process::Server;
use crate::programs::NodePrograms;

/// One of each is enough, nobody asks them anything, and a test waits for nodes that come back at once.
const COMMON: [&str; 4] =
    ["--leader-elect=false", "--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=400"];
const MANAGER: &str = "kube-controller-manager";

/// They end when dropped; drop them before the control plane.
#[derive(Debug)]
pub struct Controllers {
    _servers: [Server; 2],
}

impl Controllers {
    /// Starts both. They retry until they get through, so nothing is waited for.
    ///
    /// # Errors
    /// A process cannot be started.
    pub fn start(programs: &NodePrograms, plane: &ControlPlane) -> Result<Self, StartError> {
        let own = ["--service-account-private-key-file=service-accounts.key", "--root-ca-file=ca.crt"];
        let manager = start(MANAGER, &programs.kube_controller_manager, plane, &own)?;
        let scheduler = start("kube-scheduler", &programs.kube_scheduler, plane, &[])?;
        Ok(Self { _servers: [manager, scheduler] })
    }
}

/// kube-controller-manager, but only the controller that signs requests for certificates of clients. It ends when dropped; drop it before the
/// control plane.
#[derive(Debug)]
pub struct CertificateSigner {
    _server: Server,
}

impl CertificateSigner {
    /// Starts the program at this path. It retries until it gets through, so nothing is waited for.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(program: &Path, plane: &ControlPlane) -> Result<Self, StartError> {
        let own = [
            "--controllers=certificatesigningrequest-signing-controller",
            "--cluster-signing-cert-file=ca.crt",
            "--cluster-signing-key-file=ca.key",
        ];
        Ok(Self { _server: start(MANAGER, program, plane, &own)? })
    }
}

fn start(
    what: &'static str,
    program: &Path,
    plane: &ControlPlane,
    own: &[&str],
) -> Result<Server, StartError> {
    let kubeconfig = format!("--kubeconfig={}", plane.kubeconfig_path().display());
    let args = COMMON.iter().chain(own).map(|arg| (*arg).to_owned()).chain([kubeconfig]);
    let args: Vec<String> = args.collect();
    Server::start(program, what, plane.directory(), &args)
        .map_err(|source| StartError::Start { what, source })
}
