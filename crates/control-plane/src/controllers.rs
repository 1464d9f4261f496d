//! kube-controller-manager and kube-scheduler, beside a control plane.

use crate::plane::{ControlPlane, StartError};
use crate::process::Server;
use crate::programs::NodePrograms;

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
        let kubeconfig = format!("--kubeconfig={}", plane.kubeconfig_path().display());
        // One of each is enough, nobody asks them anything, and a test waits for nodes that come back at once.
        let common =
            ["--leader-elect=false", "--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=400"];
        let own = ["--service-account-private-key-file=service-accounts.key", "--root-ca-file=ca.crt"];
        let start = |what: &'static str, program, args: &[&str]| {
            let args: Vec<String> =
                args.iter().map(|arg| (*arg).to_owned()).chain([kubeconfig.clone()]).collect();
            Server::start(program, what, plane.directory(), &args)
                .map_err(|source| StartError::Start { what, source })
        };
        let manager = start(
            "kube-controller-manager",
            &programs.kube_controller_manager,
            &[&common[..], &own].concat(),
        )?;
        let scheduler = start("kube-scheduler", &programs.kube_scheduler, &common)?;
        Ok(Self { _servers: [manager, scheduler] })
    }
}
