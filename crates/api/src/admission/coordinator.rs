//! SpiderCoordinator (spec/spiderpool.md 3.4).

use super::coordination::{check, normalise};
use super::{Denial, FieldError};
use crate::spider::{FINALIZER, SpiderCoordinator};

/// Fills in defaults, writes destinations as prefixes, and adds the finalizer.
pub fn mutate(coordinator: &mut SpiderCoordinator) {
    if coordinator.metadata.is_terminating() {
        return;
    }
    if !coordinator.metadata.has_finalizer(FINALIZER) {
        coordinator.metadata.finalizers.push(FINALIZER.to_owned());
    }
    let spec = &mut coordinator.spec;
    normalise(spec);
    spec.mode.get_or_insert_with(|| "auto".to_owned());
    spec.tune_pod_routes.get_or_insert(true);
    spec.host_rule_table.get_or_insert(500);
    spec.pod_rp_filter.get_or_insert(0);
    spec.tx_queue_len.get_or_insert(0);
    spec.veth_link_address.get_or_insert_with(String::new);
    spec.veth_mtu.get_or_insert(1500);
}

/// The rules for a new or changed object.
///
/// # Errors
/// The rules that it breaks.
pub fn validate(coordinator: &SpiderCoordinator) -> Result<(), Denial> {
    if coordinator.metadata.is_terminating() {
        return Ok(());
    }
    let mut errors = check(&coordinator.spec, "spec");
    if coordinator.spec.pod_cidr_type.is_none() {
        let why = "must be one of auto, cluster, calico, cilium, none";
        errors.push(FieldError::required("spec.podCIDRType", why));
    }
    Denial::unless_empty(errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spider::CoordinatorSpec;
    use serde_json::json;

    fn object(spec: serde_json::Value) -> SpiderCoordinator {
        SpiderCoordinator::new("default", serde_json::from_value::<CoordinatorSpec>(spec).unwrap())
    }

    #[test]
    fn defaults_are_filled_in() {
        let mut coordinator = object(json!({"podCIDRType": "cluster"}));
        mutate(&mut coordinator);
        assert_eq!(
            serde_json::to_value(&coordinator.spec).unwrap(),
            json!({"mode": "auto", "podCIDRType": "cluster", "tunePodRoutes": true, "hostRuleTable": 500, "podRPFilter": 0,
                   "txQueueLen": 0, "vethLinkAddress": "", "vethMTU": 1500})
        );
        assert_eq!(coordinator.metadata.finalizers, [FINALIZER]);
        assert_eq!(validate(&coordinator), Ok(()));
    }

    #[test]
    fn what_is_given_stays_and_destinations_become_prefixes() {
        let mut coordinator = object(json!({
            "mode": "overlay", "podCIDRType": "none", "podRPFilter": -1, "vethMTU": 9000, "tunePodRoutes": false,
            "hijackCIDR": ["169.254.0.1", "10.1.2.3/16", "fd00::1"], "policyRoutes": [{"dst": "10.9.9.9", "gw": "10.0.0.1"}],
        }));
        mutate(&mut coordinator);
        let spec = &coordinator.spec;
        assert_eq!(spec.hijack_cidr.as_deref().unwrap(), ["169.254.0.1/32", "10.1.0.0/16", "fd00::1/128"]);
        assert_eq!(spec.policy_routes.as_ref().unwrap()[0].dst, "10.9.9.9/32");
        assert_eq!(
            (spec.mode.as_deref(), spec.pod_rp_filter, spec.veth_mtu),
            (Some("overlay"), Some(-1), Some(9000))
        );
        assert_eq!(spec.tune_pod_routes, Some(false));
        assert_eq!(validate(&coordinator), Ok(()));
    }

    #[test]
    fn the_guides_spelling_of_mode_is_read() {
        let mut coordinator =
            object(json!({"mode": "auto", "tuneMode": "overlay", "podCIDRType": "cluster"}));
        mutate(&mut coordinator);
        assert_eq!(
            (coordinator.spec.mode.as_deref(), coordinator.spec.tune_mode.as_deref()),
            (Some("overlay"), None)
        );
    }

    #[test]
    fn every_rule_names_its_field() {
        for (spec, field) in [
            (json!({}), "spec.podCIDRType"),
            (json!({"podCIDRType": "flannel"}), "spec.podCIDRType"),
            (json!({"podCIDRType": "none", "mode": "host"}), "spec.mode"),
            (json!({"podCIDRType": "none", "hijackCIDR": ["10.0.0.0/8", "x"]}), "spec.hijackCIDR[1]"),
            (
                json!({"podCIDRType": "none", "policyRoutes": [{"dst": "x", "gw": "10.0.0.1"}]}),
                "spec.policyRoutes[0].dst",
            ),
            (
                json!({"podCIDRType": "none", "policyRoutes": [{"dst": "10.0.0.0/8", "gw": "x"}]}),
                "spec.policyRoutes[0].gw",
            ),
            (
                json!({"podCIDRType": "none", "policyRoutes": [{"dst": "10.0.0.0/8", "gw": "fd00::1"}]}),
                "spec.policyRoutes[0].gw",
            ),
            (json!({"podCIDRType": "none", "overlayPodCIDR": ["10.0.0.1"]}), "spec.overlayPodCIDR[0]"),
            (json!({"podCIDRType": "none", "podMACPrefix": "0a"}), "spec.podMACPrefix"),
            (json!({"podCIDRType": "none", "podMACPrefix": "+a:1b"}), "spec.podMACPrefix"),
            (json!({"podCIDRType": "none", "podMACPrefix": "0b:1b"}), "spec.podMACPrefix"),
            (json!({"podCIDRType": "none", "podRPFilter": 3}), "spec.podRPFilter"),
            (json!({"podCIDRType": "none", "txQueueLen": -1}), "spec.txQueueLen"),
            (json!({"podCIDRType": "none", "vethMTU": 0}), "spec.vethMTU"),
            (json!({"podCIDRType": "none", "vethLinkAddress": "x"}), "spec.vethLinkAddress"),
        ] {
            let Err(Denial::Invalid(errors)) = validate(&object(spec.clone())) else { panic!("{spec}") };
            assert_eq!(
                errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(),
                [field],
                "{spec}"
            );
        }
        for spec in [
            json!({"podCIDRType": "none", "podMACPrefix": ""}),
            json!({"podCIDRType": "none", "podMACPrefix": "0a:1b"}),
            json!({"podCIDRType": "none", "podRPFilter": -7}),
            json!({"podCIDRType": "none", "vethLinkAddress": "169.254.100.1"}),
        ] {
            assert_eq!(validate(&object(spec.clone())), Ok(()), "{spec}");
        }
    }

    #[test]
    fn one_that_is_being_deleted_is_left_alone() {
        let mut coordinator = object(json!({}));
        coordinator.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
        let before = coordinator.clone();
        mutate(&mut coordinator);
        assert_eq!((coordinator.clone(), validate(&coordinator)), (before, Ok(())));
    }
}
