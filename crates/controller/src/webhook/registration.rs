//! The webhook configurations: who is asked about what, and whom the API server trusts for it.
//!
//! Where there is none, the controller makes them, marked as its own; then it keeps them whole. Those that somebody else made (a chart)
//! keep their rules: only `caBundle` is kept right there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::api::{ListParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::{GROUP, VERSION};
use polynic_cluster::spider;
use serde_json::{Value, json};

use super::review::{Kind, POD_PATH, Step, path};

/// The label of what the controller made itself.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "polynic-controller");
/// How often a write is tried again that somebody else's write came before.
const ATTEMPTS: usize = 5;

/// How the API server reaches the webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// By a Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
    },
    /// At an address, `https://127.0.0.1:5722`: outside of a cluster.
    Url(String),
}

/// What is registered.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Name of both configurations.
    pub name: String,
    /// How the API server gets here.
    pub reach: Reach,
    /// Kinds that are asked about.
    pub kinds: Vec<Kind>,
    /// Of which namespaces new pods are asked about; absent: none.
    pub pods: Option<PodNamespaces>,
}

/// The namespaces whose pods may get networks by the group they name (`podResourceInject`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodNamespaces {
    /// Not these.
    pub exclude: Vec<String>,
    /// Only these, if there are any.
    pub include: Vec<String>,
}

impl PodNamespaces {
    fn selector(&self) -> Value {
        let by_name = |operator: &str, names: &[String]| json!({"key": "kubernetes.io/metadata.name", "operator": operator, "values": names});
        let both = [("NotIn", &self.exclude), ("In", &self.include)];
        let given = both.into_iter().filter(|(_, names)| !names.is_empty());
        json!({"matchExpressions": given.map(|(operator, names)| by_name(operator, names)).collect::<Vec<_>>()})
    }
}

impl Registration {
    /// The configuration of one step, for these authorities (PEM).
    pub fn configuration(&self, step: Step, authorities: &str) -> Value {
        let mut webhooks: Vec<Value> =
            self.kinds.iter().map(|kind| self.webhook(step, *kind, authorities)).collect();
        let pods = self.pods.as_ref().filter(|_| step == Step::Mutate);
        webhooks.extend(pods.map(|namespaces| self.pod_webhook(namespaces, authorities)));
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind_of(step),
            "metadata": {"name": self.name, "labels": {MANAGED_BY.0: MANAGED_BY.1}},
            "webhooks": webhooks,
        })
    }

    fn webhook(&self, step: Step, kind: Kind, authorities: &str) -> Value {
        let mut operations = vec!["CREATE", "UPDATE"];
        if step == Step::Validate && kind.guards_deletion() {
            operations.push("DELETE");
        }
        let rule = json!({"apiGroups": [GROUP], "apiVersions": [VERSION], "operations": operations,
                          "resources": [kind.plural()], "scope": "*"});
        let name = format!("{}.{GROUP}", kind.singular());
        self.entry(&name, &path(step, kind), authorities, rule)
    }

    fn pod_webhook(&self, namespaces: &PodNamespaces, authorities: &str) -> Value {
        let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                          "resources": ["pods"], "scope": "*"});
        let mut webhook = self.entry("pods.spiderpool.spidernet.io", POD_PATH, authorities, rule);
        webhook["namespaceSelector"] = namespaces.selector();
        webhook
    }

    fn entry(&self, name: &str, path: &str, authorities: &str, rule: Value) -> Value {
        let mut client = match &self.reach {
            Reach::Service { namespace, name, port } => {
                json!({"service": {"namespace": namespace, "name": name, "path": path, "port": port}})
            }
            Reach::Url(base) => json!({"url": format!("{base}{path}")}),
        };
        client["caBundle"] = json!(STANDARD.encode(authorities));
        json!({
            "name": name,
            "admissionReviewVersions": ["v1"],
            "clientConfig": client,
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "timeoutSeconds": 10,
            "rules": [rule],
        })
    }

    /// Makes or mends both configurations. None is made where our kinds are not: that is a cluster from which everything is being removed,
    /// and a webhook that stayed would refuse what it asks nobody about.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn keep(&self, client: &Client, authorities: &str) -> Result<(), kube::Error> {
        if !kinds_are_there(client).await? {
            tracing::info!("no webhook is registered: there are no kinds of Spiderpool");
            return Ok(());
        }
        for step in [Step::Mutate, Step::Validate] {
            self.keep_one(client, step, authorities).await?;
        }
        Ok(())
    }

    async fn keep_one(&self, client: &Client, step: Step, authorities: &str) -> Result<(), kube::Error> {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(step));
        let wanted = self.configuration(step, authorities);
        let mut last = Ok(());
        for _ in 0..ATTEMPTS {
            last = match api.get_opt(&self.name).await? {
                None => match serde_json::from_value(wanted.clone()) {
                    Ok(object) => api.create(&PostParams::default(), &object).await.map(drop),
                    Err(why) => return Err(kube::Error::SerdeError(why)),
                },
                Some(mut there) => {
                    match mended(&there.data["webhooks"], &wanted["webhooks"], is_ours(&there)) {
                        None => return Ok(()),
                        Some(webhooks) => {
                            there.data["webhooks"] = webhooks;
                            api.replace(&self.name, &PostParams::default(), &there).await.map(drop)
                        }
                    }
                }
            };
            match &last {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                _ => return last,
            }
        }
        last
    }
}

