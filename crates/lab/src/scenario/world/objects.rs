//! The cluster through its API: what `kubectl` would do.

use k8s_openapi::api::core::v1::{Event, Node as NodeObject, Pod as PodObject};
use kube::Api;
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams};
use kube::core::Request as ApiRequest;
use serde_json::{Value, json};

use super::{NAMESPACE, NETWORKS_ANNOTATION, PATIENCE, STATUS_ANNOTATION, World, split};
use crate::manifest;
use crate::scenario::{Finding, eventually};

impl World {
    /// Applies manifests.
    pub fn apply(&self, yaml: &str) -> Finding {
        let objects = manifest::parse(yaml).map_err(|why| why.to_string())?;
        self.runtime.block_on(async {
            let mut done = Vec::new();
            for object in &objects {
                let applied = manifest::apply(&self.client, object, NAMESPACE).await;
                done.push(applied.map_err(|why| why.to_string())?);
            }
            Ok(done.join(", "))
        })
    }

    /// Creates a pod with a networks annotation, on a node of one's own choice if given.
    pub fn create_pod(&self, name: &str, networks: Option<&str>, node: Option<&str>) -> Finding {
        let annotations = networks.map(|networks| json!({NETWORKS_ANNOTATION: networks}));
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "alpine"}]},
        });
        self.apply(&pod.to_string())
    }

    /// Creates or changes a NetworkAttachmentDefinition.
    pub fn define_network(&self, name: &str, config: &Value) -> Finding {
        let definition = json!({
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name},
            "spec": {"config": config.to_string()},
        });
        self.apply(&definition.to_string())
    }

    /// No new pods for a node, as `kubectl cordon` does it.
    pub fn cordon(&self, node: &str) -> Finding {
        let nodes: Api<NodeObject> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({"spec": {"unschedulable": true}}));
        let patched = self.runtime.block_on(nodes.patch(node, &PatchParams::default(), &patch));
        patched.map(|_| format!("{node} cordoned")).map_err(|why| why.to_string())
    }

    /// The pods of another namespace than [`NAMESPACE`] are called `NAMESPACE/NAME`.
    fn pod_api(&self, name: &str) -> (Api<PodObject>, String) {
        let (namespace, name) = split(name);
        (Api::namespaced(self.client.clone(), namespace), name.to_owned())
    }

    fn pods(&self) -> Api<PodObject> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// A pod's object.
    pub fn pod(&self, name: &str) -> Result<PodObject, String> {
        let (pods, own) = self.pod_api(name);
        self.runtime.block_on(pods.get(&own)).map_err(|why| format!("pod {name}: {why}"))
    }

    /// Waits until pods run.
    pub fn wait_running(&self, names: &[&str]) -> Finding {
        let running = |name: &str| {
            let pod = self.pod(name)?;
            let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
            if phase == "Running" {
                Ok(())
            } else {
                Err(format!("{name} is {phase}: {}", self.last_event(name)))
            }
        };
        eventually(PATIENCE, || {
            names.iter().try_for_each(|name| running(name)).map(|()| format!("running: {}", names.join(", ")))
        })
    }

    /// Deletes pods and waits until their objects are gone.
    pub fn delete(&self, names: &[&str]) -> Finding {
        for name in names {
            let deleted = self.runtime.block_on(self.pods().delete(name, &DeleteParams::default()));
            deleted.map_err(|why| format!("delete {name}: {why}"))?;
        }
        eventually(PATIENCE, || {
            let present = |name: &&&str| {
                self.runtime.block_on(self.pods().get_opt(name)).map_or(true, |pod| pod.is_some())
            };
            match names.iter().find(present) {
                None => Ok(format!("gone: {}", names.join(", "))),
                Some(name) => Err(format!("pod {name} is still there")),
            }
        })
    }

    /// The messages of a pod's events with a reason, oldest first.
    pub fn events(&self, pod: &str, reason: &str) -> Result<Vec<String>, String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), NAMESPACE);
        let list =
            self.runtime.block_on(events.list(&ListParams::default())).map_err(|why| why.to_string())?;
        let about = |event: &Event| {
            event.involved_object.name.as_deref() == Some(pod) && event.reason.as_deref() == Some(reason)
        };
        Ok(list.items.into_iter().filter(about).filter_map(|event| event.message).collect())
    }

    fn last_event(&self, pod: &str) -> String {
        let events = self.events(pod, "FailedCreatePodSandBox");
        events.ok().and_then(|mut all| all.pop()).unwrap_or_else(|| "no event".to_owned())
    }

    /// The network-status annotation as text and as rows.
    pub fn network_status(&self, pod: &str) -> Result<(String, Vec<Value>), String> {
        let object = self.pod(pod)?;
        let text = object.metadata.annotations.as_ref().and_then(|all| all.get(STATUS_ANNOTATION));
        let text = text.ok_or_else(|| format!("pod {pod} has no annotation {STATUS_ANNOTATION}"))?;
        let rows =
            serde_json::from_str(text).map_err(|why| format!("{STATUS_ANNOTATION} of {pod}: {why}"))?;
        Ok((text.clone(), rows))
    }

    /// Any object, by its path in the API.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        let (above, name) = path.rsplit_once('/').ok_or_else(|| format!("{path} is no path"))?;
        let request =
            ApiRequest::new(above).get(name, &GetParams::default()).map_err(|why| why.to_string())?;
        self.runtime.block_on(self.client.request(request)).map_err(|why| format!("{path}: {why}"))
    }

    /// The names of the columns that `kubectl get` shows for a list.
    pub fn columns(&self, path: &str) -> Result<Vec<String>, String> {
        let request =
            http::Request::get(path).header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        let request = request.body(Vec::new()).map_err(|why| why.to_string())?;
        let table: Value =
            self.runtime.block_on(self.client.request(request)).map_err(|why| format!("{path}: {why}"))?;
        // Columns of a lower priority are for `-o wide`.
        let shown =
            table["columnDefinitions"].as_array().into_iter().flatten().filter(|c| c["priority"] == 0);
        Ok(shown.filter_map(|column| column["name"].as_str().map(str::to_owned)).collect())
    }

    /// Changes an object by a merge patch.
    pub fn merge(&self, path: &str, patch: &Value) -> Finding {
        let (above, name) = path.rsplit_once('/').ok_or_else(|| format!("{path} is no path"))?;
        let request = ApiRequest::new(above).patch(name, &PatchParams::default(), &Patch::Merge(patch));
        let request = request.map_err(|why| why.to_string())?;
        let done: std::result::Result<Value, _> = self.runtime.block_on(self.client.request(request));
        done.map(|_| format!("{name} changed")).map_err(|why| format!("{path}: {why}"))
    }

    /// Gives a NetworkAttachmentDefinition an owner, an object of the lab's own.
    pub fn own_by_another(&self, name: &str) -> Finding {
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}});
        self.apply(&owner.to_string())?;
        let uid =
            self.get(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps/owner"))?["metadata"]["uid"].clone();
        let path =
            format!("/apis/k8s.cni.cncf.io/v1/namespaces/{NAMESPACE}/network-attachment-definitions/{name}");
        let reference =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": true});
        self.merge(&path, &json!({"metadata": {"ownerReferences": [reference]}}))
    }

    /// All that holds pool addresses, as the checker wants it.
    pub fn survey(&self) -> Result<polynic_cluster::survey::Survey, String> {
        self.runtime.block_on(polynic_cluster::survey::survey(&self.client)).map_err(|why| why.to_string())
    }

    /// Deletes an object by its path in the API; what it owns goes with it.
    pub fn remove(&self, path: &str) -> Finding {
        let (above, name) = path.rsplit_once('/').ok_or_else(|| format!("{path} is no path"))?;
        let request = ApiRequest::new(above).delete(name, &DeleteParams::background());
        let request = request.map_err(|why| why.to_string())?;
        let done: std::result::Result<Value, _> = self.runtime.block_on(self.client.request(request));
        done.map(|_| format!("{name} deleted")).map_err(|why| format!("{path}: {why}"))
    }

    /// The names of the pods of [`NAMESPACE`] with a label, in order.
    pub fn pods_with(&self, label: &str) -> Result<Vec<String>, String> {
        let list = self.runtime.block_on(self.pods().list(&ListParams::default().labels(label)));
        let alive = |pod: &PodObject| pod.metadata.deletion_timestamp.is_none();
        let pods = list.map_err(|why| why.to_string())?.items.into_iter().filter(alive);
        let mut names: Vec<String> = pods.filter_map(|pod| pod.metadata.name).collect();
        names.sort();
        Ok(names)
    }

    /// Waits until so many pods with a label are there and run; answers their names.
    pub fn wait_pods(&self, label: &str, count: usize) -> Result<Vec<String>, String> {
        eventually(PATIENCE, || match self.pods_with(label)? {
            names if names.len() == count => Ok(names.join(" ")),
            names => Err(format!("{} pods with {label}, not {count}", names.len())),
        })?;
        let names = self.pods_with(label)?;
        self.wait_running(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(names)
    }

    /// Waits until no pod with a label is there.
    pub fn wait_gone(&self, label: &str) -> Finding {
        eventually(PATIENCE, || {
            let list = self.runtime.block_on(self.pods().list(&ListParams::default().labels(label)));
            match list.map_err(|why| why.to_string())?.items.len() {
                0 => Ok(format!("no pod with {label} is left")),
                n => Err(format!("{n} pods with {label} are still there")),
            }
        })
    }
}
