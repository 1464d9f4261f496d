//! Where a cluster says which CIDRs it has, as far as each place could be read. Pure: texts in, lists out.

use polynic_net::IpNet;

/// Pod and Service CIDRs of one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cidrs {
    /// Where pods live.
    pub pod: Vec<String>,
    /// Where Services live.
    pub service: Vec<String>,
}

/// What was found at a place that may not be there, or not be readable.
pub type Found<T> = Result<T, String>;

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// In the SpiderCoordinator itself.
    pub explicit: Cidrs,
    /// The `name` of the first CNI configuration of the node; only read for `auto`.
    pub cni_conf: Found<Option<String>>,
    /// ConfigMap kube-system/kubeadm-config.
    pub kubeadm: Cidrs,
    /// Arguments of kube-controller-manager and kube-apiserver.
    pub arguments: Cidrs,
    /// Annotations that k3s and rke2 write to nodes, and the configuration of k0s.
    pub distribution: Cidrs,
    /// `spec.podCIDRs` of the nodes.
    pub nodes: Vec<String>,
    /// ServiceCIDR objects by creation time; empty if the cluster has no such kind.
    pub service_cidrs: Vec<String>,
    /// Calico's IPPools by creation time.
    pub calico: Found<Vec<String>>,
    /// What Cilium's configuration says.
    pub cilium: Found<CiliumIpam>,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            explicit: Cidrs::default(),
            cni_conf: Ok(None),
            kubeadm: Cidrs::default(),
            arguments: Cidrs::default(),
            distribution: Cidrs::default(),
            nodes: Vec::new(),
            service_cidrs: Vec::new(),
            calico: Ok(Vec::new()),
            cilium: Err("Cilium was not looked at".to_owned()),
        }
    }
}

/// How Cilium gives addresses to pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CiliumIpam {
    /// From pools of its own, with these CIDRs.
    Pools(Vec<String>),
    /// From the nodes' CIDRs, so the cluster's count.
    Kubernetes,
}

/// A comma list; what is no CIDR is left out.
pub fn cidr_list(text: &str) -> Vec<String> {
    let items = text.split(',').map(|item| item.trim().trim_matches(['"', '\'']));
    items.filter(|item| item.parse::<IpNet>().is_ok()).map(str::to_owned).collect()
}

/// The text of kubeadm's `ClusterConfiguration`: what stands after `podSubnet:` and `serviceSubnet:`.
pub fn of_kubeadm(text: &str) -> Cidrs {
    let after = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.next().map(cidr_list).unwrap_or_default()
    };
    Cidrs { pod: after("podSubnet:"), service: after("serviceSubnet:") }
}

/// Arguments such as `--cluster-cidr=…`, or with the value as an argument of its own, in any order.
pub fn of_arguments<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Cidrs {
    let words: Vec<&str> = arguments.into_iter().collect();
    let value = |names: &[&str]| {
        let mut values = words.iter().enumerate().filter_map(|(at, word)| {
            let name = names.iter().find_map(|name| word.strip_prefix(name))?;
            match name.strip_prefix('=') {
                Some(value) => Some(value),
                None if name.is_empty() => words.get(at + 1).copied(),
                None => None,
            }
        });
        values.next().map(cidr_list).unwrap_or_default()
    };
    Cidrs {
        pod: value(&["--cluster-cidr"]),
        service: value(&["--service-cluster-ip-range", "--service-cidr"]),
    }
}

/// The annotation `k3s.io/node-args` or `rke2.io/node-args` of a server: a JSON list of arguments. What is not given has the
/// distribution's default.
pub fn of_node_args(text: &str) -> Cidrs {
    let words: Vec<String> = serde_json::from_str(text).unwrap_or_default();
    if words.first().is_none_or(|word| word != "server") {
        return Cidrs::default();
    }
    let given = of_arguments(words.iter().map(String::as_str));
    let or =
        |given: Vec<String>, default: &str| if given.is_empty() { vec![default.to_owned()] } else { given };
    Cidrs { pod: or(given.pod, "10.42.0.0/16"), service: or(given.service, "10.43.0.0/16") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn kubeadm_says_it_in_two_lines() {
        let text = "apiVersion: kubeadm.k8s.io/v1beta3\nnetworking:\n  dnsDomain: cluster.local\n  podSubnet: 10.233.64.0/18,fd85::/112\n  serviceSubnet: \"10.233.0.0/18\"\n";
        let found = of_kubeadm(text);
        assert_eq!(found.pod, list(&["10.233.64.0/18", "fd85::/112"]));
        assert_eq!(found.service, list(&["10.233.0.0/18"]));
        assert_eq!(of_kubeadm("networking: {}"), Cidrs::default());
        assert_eq!(of_kubeadm("podSubnet: 10.0.0.0/8,nonsense,").pod, list(&["10.0.0.0/8"]));
    }

    #[test]
    fn arguments_come_in_both_forms() {
        let found = of_arguments([
            "kube-controller-manager",
            "--cluster-cidr=10.1.0.0/16,fd00::/64",
            "--service-cluster-ip-range",
            "10.2.0.0/16",
        ]);
        assert_eq!(
            found,
            Cidrs { pod: list(&["10.1.0.0/16", "fd00::/64"]), service: list(&["10.2.0.0/16"]) }
        );
        assert_eq!(of_arguments(["--cluster-cidrs=10.1.0.0/16", "--cluster-cidr"]), Cidrs::default());
    }

    #[test]
    fn k3s_servers_have_defaults_and_agents_say_nothing() {
        let found = of_node_args(r#"["server","--cluster-cidr","10.9.0.0/16","--disable","traefik"]"#);
        assert_eq!(found, Cidrs { pod: list(&["10.9.0.0/16"]), service: list(&["10.43.0.0/16"]) });
        assert_eq!(
            of_node_args(r#"["server","--service-cidr=10.8.0.0/16"]"#).service,
            list(&["10.8.0.0/16"])
        );
        assert_eq!(of_node_args(r#"["agent"]"#), Cidrs::default());
        assert_eq!(of_node_args("nonsense"), Cidrs::default());
    }
}