/// Removes both configurations, and those of a name that the replaced program's charts use; best effort: all are tried.
pub async fn remove(client: &Client, step: Step, name: &str) -> Result<(), kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(step));
    match api.delete(name, &Default::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

async fn kinds_are_there(client: &Client) -> Result<bool, kube::Error> {
    let pools = spider::all::<IPPool>(client.clone());
    match pools.list(&ListParams::default().limit(1)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the API server can be asked at all.
pub async fn reachable(client: &Client) -> Result<(), kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(Step::Mutate));
    api.list(&ListParams::default().limit(1)).await.map(drop)
}

fn is_ours(object: &DynamicObject) -> bool {
    let label = object.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY.0));
    label.is_some_and(|value| value == MANAGED_BY.1)
}

/// The webhooks as they have to be; `None` if they are so already.
fn mended(there: &Value, wanted: &Value, is_ours: bool) -> Option<Value> {
    let same_name = |webhook: &Value| {
        let name = webhook["name"].clone();
        wanted.as_array().into_iter().flatten().find(|wanted| wanted["name"] == name).cloned()
    };
    if is_ours {
        let count = |value: &Value| value.as_array().map_or(0, Vec::len);
        let mut each = there.as_array().into_iter().flatten();
        let all_same =
            each.all(|webhook| same_name(webhook).is_some_and(|wanted| contains(webhook, &wanted)));
        return (!all_same || count(there) != count(wanted)).then(|| wanted.clone());
    }
    let mut mended = there.clone();
    for webhook in mended.as_array_mut().into_iter().flatten() {
        if let Some(wanted) = same_name(webhook) {
            webhook["clientConfig"]["caBundle"] = wanted["clientConfig"]["caBundle"].clone();
        }
    }
    (mended != *there).then_some(mended)
}

/// Whether everything that is wanted is there; the API server adds defaults.
fn contains(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| there.get(key).is_some_and(|there| contains(there, wanted)))
        }
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len()
                && there.iter().zip(wanted).all(|(there, wanted)| contains(there, wanted))
        }
        _ => there == wanted,
    }
}

fn kind_of(step: Step) -> &'static str {
    match step {
        Step::Mutate => "MutatingWebhookConfiguration",
        Step::Validate => "ValidatingWebhookConfiguration",
    }
}

