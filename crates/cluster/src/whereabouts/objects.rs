//! Requests about whereabouts' objects. Objects are kept as JSON, so that a write keeps what we do not know.

use kube::Client;
use kube::core::Request;
use kube::core::params::{DeleteParams, GetParams, ListParams, PostParams, Preconditions};
use polynic_api::whereabouts::{API_VERSION, GROUP, IP_POOL, Kind, NODE_SLICE_POOL, RESERVATION, VERSION};
use polynic_ipam::whereabouts::{Holder, Holders};
use serde_json::{Value, json};

use crate::request;
use crate::retry::{Limits, Problem, ask};

/// For one request, with its repetitions.
const LIMITS: Limits = Limits::PATIENT;

/// The objects of one namespace.
#[derive(Clone)]
pub(super) struct Objects {
    pub(super) client: Client,
    pub(super) namespace: String,
}

/// A pool as it was read.
pub(super) struct ReadPool {
    object: Value,
    pub(super) holders: Holders,
}

/// Who has a reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reserved {
    pub(super) podref: String,
    pub(super) ifname: String,
    version: String,
}

impl ReadPool {
    /// From an object, as a list has it too.
    pub(super) fn of(object: Value) -> Self {
        let holder = |value: &Value| {
            let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            Holder { id: text("id"), podref: text("podref"), ifname: text("ifname") }
        };
        let entries = object["spec"]["allocations"].as_object().into_iter().flatten();
        let holders = entries.map(|(key, value)| (key.clone(), holder(value))).collect();
        Self { object, holders }
    }

    pub(super) fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    pub(super) fn range(&self) -> &str {
        self.object["spec"]["range"].as_str().unwrap_or_default()
    }

    /// The object with these allocations. Entries that stay keep what else is in them.
    fn with(&self, holders: &Holders) -> Value {
        let mut object = self.object.clone();
        let before = object["spec"]["allocations"].take();
        let entry = |(key, holder): (&String, &Holder)| {
            let mut entry = json!({"id": holder.id, "podref": holder.podref});
            if !holder.ifname.is_empty() {
                entry["ifname"] = json!(holder.ifname);
            }
            let same = self.holders.get(key) == Some(holder);
            let entry = before.get(key).filter(|_| same).cloned().unwrap_or(entry);
            (key.clone(), entry)
        };
        object["spec"]["allocations"] = Value::Object(holders.iter().map(entry).collect());
        object
    }
}

impl Objects {
    fn path(&self, kind: Kind) -> String {
        format!("/apis/{GROUP}/{VERSION}/namespaces/{}/{}", self.namespace, kind.plural)
    }

    async fn get(&self, kind: Kind, name: &str) -> Result<Value, Problem> {
        request::check_names(&[&self.namespace, name]).map_err(Problem::Other)?;
        ask(LIMITS, async || {
            let request = Request::new(self.path(kind)).get(name, &GetParams::default());
            self.client.request(request.map_err(kube::Error::BuildRequest)?).await
        })
        .await
    }

    async fn create(&self, kind: Kind, name: &str, spec: Value) -> Result<Value, Problem> {
        self.create_whole(kind, name, json!({"metadata": {"name": name}, "spec": spec})).await
    }

    async fn create_whole(&self, kind: Kind, name: &str, mut object: Value) -> Result<Value, Problem> {
        request::check_names(&[&self.namespace, name]).map_err(Problem::Other)?;
        object["apiVersion"] = json!(API_VERSION);
        object["kind"] = json!(kind.kind);
        object["metadata"]["namespace"] = json!(self.namespace);
        ask(LIMITS, async || {
            let request =
                Request::new(self.path(kind)).create(&PostParams::default(), object.to_string().into_bytes());
            self.client.request(request.map_err(kube::Error::BuildRequest)?).await
        })
        .await
    }

    pub(super) async fn list(&self, kind: Kind) -> Result<Vec<Value>, Problem> {
        self.list_at(&self.path(kind)).await
    }

