//! What `coordinator` is to do: the SpiderCoordinator object, with a word of the pod's own (spec/spiderpool.md 5).

use polynic_api::spider::annotation::DEFAULT_ROUTE_NIC;
use polynic_api::spider::coordinator::phase;
use polynic_api::spider::{CoordinatorSpec, CoordinatorStatus};
use polynic_ipam::Texts;
use polynic_wire::messages::{CoordinatorConfig, PolicyRoute};

/// The configuration for a pod with these annotations.
///
/// # Errors
/// The object is not in step with the cluster: what it says might be wrong, so nothing is said.
pub(crate) fn config(
    name: &str,
    spec: &CoordinatorSpec,
    status: Option<&CoordinatorStatus>,
    annotations: &Texts,
) -> Result<CoordinatorConfig, String> {
    let synced = status.filter(|status| status.phase == phase::SYNCED);
    let status = synced.ok_or_else(|| not_ready(name, status))?;
    Ok(CoordinatorConfig {
        mode: spec.mode.clone().or_else(|| spec.tune_mode.clone()).unwrap_or_else(|| "auto".to_owned()),
        overlay_pod_cidr: status.overlay_pod_cidr.clone(),
        service_cidr: status.service_cidr.clone(),
        tune_pod_routes: spec.tune_pod_routes.unwrap_or(true),
        hijack_cidr: spec.hijack_cidr.clone().unwrap_or_default(),
        policy_routes: routes(spec),
        pod_mac_prefix: spec.pod_mac_prefix.clone().unwrap_or_default(),
        pod_default_route_nic: default_route_nic(spec, annotations),
        host_rule_table: spec.host_rule_table.unwrap_or(500),
        pod_rp_filter: spec.pod_rp_filter.unwrap_or_default(),
        tx_queue_len: spec.tx_queue_len.unwrap_or_default(),
        veth_link_address: spec.veth_link_address.clone().unwrap_or_default(),
        veth_mtu: spec.veth_mtu.unwrap_or_default(),
    })
}

fn not_ready(name: &str, status: Option<&CoordinatorStatus>) -> String {
    let phase = status.map(|status| status.phase.as_str()).filter(|phase| !phase.is_empty());
    let reason = status.and_then(|status| status.reason.as_deref()).unwrap_or_default();
    format!("SpiderCoordinator {name} is {}, not Synced: {reason}", phase.unwrap_or("new"))
}

fn routes(spec: &CoordinatorSpec) -> Vec<PolicyRoute> {
    let routes = spec.policy_routes.iter().flatten();
    routes.map(|route| PolicyRoute { dst: route.dst.clone(), gw: route.gw.clone() }).collect()
}

fn default_route_nic(spec: &CoordinatorSpec, annotations: &Texts) -> String {
    let wanted = annotations.get(DEFAULT_ROUTE_NIC);
    wanted.or(spec.pod_default_route_nic.as_ref()).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(spec: Value, status: Value, annotations: Value) -> Result<Value, String> {
        let spec: CoordinatorSpec = serde_json::from_value(spec).unwrap();
        let status: Option<CoordinatorStatus> = serde_json::from_value(status).unwrap();
        let annotations: Texts = serde_json::from_value(annotations).unwrap();
        config("default", &spec, status.as_ref(), &annotations).map(|config| json!(config))
    }

    #[test]
    fn the_object_and_the_clusters_cidrs_make_the_answer() {
        let spec = json!({"mode": "overlay", "tunePodRoutes": false, "hijackCIDR": ["169.254.0.0/16"], "hostRuleTable": 7,
            "policyRoutes": [{"dst": "10.0.0.0/8", "gw": "10.0.0.1"}], "podMACPrefix": "0a:1b", "podDefaultRouteNIC": "net1",
            "podRPFilter": -1, "txQueueLen": 5, "vethLinkAddress": "169.254.1.2", "vethMTU": 1400});
        let status =
            json!({"phase": "Synced", "overlayPodCIDR": ["10.244.0.0/16"], "serviceCIDR": ["10.96.0.0/12"]});
        let answer = read(spec.clone(), status.clone(), json!({})).unwrap();
        let expected = json!({"mode": "overlay", "overlayPodCIDR": ["10.244.0.0/16"], "serviceCIDR": ["10.96.0.0/12"],
            "tunePodRoutes": false, "hijackCIDR": ["169.254.0.0/16"], "hostRuleTable": 7,
            "policyRoutes": [{"dst": "10.0.0.0/8", "gw": "10.0.0.1"}], "podMACPrefix": "0a:1b", "podDefaultRouteNIC": "net1",
            "podRPFilter": -1, "txQueueLen": 5, "vethLinkAddress": "169.254.1.2", "vethMTU": 1400});
        assert_eq!(answer, expected);
        let annotated = read(spec, status.clone(), json!({DEFAULT_ROUTE_NIC: "eth0"})).unwrap();
        assert_eq!(annotated["podDefaultRouteNIC"], "eth0");
        let plain = read(json!({}), status, json!({})).unwrap();
        assert_eq!((&plain["mode"], &plain["tunePodRoutes"]), (&json!("auto"), &json!(true)));
    }

    #[test]
    fn an_object_that_is_not_in_step_answers_nothing() {
        let why = read(json!({}), json!({"phase": "NotReady", "reason": "no kubeadm-config"}), json!({}))
            .unwrap_err();
        assert!(why.contains("NotReady") && why.contains("no kubeadm-config"), "{why}");
        assert!(read(json!({}), Value::Null, json!({})).unwrap_err().contains("is new"));
    }
}