fn resource(step: Step) -> ApiResource {
    let plural = match step {
        Step::Mutate => "mutatingwebhookconfigurations",
        Step::Validate => "validatingwebhookconfigurations",
    };
    ApiResource {
        group: "admissionregistration.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "admissionregistration.k8s.io/v1".to_owned(),
        kind: kind_of(step).to_owned(),
        plural: plural.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration() -> Registration {
        let reach = Reach::Service {
            namespace: "kube-system".into(),
            name: "spiderpool-controller".into(),
            port: 5722,
        };
        Registration {
            name: "spiderpool-controller".into(),
            reach,
            kinds: vec![Kind::Pool, Kind::Coordinator],
            pods: None,
        }
    }

    #[test]
    fn pods_are_asked_about_where_they_may_be_given_networks() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let pods = PodNamespaces { exclude: names(&["kube-system"]), include: names(&["a", "b"]) };
        let registration = Registration { pods: Some(pods), ..registration() };
        let pods = registration.configuration(Step::Mutate, "PEM")["webhooks"][2].clone();
        assert_eq!(pods["name"], "pods.spiderpool.spidernet.io");
        assert_eq!(pods["clientConfig"]["service"]["path"], "/mutate--v1-pod");
        assert_eq!(
            (&pods["rules"][0]["operations"], &pods["failurePolicy"]),
            (&json!(["CREATE"]), &json!("Fail"))
        );
        let expressions = json!([
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]},
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]},
        ]);
        assert_eq!(pods["namespaceSelector"]["matchExpressions"], expressions);
        assert_eq!(
            registration.configuration(Step::Validate, "PEM")["webhooks"].as_array().unwrap().len(),
            2
        );
    }

    #[test]
    fn webhooks_are_those_of_the_contract() {
        let validating = registration().configuration(Step::Validate, "PEM");
        let pool = &validating["webhooks"][0];
        assert_eq!(pool["name"], "spiderippool.spiderpool.spidernet.io");
        assert_eq!((&pool["failurePolicy"], &pool["sideEffects"]), (&json!("Fail"), &json!("None")));
        assert_eq!(pool["admissionReviewVersions"], json!(["v1"]));
        assert_eq!(pool["rules"][0]["operations"], json!(["CREATE", "UPDATE", "DELETE"]));
        assert_eq!(pool["rules"][0]["resources"], json!(["spiderippools"]), "status is never intercepted");
        assert_eq!(
            pool["clientConfig"],
            json!({"service": {"namespace": "kube-system", "name": "spiderpool-controller", "port": 5722,
                               "path": "/validate-spiderpool-spidernet-io-v2beta1-spiderippool"}, "caBundle": "UEVN"})
        );
        assert_eq!(validating["webhooks"][1]["rules"][0]["operations"], json!(["CREATE", "UPDATE"]));
        let mutating = registration().configuration(Step::Mutate, "PEM");
        assert_eq!(mutating["webhooks"][0]["rules"][0]["operations"], json!(["CREATE", "UPDATE"]));
    }

    #[test]
    fn our_own_are_kept_whole_and_those_of_a_chart_keep_their_rules() {
        let wanted = registration().configuration(Step::Validate, "PEM")["webhooks"].clone();
        let mut defaulted = wanted.clone();
        defaulted[0]["matchPolicy"] = json!("Equivalent");
        assert_eq!(mended(&defaulted, &wanted, true), None);
        let mut edited = defaulted.clone();
        edited[0]["failurePolicy"] = json!("Ignore");
        assert_eq!(mended(&edited, &wanted, true), Some(wanted.clone()));
        assert_eq!(mended(&json!([defaulted[0]]), &wanted, true), Some(wanted.clone()));
        assert_eq!(mended(&edited, &wanted, false), None);
        edited[0]["clientConfig"]["caBundle"] = json!("b2xk");
        let mut right = edited.clone();
        right[0]["clientConfig"]["caBundle"] = json!("UEVN");
        assert_eq!(mended(&edited, &wanted, false), Some(right));
    }
}
