//! From what was found to the status.

use polynic_api::spider::coordinator::phase;
use polynic_api::spider::{CoordinatorSpec, CoordinatorStatus};

use super::cni_conf::pod_cidr_type_of;
use super::sources::{CiliumIpam, Sources};

/// `spec.podCIDRType`, and what `auto` turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodCidrType {
    /// The cluster's own CIDRs.
    Cluster,
    /// Calico's.
    Calico,
    /// Cilium's.
    Cilium,
    /// No pod CIDRs.
    None,
}

impl PodCidrType {
    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Calico => "calico",
            Self::Cilium => "cilium",
            Self::None => "none",
        }
    }
}

/// The status, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The status as it has to be.
    pub status: CoordinatorStatus,
    /// The type that was used, if that is known.
    pub used: Option<PodCidrType>,
    /// What to tell users: reason of an Event, and text.
    pub trouble: Option<(&'static str, String)>,
}

/// Decides. What is not ready says why, and keeps pods with `coordinator` from starting; it heals when a source appears.
pub fn decide(spec: &CoordinatorSpec, sources: &Sources) -> Decision {
    let used = match resolve(spec.pod_cidr_type.as_deref(), sources) {
        Ok(used) => used,
        Err(why) => return not_ready(None, "ClusterNotReady", why),
    };
    let pod = match pod_cidrs(used, sources) {
        Ok(pod) => pod,
        Err((reason, why)) => return not_ready(Some(used), reason, why),
    };
    let service = service_cidrs(sources);
    if service.is_empty() && used != PodCidrType::None {
        let why = "no Service CIDR was found: neither in a ServiceCIDR object, nor in kubeadm-config, nor in the arguments of \
                   kube-controller-manager, kube-apiserver, k3s, rke2 or k0s";
        return not_ready(Some(used), "ClusterNotReady", why.to_owned());
    }
    let status = CoordinatorStatus {
        phase: phase::SYNCED.to_owned(),
        reason: None,
        overlay_pod_cidr: pod,
        service_cidr: service,
    };
    Decision { status, used: Some(used), trouble: None }
}

fn resolve(wanted: Option<&str>, sources: &Sources) -> Result<PodCidrType, String> {
    match wanted {
        Some("cluster") => Ok(PodCidrType::Cluster),
        Some("calico") => Ok(PodCidrType::Calico),
        Some("cilium") => Ok(PodCidrType::Cilium),
        Some("none") => Ok(PodCidrType::None),
        None | Some("" | "auto") => sources.cni_conf.clone().map(|name| pod_cidr_type_of(name.as_deref())),
        Some(other) => Err(format!("podCIDRType {other:?} is none of auto, cluster, calico, cilium, none")),
    }
}

fn pod_cidrs(used: PodCidrType, sources: &Sources) -> Result<Vec<String>, (&'static str, String)> {
    if !sources.explicit.pod.is_empty() && used != PodCidrType::None {
        return Ok(sources.explicit.pod.clone());
    }
    match used {
        PodCidrType::None => Ok(Vec::new()),
        PodCidrType::Cluster => cluster_pod_cidrs(sources),
        PodCidrType::Calico => match &sources.calico {
            Ok(cidrs) if cidrs.is_empty() => {
                Err(("ClusterNotReady", "Calico has no IPPool that is in use".to_owned()))
            }
            Ok(cidrs) => Ok(cidrs.clone()),
            Err(why) => Err(("ClusterNotReady", why.clone())),
        },
        PodCidrType::Cilium => match &sources.cilium {
            Ok(CiliumIpam::Pools(cidrs)) if cidrs.is_empty() => {
                Err(("CiliumNotReady", "Cilium's configuration names no pod CIDR".to_owned()))
            }
            Ok(CiliumIpam::Pools(cidrs)) => Ok(cidrs.clone()),
            Ok(CiliumIpam::Kubernetes) => cluster_pod_cidrs(sources),
            Err(why) => Err(("CiliumNotReady", why.clone())),
        },
    }
}

fn cluster_pod_cidrs(sources: &Sources) -> Result<Vec<String>, (&'static str, String)> {
    let places = [&sources.kubeadm.pod, &sources.arguments.pod, &sources.distribution.pod, &sources.nodes];
    let found = places.into_iter().find(|place| !place.is_empty()).cloned();
    let why = "no pod CIDR was found: neither in kubeadm-config, nor in the arguments of kube-controller-manager, k3s, rke2 or k0s, nor \
               in the nodes' podCIDRs";
    found.ok_or(("ClusterNotReady", why.to_owned()))
}

fn service_cidrs(sources: &Sources) -> Vec<String> {
    let places = [
        &sources.explicit.service,
        &sources.service_cidrs,
        &sources.kubeadm.service,
        &sources.arguments.service,
        &sources.distribution.service,
    ];
    places.into_iter().find(|place| !place.is_empty()).cloned().unwrap_or_default()
}

