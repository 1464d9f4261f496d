//! What the node agent knows of the API without asking: the pods of its node, as far as they matter, and all NADs.
//!
//! [`NodeCache`] follows them by watches; [`NodeCluster`] answers the questions of an attachment from it, on plain threads, and asks the API
//! server only for what the cache has not, or has otherwise than the container runtime says (spec/multus.md 12.2, thick).

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use k8s_openapi::api::core::v1::Pod;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::discovery::ApiResource;
use kube::runtime::watcher;
use kube::{Api, Client};
use polynic_api::{NetworkAttachmentDefinition, PodEvent, annotation, nad};
use polynic_attach::{
    Cluster, DeviceError, Devices, NadError, NadRef, Patience, PodError, PodInfo, PodRef, StatusError,
};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::asker::{self, Asker};
use crate::cache::Cache;
use crate::devices::{self, Kubelet};
use crate::retry::{Limits, Problem};
use crate::told::Told;

/// How long a pod that the API does not know is waited for: the runtime starts static pods before kubelet has told of them.
const APPEARS: Duration = Duration::from_millis(2500);
const LOOK: Duration = Duration::from_millis(50);

/// Events on their way at the same time.
const MAX_SENDING: usize = 16;
/// Events that wait; more than these are dropped, they are best effort.
const MAX_WAITING: usize = 1024;

/// A pod of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePod {
    /// What attaching needs; of the annotations only those about networks.
    pub info: PodInfo,
    /// It is being deleted.
    pub is_deleting: bool,
}

/// Copies of what the node agent needs to know.
pub struct NodeCache {
    asker: Asker,
    pods: Arc<Cache<NodePod>>,
    nads: Arc<Cache<NetworkAttachmentDefinition>>,
    runtime: Handle,
    told: Mutex<Told>,
    sending: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl NodeCache {
    /// Starts to follow the pods of a node (of all nodes without one) and all NADs, on the runtime that this is called in. `patient` bounds
    /// questions that an attachment cannot go on without.
    pub fn start(client: Client, node: Option<&str>, patient: Limits) -> Arc<Self> {
        let of_node = match node {
            Some(node) => watcher::Config::default().fields(&format!("spec.nodeName={node}")),
            None => watcher::Config::default(),
        };
        let pods: Api<PartialObjectMeta<Pod>> = Api::all(client.clone());
        let node = node.unwrap_or_default().to_owned();
        let nads: Api<DynamicObject> = Api::all_with(client.clone(), &nad_kind());
        Arc::new(Self {
            pods: Cache::follow("pods of this node", watcher(pods, of_node), move |pod| {
                Some(node_pod(pod, &node))
            }),
            nads: Cache::follow(
                "network attachment definitions",
                watcher(nads, watcher::Config::default()),
                |nad| {
                    let text = serde_json::to_vec(&nad).ok()?;
                    NetworkAttachmentDefinition::parse(&text).ok()
                },
            ),
            asker: Asker { client, patient },
            runtime: Handle::current(),
            told: Mutex::default(),
            sending: Arc::new(Semaphore::new(MAX_SENDING)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        })
    }

    /// Waits until pods and NADs have been seen once.
    pub async fn synced(&self) {
        tokio::join!(self.pods.synced(), self.nads.synced());
    }

    /// A pod of this node.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<NodePod>> {
        self.pods.get(&format!("{namespace}/{name}"))
    }

    /// All pods of this node, in the order of their names.
    pub fn pods(&self) -> Vec<Arc<NodePod>> {
        self.pods.all()
    }

    /// Whether a pod is on its node's own network, as the API server says; nothing if it does not answer soon, or the pod is another by now.
    pub async fn is_on_host_network(&self, pod: &PodRef) -> Option<bool> {
        self.asker.is_on_host_network(pod, Limits::BRIEF).await
    }

    /// Whether the pods have been seen once.
    pub fn knows_pods(&self) -> bool {
        self.pods.is_synced()
    }

    /// Tells that something about the pods of this node has changed.
    pub fn pod_changes(&self) -> watch::Receiver<u64> {
        self.pods.changes()
    }

    /// The runtime that answers.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Answers on the runtime, for a plain thread that waits.
    fn wait<T: Send + 'static>(&self, answer: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (reply, waiting) = sync_channel(1);
        self.runtime.spawn(async move {
            let _ = reply.send(answer.await);
        });
        // The other end vanishes only with the runtime.
        waiting.recv().ok()
    }
}