    /// What is listed at a path of anybody's.
    pub(super) async fn list_at(&self, path: &str) -> Result<Vec<Value>, Problem> {
        let list: Value = ask(LIMITS, async || {
            let request = Request::new(path).list(&ListParams::default());
            self.client.request(request.map_err(kube::Error::BuildRequest)?).await
        })
        .await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// A pool; none if there is none.
    pub(super) async fn find_pool(&self, name: &str) -> Result<Option<ReadPool>, Problem> {
        match self.get(IP_POOL, name).await {
            Ok(object) => Ok(Some(ReadPool::of(object))),
            Err(Problem::NotFound(_)) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// A pool, which is made if there is none.
    pub(super) async fn pool(&self, name: &str, range: &str) -> Result<ReadPool, Problem> {
        loop {
            if let Some(pool) = self.find_pool(name).await? {
                return Ok(pool);
            }
            match self.create(IP_POOL, name, json!({"range": range, "allocations": {}})).await {
                Ok(object) => return Ok(ReadPool::of(object)),
                // Somebody else made it.
                Err(Problem::Conflict(_)) => {}
                Err(problem) => return Err(problem),
            }
        }
    }

    /// Writes a pool, unless somebody else has written it since it was read: that is [`Problem::Conflict`].
    pub(super) async fn write(&self, pool: &ReadPool, holders: &Holders) -> Result<(), Problem> {
        let body = pool.with(holders).to_string().into_bytes();
        ask(LIMITS, async || {
            let request =
                Request::new(self.path(IP_POOL)).replace(pool.name(), &PostParams::default(), body.clone());
            self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await
        })
        .await
        .map(drop)
    }

    /// Takes a reservation. `Some` is who has it.
    pub(super) async fn reserve(&self, name: &str, who: &Holder) -> Result<Option<Reserved>, Problem> {
        loop {
            let spec = json!({"podref": who.podref, "ifname": who.ifname});
            match self.create(RESERVATION, name, spec).await {
                Ok(_) => return Ok(None),
                Err(Problem::Conflict(_)) => {}
                Err(problem) => return Err(problem),
            }
            if let Some(reserved) = self.reserved(name).await? {
                return Ok(Some(reserved));
            }
        }
    }

    /// Who has a reservation; none if nobody.
    pub(super) async fn reserved(&self, name: &str) -> Result<Option<Reserved>, Problem> {
        match self.get(RESERVATION, name).await {
            Ok(object) => Ok(Some(Reserved::of(&object))),
            Err(Problem::NotFound(_)) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// Deletes a reservation as it was read; one that is gone or somebody else's by now stays as it is.
    pub(super) async fn unreserve(&self, name: &str, reserved: &Reserved) -> Result<(), Problem> {
        self.delete(RESERVATION, name, reserved.version.clone()).await
    }

    async fn delete(&self, kind: Kind, name: &str, version: String) -> Result<(), Problem> {
        let preconditions = Preconditions { resource_version: Some(version), uid: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let deleted = ask(LIMITS, async || {
            let request = Request::new(self.path(kind)).delete(name, &params);
            self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await
        })
        .await;
        match deleted {
            Ok(_) | Err(Problem::NotFound(_) | Problem::Conflict(_)) => Ok(()),
            Err(problem) => Err(problem),
        }
    }

    /// Makes or writes an object together with its status, in the version that was read. Where the status is a part of its own, that
    /// takes a second request.
    pub(super) async fn put_with_status(
        &self,
        kind: Kind,
        name: &str,
        object: &Value,
        exists: bool,
    ) -> Result<(), Problem> {
        let mut written = match exists {
            true => self.replace(kind, name, object, None).await?,
            false => self.create_whole(kind, name, object.clone()).await?,
        };
        if written["status"] != object["status"] {
            written["status"] = object["status"].clone();
            self.replace(kind, name, &written, Some("status")).await?;
        }
        Ok(())
    }

    async fn replace(
        &self,
        kind: Kind,
        name: &str,
        object: &Value,
        part: Option<&str>,
    ) -> Result<Value, Problem> {
        request::check_names(&[&self.namespace, name]).map_err(Problem::Other)?;
        let body = object.to_string().into_bytes();
        ask(LIMITS, async || {
            let (path, params) = (Request::new(self.path(kind)), PostParams::default());
            let request = match part {
                None => path.replace(name, &params, body.clone()),
                Some(part) => path.replace_subresource(part, name, &params, body.clone()),
            };
            self.client.request(request.map_err(kube::Error::BuildRequest)?).await
        })
        .await
    }

    /// Deletes an object as it was read; one that is gone or was written since stays as it is.
    pub(super) async fn remove(&self, kind: Kind, object: &Value) -> Result<(), Problem> {
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
        self.delete(kind, &text("name"), text("resourceVersion")).await
    }

    /// The slice of a node.
    pub(super) async fn slice(&self, pool: &str, node: &str) -> Result<Option<String>, Problem> {
        let object = self.get(NODE_SLICE_POOL, pool).await?;
        let slices = object["status"]["allocations"].as_array().into_iter().flatten();
        let own =
            slices.filter(|slice| slice["nodeName"] == *node).find_map(|slice| slice["sliceRange"].as_str());
        Ok(own.map(str::to_owned))
    }
}

impl Reserved {
    /// From an object, as a list has it too.
    pub(super) fn of(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            podref: text(&object["spec"]["podref"]),
            ifname: text(&object["spec"]["ifname"]),
            version: text(&object["metadata"]["resourceVersion"]),
        }
    }

    /// Whether it is the same interface's. Old reservations name none.
    pub(super) fn is_of(&self, who: &Holder) -> bool {
        self.podref == who.podref && (self.ifname.is_empty() || self.ifname == who.ifname)
    }
}
