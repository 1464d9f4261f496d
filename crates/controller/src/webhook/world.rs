//! The other objects that a webhook's rules look at.
//!
//! They are read from the API server and not from a cache: two pools of one `kubectl apply` follow each other by milliseconds.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use polynic_api::admission::multus_config::nad_name;
use polynic_api::admission::pod::Group;
use polynic_api::meta::ObjectMeta;
use polynic_api::nad;
use polynic_api::spider::annotation::Annotations;
use polynic_api::spider::multus_config::MultusConfig;
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::subnet::Subnet;
use polynic_api::spider::{Object, SpiderIPPool, SpiderKind, SpiderMultusConfig, SpiderSubnet};
use polynic_cluster::spider;

use super::review::{Kind, Question, Step};

/// Why a question cannot be decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WorldError(pub String);

/// What a decision needs besides the object.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// All pools, if the kind looks at them.
    pub pools: Vec<SpiderIPPool>,
    /// All subnets, if the kind looks at them.
    pub subnets: Vec<SpiderSubnet>,
    /// The NAD of the name that a SpiderMultusConfig makes.
    pub nad: Option<ObjectMeta>,
}

/// Where surroundings come from.
pub trait World: Send + Sync {
    /// What a decision about this question looks at.
    fn around(
        &self,
        kind: Kind,
        step: Step,
        question: &Question,
    ) -> impl Future<Output = Result<Surroundings, WorldError>> + Send;

    /// The annotations of a namespace.
    fn namespace_annotations(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Annotations, WorldError>> + Send;

    /// The networks of a group, of all namespaces.
    fn group(
        &self,
        group: &Group,
    ) -> impl Future<Output = Result<Vec<SpiderMultusConfig>, WorldError>> + Send;
}

/// The API server.
pub struct KubeWorld {
    client: Client,
    subnets: bool,
}

impl KubeWorld {
    /// `subnets`: whether SpiderSubnets are in use, and looked at.
    pub fn new(client: Client, subnets: bool) -> Self {
        Self { client, subnets }
    }

    async fn all<K: SpiderKind>(&self) -> Result<Vec<Object<K>>, WorldError> {
        let list = spider::all::<K>(self.client.clone()).list(&ListParams::default()).await;
        let list = list.map_err(|why| WorldError(format!("cannot list {}: {why}", K::PLURAL)))?;
        Ok(list.iter().map(spider::Stored::plain).collect())
    }

    async fn subnets(&self) -> Result<Vec<SpiderSubnet>, WorldError> {
        if self.subnets { self.all::<Subnet>().await } else { Ok(Vec::new()) }
    }

    async fn nad(&self, question: &Question) -> Result<Option<ObjectMeta>, WorldError> {
        let config: SpiderMultusConfig = serde_json::from_value(question.object.clone()).unwrap_or_default();
        let name = nad_name(&config);
        if name.is_empty() {
            return Ok(None);
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &question.namespace, &nad_resource());
        match api.get_opt(name).await {
            Ok(nad) => Ok(nad.map(|nad| spider::plain_meta(&nad.metadata))),
            // A name that cannot be one is for the rules to refuse; a cluster may lack the kind.
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404 | 422) => Ok(None),
            Err(why) => Err(WorldError(format!("cannot read network-attachment-definition {name}: {why}"))),
        }
    }
}

/// NADs for kube's dynamic client.
pub fn nad_resource() -> ApiResource {
    ApiResource {
        group: nad::GROUP.to_owned(),
        version: nad::VERSION.to_owned(),
        api_version: format!("{}/{}", nad::GROUP, nad::VERSION),
        kind: nad::KIND.to_owned(),
        plural: nad::PLURAL.to_owned(),
    }
}

impl World for KubeWorld {
    async fn around(&self, kind: Kind, step: Step, question: &Question) -> Result<Surroundings, WorldError> {
        let is_deletion = question.operation == "DELETE";
        let (pools, subnets, nad) = match (kind, step) {
            _ if is_deletion => (false, false, false),
            (Kind::Pool, Step::Mutate) => (false, true, false),
            (Kind::Pool | Kind::Subnet, Step::Validate) => (true, true, false),
            (Kind::MultusConfig, Step::Validate) => (false, false, true),
            _ => (false, false, false),
        };
        Ok(Surroundings {
            pools: if pools { self.all::<IPPool>().await? } else { Vec::new() },
            subnets: if subnets { self.subnets().await? } else { Vec::new() },
            nad: if nad { self.nad(question).await? } else { None },
        })
    }

    async fn namespace_annotations(&self, name: &str) -> Result<Annotations, WorldError> {
        let read = Api::<Namespace>::all(self.client.clone()).get_opt(name).await;
        let namespace = read.map_err(|why| WorldError(format!("cannot read namespace {name}: {why}")))?;
        Ok(namespace.and_then(|namespace| namespace.metadata.annotations).unwrap_or_default())
    }

    async fn group(&self, group: &Group) -> Result<Vec<SpiderMultusConfig>, WorldError> {
        let Group { key, value } = group;
        let labelled = ListParams::default().labels(&format!("{key}={value}"));
        let list = spider::all::<MultusConfig>(self.client.clone()).list(&labelled).await;
        let list =
            list.map_err(|why| WorldError(format!("cannot list networks with {key}={value}: {why}")))?;
        Ok(list.iter().map(spider::Stored::plain).collect())
    }
}
