//! Events about policies that cannot be rendered and tables that cannot be applied (spec/multi-networkpolicy.md 4, required 7).

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use polynic_api::multi_policy::{GROUP, KIND, VERSION};
use polynic_policy::{PodKey, Policy};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// More than this the API refuses, in bytes.
const LONGEST: usize = 1000;

/// Something for people, about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    namespace: String,
    /// The object as Events name it.
    about: Value,
    reason: &'static str,
    message: String,
}

impl Notice {
    /// What of a policy was left out; nothing if it was rendered fully.
    pub(super) fn unrendered(policy: &Policy) -> Option<Self> {
        let problems: Vec<String> = policy.problems().iter().map(ToString::to_string).collect();
        let key = policy.key();
        (!problems.is_empty()).then(|| Self {
            namespace: key.namespace.clone(),
            about: json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "namespace": key.namespace, "name": key.name}),
            reason: "PolicyRenderFailed",
            message: shortened(problems.join("; ")),
        })
    }

    /// A pod's rules are not the wanted ones.
    pub(super) fn unapplied(pod: &PodKey, why: &str) -> Self {
        Self {
            namespace: pod.namespace.clone(),
            about: json!({"apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name}),
            reason: "PolicyApplyFailed",
            message: shortened(why.to_owned()),
        }
    }

    /// The same notice has the same name on all nodes and always: it is there once.
    fn name(&self) -> String {
        let digest = Sha256::digest(format!("{}{}{}", self.about, self.reason, self.message));
        let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let object = self.about["name"].as_str().unwrap_or_default();
        // Names have at most 253 characters; those of Kubernetes objects are ASCII.
        format!("{}.{digest}", object.get(..200).unwrap_or(object))
    }

    fn object(&self, now: Timestamp) -> Value {
        let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        json!({
            "metadata": {"name": self.name(), "namespace": self.namespace},
            "involvedObject": self.about,
            "type": "Warning",
            "reason": self.reason,
            "message": self.message,
            "source": {"component": "polynic-policy"},
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        })
    }
}

fn shortened(message: String) -> String {
    let end = (0..=LONGEST.min(message.len())).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    message.get(..end).unwrap_or_default().to_owned()
}

/// Posts a notice, best effort. One that is there already is fine.
pub(super) async fn post(client: Client, notice: Notice) {
    let Ok(event) = serde_json::from_value::<core::Event>(notice.object(Timestamp::now())) else { return };
    let api: Api<core::Event> = Api::namespaced(client, &notice.namespace);
    match api.create(&PostParams::default(), &event).await {
        Ok(_) => {}
        Err(Error::Api(status)) if status.code == 409 => {}
        Err(why) => tracing::warn!(error = %why, reason = notice.reason, "an Event is not written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_policy_is_told_once_and_in_one_name() {
        let policy = |spec: Value| {
            let policy = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec});
            Notice::unrendered(&Policy::parse(&policy))
        };
        assert_eq!(policy(json!({"podSelector": {}})), None);
        let broken = json!({"podSelector": {}, "ingress": [{"ports": [{"port": 0}]}]});
        let notice = policy(broken.clone()).unwrap();
        assert_eq!(notice.message, "ingress[0].ports[0]: 0 is no port");
        let object = notice.object("2026-01-02T03:04:05Z".parse().unwrap());
        assert_eq!((&object["reason"], &object["type"]), (&json!("PolicyRenderFailed"), &json!("Warning")));
        assert_eq!(object["involvedObject"]["kind"], "MultiNetworkPolicy");
        assert_eq!(notice.name(), policy(broken).unwrap().name());
        assert!(serde_json::from_value::<core::Event>(object).is_ok());
    }

    #[test]
    fn long_messages_fit() {
        let notice = Notice::unapplied(&PodKey::new("shop", "p"), &"ä".repeat(900));
        assert!(notice.message.len() <= LONGEST);
    }
}