fn nad_kind() -> ApiResource {
    ApiResource {
        group: nad::GROUP.to_owned(),
        version: nad::VERSION.to_owned(),
        api_version: format!("{}/{}", nad::GROUP, nad::VERSION),
        kind: nad::KIND.to_owned(),
        plural: nad::PLURAL.to_owned(),
    }
}

fn node_pod(pod: PartialObjectMeta<Pod>, node: &str) -> NodePod {
    let metadata = pod.metadata;
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.retain(|key, _| is_about_networks(key));
    NodePod {
        is_deleting: metadata.deletion_timestamp.is_some(),
        info: PodInfo {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            annotations,
            node: node.to_owned(),
        },
    }
}

fn is_about_networks(key: &str) -> bool {
    key == annotation::CONFIG_SOURCE || key.contains("cni.cncf.io/") || key.contains("multus-cni.io/")
}

/// Tells when nobody waits for the API server any more.
pub type GivenUp = Box<dyn Fn() -> BoxFuture<'static, ()> + Send>;

/// What a question is answered that nobody waits for any more.
const GIVEN_UP: &str = "given up: the pod is being deleted, or the node agent is ending";

/// The API server for one attachment, from the cache where it can be.
pub struct NodeCluster {
    cache: Arc<NodeCache>,
    given_up: Option<GivenUp>,
    /// The whole pod, read while its networks are made: its status is to be written then.
    ahead: Mutex<Option<Ahead>>,
}

/// What the API server says of a pod.
type Ahead = oneshot::Receiver<Result<Value, Problem>>;

impl NodeCluster {
    /// One that is waited for as long as the limits allow.
    pub fn new(cache: Arc<NodeCache>) -> Self {
        Self { cache, given_up: None, ahead: Mutex::default() }
    }

    /// One that is not waited for any more once this tells so.
    pub fn until(cache: Arc<NodeCache>, given_up: GivenUp) -> Self {
        Self { cache, given_up: Some(given_up), ahead: Mutex::default() }
    }

    /// The answer; `None` if nobody waits for it any more.
    fn wait<T: Send + 'static>(&self, answer: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let Some(given_up) = self.given_up.as_ref().map(|given_up| given_up()) else {
            return self.cache.wait(answer);
        };
        let answer = async move {
            tokio::select! {
                biased;
                done = answer => Some(done),
                () = given_up => None,
            }
        };
        self.cache.wait(answer).flatten()
    }

    /// Begins to read the pod.
    fn read_ahead(&self, pod: &PodRef) {
        let (asker, asked) = (self.cache.asker.clone(), pod.clone());
        let (reply, ahead) = oneshot::channel();
        self.cache.runtime.spawn(async move { reply.send(asker.whole_pod(&asked).await) });
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
    }

    fn cached(&self, pod: &PodRef) -> Option<PodInfo> {
        let found = self.cache.pod(&pod.namespace, &pod.name)?;
        Some(found.info.clone()).filter(|info| info.is(pod))
    }

    fn live(&self, pod: &PodRef, limits: Limits) -> Result<Option<PodInfo>, PodError> {
        let (asker, asked) = (self.cache.asker.clone(), pod.clone());
        let answer = self.wait(async move { asker.pod(&asked, limits).await });
        match answer {
            Some(Ok(info)) => Ok(Some(info)),
            Some(Err(Problem::NotFound(_))) => Ok(None),
            Some(Err(Problem::Conflict(text) | Problem::Other(text))) => Err(PodError(text)),
            None => Err(PodError(GIVEN_UP.to_owned())),
        }
    }

    /// Waits for a pod that the API does not know yet.
    fn appearing(&self, pod: &PodRef) -> Option<PodInfo> {
        let end = Instant::now() + APPEARS;
        loop {
            let found = self.cached(pod);
            if found.is_some() || Instant::now() >= end {
                return found;
            }
            thread::sleep(LOOK);
        }
    }
}

