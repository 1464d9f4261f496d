//! The administrator of a test's cluster: objects as JSON, by their paths.

use std::path::Path;

use kube::Client;
use kube::core::Request;
use kube::core::params::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use polynic_cluster::client_from;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::manifests;

/// A client for the network of the thread that made it, which alone may use it.
pub struct Api {
    runtime: Runtime,
    client: Client,
}

impl Api {
    /// Nothing is sent yet.
    ///
    /// # Panics
    /// The kubeconfig is wrong.
    pub fn new(kubeconfig: &Path) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(client_from(Some(kubeconfig))).unwrap().unwrap();
        Self { runtime, client }
    }

    /// Creates an object.
    ///
    /// # Panics
    /// The server refuses.
    pub fn create(&self, path: &str, object: &Value) -> Value {
        let body = object.to_string().into_bytes();
        let request = Request::new(path).create(&PostParams::default(), body).unwrap();
        self.runtime.block_on(self.client.request(request)).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    /// Makes an object what it is said to be, whoever else has a part in it.
    ///
    /// # Panics
    /// The server refuses.
    pub fn apply(&self, object: &Value) {
        let (collection, name) = (manifests::collection(object), manifests::name(object));
        let how = PatchParams::apply("polynic-test").force();
        let request = Request::new(&collection).patch(name, &how, &Patch::Apply(object)).unwrap();
        let answer = self.runtime.block_on(self.client.request::<Value>(request));
        answer.unwrap_or_else(|why| panic!("{collection}/{name}: {why}"));
    }

    /// An object; `None` if there is none.
    ///
    /// # Panics
    /// The server does not answer.
    pub fn get(&self, path: &str, name: &str) -> Option<Value> {
        let request = Request::new(path).get(name, &GetParams::default()).unwrap();
        match self.runtime.block_on(self.client.request(request)) {
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            answer => Some(answer.unwrap()),
        }
    }

    /// All objects of a kind.
    ///
    /// # Panics
    /// The server does not answer.
    pub fn list(&self, path: &str) -> Vec<Value> {
        let list = self.try_list(path).unwrap();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Whether a kind is served.
    pub fn serves(&self, path: &str) -> bool {
        self.try_list(path).is_ok()
    }

    /// Merges into an object.
    ///
    /// # Panics
    /// The server refuses.
    pub fn patch(&self, path: &str, name: &str, patch: &Value) {
        let request = Request::new(path).patch(name, &PatchParams::default(), &Patch::Merge(patch)).unwrap();
        let _: Value = self.runtime.block_on(self.client.request(request)).unwrap();
    }

    /// Deletes an object; one that is gone is fine.
    ///
    /// # Panics
    /// The server refuses.
    pub fn delete(&self, path: &str, name: &str) {
        let request = Request::new(path).delete(name, &DeleteParams::default()).unwrap();
        match self.runtime.block_on(self.client.request::<Value>(request)) {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            answer => drop(answer.unwrap()),
        }
    }

    fn try_list(&self, path: &str) -> Result<Value, kube::Error> {
        let request = Request::new(path).list(&ListParams::default()).unwrap();
        self.runtime.block_on(self.client.request(request))
    }
}
