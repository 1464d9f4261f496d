//! Which candidates are for this pod, and in which order (spec/spiderpool.md 7.3 and 7.4).

use std::sync::Arc;

use polynic_net::Family;

use crate::{AddRequest, Demand, FailureReason, ObservedPod, PodKey, Pool, Settings, auto_pool, label};

/// What the filters look at besides the pool.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The agent's settings.
    pub settings: &'a Settings,
    /// The request.
    pub request: &'a AddRequest,
    /// The pod.
    pub pod: &'a ObservedPod,
    /// What the interface is to get.
    pub demand: &'a Demand,
    /// The family under consideration.
    pub family: Family,
}

impl Situation<'_> {
    /// The candidates of the family that pass, best first; those of equal rank in the order given.
    ///
    /// # Errors
    /// None passes; the text gives the reason for every one.
    pub fn survivors(&self) -> Result<Vec<Arc<Pool>>, FailureReason> {
        let (mut good, mut reasons) = (Vec::new(), Vec::new());
        for pool in self.demand.of_family(self.family) {
            match self.why_not(pool) {
                None => good.push(pool.clone()),
                Some(why) => reasons.push(format!("IPPool {}: {why}", pool.name)),
            }
        }
        if good.is_empty() {
            let all = reasons.join("; ");
            return Err(FailureReason::NoPool(format!("no {} IPPool is for this pod: {all}", self.family)));
        }
        good.sort_by_key(|pool| rank(pool));
        Ok(good)
    }

    /// The first filter that keeps this pool from the pod.
    fn why_not(&self, pool: &Pool) -> Option<String> {
        let spec = &pool.spec;
        match () {
            () if pool.terminating => Some("it is being deleted".to_owned()),
            () if spec.disable => Some("it is disabled".to_owned()),
            () if spec.family() != self.family => Some(format!("it is not of {}", self.family)),
            () => {
                self.wrong_node(pool).or_else(|| self.wrong_namespace(pool)).or_else(|| self.wrong_pod(pool))
            }
        }
    }

    fn wrong_node(&self, pool: &Pool) -> Option<String> {
        let (node, spec) = (&self.pod.pod.node, &pool.spec);
        if !spec.node_names.is_empty() {
            return (!spec.node_names.contains(node)).then(|| format!("nodeName does not list node {node}"));
        }
        let unmatched =
            spec.node_affinity.as_ref().is_some_and(|affinity| !affinity.matches(&self.pod.node_labels));
        unmatched.then(|| format!("nodeAffinity does not match the labels of node {node}"))
    }

    fn wrong_namespace(&self, pool: &Pool) -> Option<String> {
        let (namespace, spec) = (&self.pod.pod.key.namespace, &pool.spec);
        if !spec.namespace_names.is_empty() {
            let listed = spec.namespace_names.contains(namespace);
            return (!listed).then(|| format!("namespaceName does not list namespace {namespace}"));
        }
        let labels = &self.pod.namespace.labels;
        let unmatched = spec.namespace_affinity.as_ref().is_some_and(|affinity| !affinity.matches(labels));
        unmatched.then(|| format!("namespaceAffinity does not match the labels of namespace {namespace}"))
    }

    /// An automatic pool belongs to one application, and for that nothing else counts.
    fn wrong_pod(&self, pool: &Pool) -> Option<String> {
        let affinity = pool.spec.pod_affinity.as_ref();
        if label::is_automatic(&pool.labels) {
            let app = self.pod.top_controller();
            let own = auto_pool::app_labels(&self.pod.pod.key.namespace, &app);
            let matches = affinity.is_some_and(|affinity| affinity.match_labels == own);
            return (!matches)
                .then(|| format!("it belongs to another application than {} {}", app.kind, app.name));
        }
        if affinity.is_some_and(|affinity| !affinity.matches(&self.pod.pod.labels)) {
            return Some("podAffinity does not match the pod's labels".to_owned());
        }
        self.wrong_network(pool).or_else(|| self.wrong_master(pool))
    }

    fn wrong_network(&self, pool: &Pool) -> Option<String> {
        if pool.spec.multus_names.is_empty() {
            return None;
        }
        let listed = |network: &PodKey| {
            pool.spec.multus_names.iter().any(|name| match name.split_once('/') {
                Some(_) => PodKey::of_text(name) == *network,
                None => network.namespace == self.settings.agent_namespace && network.name == *name,
            })
        };
        match self.network() {
            Ok(network) if listed(&network) => None,
            Ok(network) => {
                Some(format!("multusName does not list network {network} of interface {}", self.nic()))
            }
            Err(why) => Some(format!("multusName needs the network of interface {}: {why}", self.nic())),
        }
    }

    fn nic(&self) -> String {
        match self.demand.nic.as_str() {
            "" => format!("net{}", self.demand.position),
            nic => nic.to_owned(),
        }
    }

    /// The network that the interface belongs to.
    fn network(&self) -> Result<PodKey, String> {
        let networks = &self.pod.networks;
        if let Some(problem) = &networks.problem {
            return Err(problem.clone());
        }
        if self.demand.position == 0 {
            let default = networks.default.clone().or_else(|| self.settings.cluster_network.clone());
            return default.ok_or_else(|| {
                "neither the pod nor the cluster (MULTUS_CLUSTER_NETWORK) names one".to_owned()
            });
        }
        let nic = self.nic();
        let named = |at: usize, name: &Option<String>| match name {
            Some(name) => *name == nic,
            None => format!("net{}", at + 1) == nic,
        };
        let found = networks.selected.iter().enumerate().find(|(at, (_, name))| named(*at, name));
        found
            .map(|(_, (network, _))| network.clone())
            .ok_or_else(|| "the pod's networks annotation has none".to_owned())
    }

    fn wrong_master(&self, pool: &Pool) -> Option<String> {
        let addresses = self.request.master_addresses.as_ref()?;
        let inside = addresses.iter().any(|ip| pool.spec.subnet.contains(ip));
        (!inside).then(|| {
            format!("match_master_subnet: the host's interface has no address in {}", pool.spec.subnet)
        })
    }
}

/// Lower is better: what a pool says about whom it is for, in the order of section 7.4.
fn rank(pool: &Pool) -> [bool; 6] {
    let spec = &pool.spec;
    [
        spec.pod_affinity.is_none(),
        spec.node_names.is_empty(),
        spec.node_affinity.is_none(),
        spec.namespace_names.is_empty(),
        spec.namespace_affinity.is_none(),
        spec.multus_names.is_empty(),
    ]
}

#[cfg(test)]
mod tests;