impl Cluster for NodeCluster {
    fn pod(&self, pod: &PodRef, patience: Patience) -> Result<Option<PodInfo>, PodError> {
        if let Some(info) = self.cached(pod) {
            if patience == Patience::Patient {
                self.read_ahead(pod);
            }
            return Ok(Some(info));
        }
        if patience == Patience::Brief {
            return if self.cache.knows_pods() { Ok(None) } else { self.live(pod, Limits::BRIEF) };
        }
        let patient = self.cache.asker.patient;
        if let Some(info) = self.live(pod, patient)? {
            return Ok(Some(info));
        }
        match self.appearing(pod) {
            Some(info) => Ok(Some(info)),
            None => self.live(pod, patient),
        }
    }

    fn nads(&self, wanted: &[NadRef]) -> Vec<Result<NetworkAttachmentDefinition, NadError>> {
        let cached = |nad: &NadRef| self.cache.nads.get(&format!("{}/{}", nad.namespace, nad.name));
        let known: Vec<_> = wanted.iter().map(cached).collect();
        let missing: Vec<NadRef> = wanted
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none())
            .map(|(nad, _)| nad.clone())
            .collect();
        let mut asked = if missing.is_empty() { Vec::new() } else { self.ask_for(missing) }.into_iter();
        let ending = || Err(NadError::Other(GIVEN_UP.to_owned()));
        known
            .into_iter()
            .map(|known| match known {
                Some(nad) => Ok(nad.as_ref().clone()),
                None => asked.next().unwrap_or_else(ending),
            })
            .collect()
    }

    fn devices(&self, pod: &PodInfo) -> Result<Devices, DeviceError> {
        let (client, pod) = (self.cache.asker.client.clone(), pod.clone());
        let asked = self.wait(async move { devices::of_pod(&client, &Kubelet::default(), &pod).await });
        asked.unwrap_or_else(|| Err(DeviceError::Client(GIVEN_UP.to_owned())))
    }

    fn set_pod_annotations(&self, pod: &PodRef, annotations: &[(&str, &str)]) -> Result<(), StatusError> {
        let (asker, pod_there) = (self.cache.asker.clone(), pod.clone());
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take();
        let own: Vec<(String, String)> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let written = self.wait(async move {
            let pairs: Vec<(&str, &str)> = own.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let read = match ahead {
                Some(ahead) => ahead.await.ok().and_then(Result::ok),
                None => None,
            };
            match read {
                Some(read) => asker.annotate_read(&pod_there, read, &pairs).await,
                None => asker.annotate(&pod_there, &pairs).await,
            }
        });
        written.unwrap_or_else(|| Err(asker::status_error(pod, Problem::Other(GIVEN_UP.to_owned()))))
    }

    fn event(&self, pod: &PodRef, event: &PodEvent) {
        // That of a static pod is another than the container runtime's.
        let uid = self.cache.pod(&pod.namespace, &pod.name).map(|found| found.info.uid.clone());
        let pod = PodRef { uid: uid.unwrap_or_else(|| pod.uid.clone()), ..pod.clone() };
        let mut told = self.cache.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = told.is_news(&pod, event, Instant::now());
        drop(told);
        if !is_news {
            return;
        }
        let Ok(place) = self.cache.waiting.clone().try_acquire_owned() else { return };
        let (asker, sending, event) = (self.cache.asker.clone(), self.cache.sending.clone(), event.clone());
        self.cache.runtime.spawn(async move {
            let _place = place;
            let _turn = sending.acquire().await;
            asker.event(&pod, &event).await;
        });
    }

    /// The agent lives longer than its Events.
    fn flush(&self) {}
}

impl NodeCluster {
    fn ask_for(&self, missing: Vec<NadRef>) -> Vec<Result<NetworkAttachmentDefinition, NadError>> {
        let asker = self.cache.asker.clone();
        let asked = self.wait(async move { join_all(missing.iter().map(|nad| asker.nad(nad))).await });
        asked.unwrap_or_default()
    }
}
