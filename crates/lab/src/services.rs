//! What runs on a node beside its kubelet: services of `polynic agent`, each with the command line of the program that it replaces.
//!
//! In a thin lab each has a process of its own, as the daemons of the replaced systems. In a thick one they are one process, with the CNI endpoint that
//! `multus-shim` asks among them: `polynic agent SERVICE ... -- SERVICE ...`.

use crate::daemon::Daemon;
use crate::error::Result;
use crate::process::Identity;
use crate::underlay::Layout;
use crate::{flannel, multus, policies, spiderpool};

/// The program on a node.
const PROGRAM: [&str; 2] = ["/opt/cni/bin/polynic", "agent"];
/// What separates command lines.
const SEPARATOR: &str = "--";

/// A service of a node.
pub struct Service {
    /// What its process is called behind the node's name, if it has one of its own.
    pub title: &'static str,
    /// The replaced program's name and command line.
    pub words: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
}

/// The processes of all services of the node that `holder` holds.
///
/// # Errors
/// The lab's wires have no name for the NIC that a service needs.
pub fn daemons(node: &str, holder: Identity, layout: &Layout) -> Result<Vec<Daemon>> {
    let services = services(node, layout)?;
    if layout.shape().thick {
        return Ok(vec![together(node, holder, &services)]);
    }
    Ok(services.iter().map(|service| alone(node, holder, service)).collect())
}

fn services(node: &str, layout: &Layout) -> Result<Vec<Service>> {
    let shape = layout.shape();
    let mut services = Vec::new();
    if shape.spiderpool {
        services.push(spiderpool::service(node));
    }
    if shape.policies {
        services.push(policies::service(node));
    }
    if shape.flannel.is_some() {
        services.push(flannel::service(node, layout.last_nic()?.as_str()));
    }
    if shape.thick {
        services.push(multus::service(node));
    }
    Ok(services)
}

fn alone(node: &str, holder: Identity, service: &Service) -> Daemon {
    let program = [&PROGRAM.map(str::to_owned)[..], &service.words].concat();
    Daemon::inside(&format!("{node}-{}", service.title), holder.pid, &program, &service.environment)
}

fn together(node: &str, holder: Identity, services: &[Service]) -> Daemon {
    let lines: Vec<&[String]> = services.iter().map(|service| service.words.as_slice()).collect();
    let program = [PROGRAM.map(str::to_owned).to_vec(), lines.join(&SEPARATOR.to_owned())].concat();
    let environment: Vec<_> = services.iter().flat_map(|service| service.environment.clone()).collect();
    Daemon::inside(&format!("{node}-agent"), holder.pid, &program, &environment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    fn lines(shape: &Shape) -> Vec<(String, String)> {
        let holder = Identity::of(std::process::id()).unwrap();
        let daemons = daemons("node2", holder, &Layout::new(2, shape).unwrap()).unwrap();
        let words = |daemon: &Daemon| daemon.args[3..].join(" ");
        daemons.iter().map(|daemon| (daemon.name.clone(), words(daemon))).collect()
    }

    #[test]
    fn a_thin_lab_has_a_process_per_service_and_a_thick_one_a_single_process() {
        let shape =
            Shape { spiderpool: true, policies: true, flannel: Some("{}".into()), ..Shape::default() };
        let thin = lines(&shape);
        let names: Vec<&str> = thin.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["node2-agent", "node2-policies", "node2-flanneld"]);
        assert!(thin.iter().all(|(_, words)| words.starts_with("/opt/cni/bin/polynic agent ")));
        let thick = lines(&Shape { thick: true, ..shape });
        let [(name, words)] = thick.as_slice() else { panic!("{thick:?}") };
        assert_eq!(name, "node2-agent");
        assert!(
            words.starts_with("/opt/cni/bin/polynic agent spiderpool-agent daemon --config-path="),
            "{words}"
        );
        let services: Vec<&str> = words.split(" -- ").filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(services[1..], ["multi-networkpolicy-nftables", "flanneld", "multus-daemon"]);
    }

    #[test]
    fn the_least_lab_has_none_and_the_least_thick_one_the_endpoint() {
        assert_eq!(lines(&Shape::default()), []);
        let thick = lines(&Shape { thick: true, ..Shape::default() });
        assert!(
            thick.len() == 1 && thick[0].1.starts_with("/opt/cni/bin/polynic agent multus-daemon -config ")
        );
    }
}