fn not_ready(used: Option<PodCidrType>, reason: &'static str, why: String) -> Decision {
    let status = CoordinatorStatus {
        phase: phase::NOT_READY.to_owned(),
        reason: Some(why.clone()),
        overlay_pod_cidr: Vec::new(),
        service_cidr: Vec::new(),
    };
    Decision { status, used, trouble: Some((reason, why)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::Cidrs;

    fn of(pod: &[&str], service: &[&str]) -> Cidrs {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Cidrs { pod: list(pod), service: list(service) }
    }

    fn decided(kind: &str, sources: &Sources) -> Decision {
        decide(
            &CoordinatorSpec { pod_cidr_type: Some(kind.to_owned()), ..CoordinatorSpec::default() },
            sources,
        )
    }

    fn synced(decision: &Decision) -> (&[String], &[String]) {
        assert_eq!(
            (decision.status.phase.as_str(), &decision.status.reason),
            (phase::SYNCED, &None),
            "{decision:?}"
        );
        (&decision.status.overlay_pod_cidr, &decision.status.service_cidr)
    }

    #[test]
    fn kubeadm_is_enough() {
        let sources = Sources { kubeadm: of(&["10.233.64.0/18"], &["10.233.0.0/18"]), ..Sources::default() };
        let decision = decided("cluster", &sources);
        assert_eq!(
            synced(&decision),
            (&["10.233.64.0/18".to_owned()][..], &["10.233.0.0/18".to_owned()][..])
        );
    }

    #[test]
    fn every_source_of_the_cluster_is_good_in_its_order() {
        let mut sources = Sources {
            nodes: vec!["10.5.0.0/24".into()],
            service_cidrs: vec!["10.96.0.0/12".into()],
            ..Sources::default()
        };
        let pod = |sources: &Sources| synced(&decided("cluster", sources)).0[0].clone();
        assert_eq!(pod(&sources), "10.5.0.0/24");
        sources.distribution = of(&["10.42.0.0/16"], &["10.43.0.0/16"]);
        assert_eq!(pod(&sources), "10.42.0.0/16");
        sources.arguments = of(&["10.3.0.0/16"], &["10.4.0.0/16"]);
        assert_eq!(pod(&sources), "10.3.0.0/16");
        sources.kubeadm = of(&["10.2.0.0/16"], &[]);
        assert_eq!(pod(&sources), "10.2.0.0/16");
        sources.explicit = of(&["10.1.0.0/16"], &[]);
        let decision = decided("cluster", &sources);
        assert_eq!(synced(&decision), (&["10.1.0.0/16".to_owned()][..], &["10.96.0.0/12".to_owned()][..]));
        sources.service_cidrs.clear();
        assert_eq!(synced(&decided("cluster", &sources)).1, ["10.4.0.0/16"]);
    }

    #[test]
    fn with_no_source_it_says_why() {
        let decision = decided("cluster", &Sources::default());
        assert_eq!(decision.status.phase, phase::NOT_READY);
        assert!(decision.status.reason.unwrap().starts_with("no pod CIDR was found"));
        assert_eq!(decision.trouble.unwrap().0, "ClusterNotReady");
        let half = Sources { nodes: vec!["10.5.0.0/24".into()], ..Sources::default() };
        let decision = decided("cluster", &half);
        assert!(decision.status.reason.unwrap().starts_with("no Service CIDR was found"));
        assert!(decision.status.overlay_pod_cidr.is_empty());
    }

    #[test]
    fn none_needs_nothing() {
        assert_eq!(synced(&decided("none", &Sources::default())), (&[][..], &[][..]));
        let sources = Sources { service_cidrs: vec!["10.96.0.0/12".into()], ..Sources::default() };
        assert_eq!(synced(&decided("none", &sources)).1, ["10.96.0.0/12"]);
    }

    #[test]
    fn calico_and_cilium_have_cidrs_of_their_own() {
        let base = Sources { kubeadm: of(&["10.2.0.0/16"], &["10.96.0.0/12"]), ..Sources::default() };
        let calico = Sources { calico: Ok(vec!["10.7.0.0/16".into()]), ..base.clone() };
        assert_eq!(synced(&decided("calico", &calico)).0, ["10.7.0.0/16"]);
        assert_eq!(decided("calico", &base).status.phase, phase::NOT_READY);
        let cilium = |ipam| decided("cilium", &Sources { cilium: ipam, ..base.clone() });
        assert_eq!(synced(&cilium(Ok(CiliumIpam::Pools(vec!["10.8.0.0/16".into()])))).0, ["10.8.0.0/16"]);
        assert_eq!(synced(&cilium(Ok(CiliumIpam::Kubernetes))).0, ["10.2.0.0/16"]);
        assert_eq!(cilium(Err("eni".into())).trouble.unwrap().0, "CiliumNotReady");
    }

    #[test]
    fn auto_follows_the_first_cni_configuration() {
        let base = Sources { kubeadm: of(&["10.2.0.0/16"], &["10.96.0.0/12"]), ..Sources::default() };
        let used = |conf: Result<Option<String>, String>| {
            decided("auto", &Sources { cni_conf: conf, ..base.clone() })
        };
        assert_eq!(used(Ok(Some("flannel".into()))).used, Some(PodCidrType::Cluster));
        assert_eq!(used(Ok(None)).used, Some(PodCidrType::None));
        let unreadable = used(Err("cannot read /etc/cni/net.d".into()));
        assert_eq!((unreadable.used, unreadable.status.phase.as_str()), (None, phase::NOT_READY));
    }
}
