//! Watches, turned into news for the one task that owns what is known.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1 as core;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource};
use polynic_api::{multi_policy, nad};
use polynic_policy::{Pod, PodKey, Policy, PolicyKey, version};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::objects;
use super::service::Input;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Pods,
    Namespaces,
    Policies,
    Networks,
}

/// One change.
pub(super) enum News {
    Pod(PodKey, Box<Pod>),
    PodGone(PodKey, String),
    Namespace(String, Option<BTreeMap<String, String>>),
    Policy(Box<Policy>),
    PolicyGone(PolicyKey, u64),
    Network(String, Option<String>),
    /// All objects of a kind have been seen; these are the names, as `namespace/name`. None: there is no such kind.
    Listed(Kind, Option<Vec<String>>),
}

/// Starts all watches; networks are of interest only if their types are.
pub(super) fn start(client: &Client, networks: bool, inbox: &UnboundedSender<Input>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let pods: Api<core::Pod> = Api::all(client.clone());
    tasks.spawn(follow(Kind::Pods, pods, inbox.clone(), pod));
    let namespaces: Api<core::Namespace> = Api::all(client.clone());
    tasks.spawn(follow(Kind::Namespaces, namespaces, inbox.clone(), namespace));
    tasks.spawn(follow_dynamic(Kind::Policies, client, &policies(), inbox.clone(), policy));
    if networks {
        let resource = resource(nad::GROUP, nad::VERSION, nad::KIND, nad::PLURAL);
        tasks.spawn(follow_dynamic(Kind::Networks, client, &resource, inbox.clone(), network));
    }
    tasks
}

/// How the API calls MultiNetworkPolicies.
pub(super) fn policies() -> ApiResource {
    resource(multi_policy::GROUP, multi_policy::VERSION, multi_policy::KIND, multi_policy::PLURAL)
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

fn follow_dynamic(
    kind: Kind,
    client: &Client,
    resource: &ApiResource,
    inbox: UnboundedSender<Input>,
    tell: fn(DynamicObject, bool) -> News,
) -> impl Future<Output = ()> + use<> {
    follow(kind, Api::all_with(client.clone(), resource), inbox, tell)
}

/// Follows one kind until nobody listens.
async fn follow<K>(kind: Kind, api: Api<K>, inbox: UnboundedSender<Input>, tell: fn(K, bool) -> News)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default()));
    let mut pause = FIRST_PAUSE;
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        let news = match event {
            Ok(event) => {
                pause = FIRST_PAUSE;
                news(kind, event, &mut listed, tell)
            }
            Err(why) => {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                broken(kind, &why)
            }
        };
        if let Some(news) = news
            && inbox.send(Input::News(news)).is_err()
        {
            return;
        }
    }
}

/// What a watch that cannot go on says: of a kind that is not known there is nothing.
fn broken(kind: Kind, why: &watcher::Error) -> Option<News> {
    if is_absent(why) {
        return Some(News::Listed(kind, None));
    }
    tracing::warn!(?kind, error = %why, "the watch broke and is started again");
    None
}

fn news<K: Resource>(
    kind: Kind,
    event: Event<K>,
    listed: &mut Vec<String>,
    tell: fn(K, bool) -> News,
) -> Option<News> {
    match event {
        Event::Init => {
            listed.clear();
            None
        }
        Event::InitApply(object) => {
            listed.push(objects::key(object.meta()).to_string());
            Some(tell(object, true))
        }
        Event::InitDone => Some(News::Listed(kind, Some(std::mem::take(listed)))),
        Event::Apply(object) => Some(tell(object, true)),
        Event::Delete(object) => Some(tell(object, false)),
    }
}

/// Whether the API server does not know the kind.
fn is_absent(error: &watcher::Error) -> bool {
    let inner = match error {
        watcher::Error::InitialListFailed(inner) | watcher::Error::WatchStartFailed(inner) => inner,
        _ => return false,
    };
    matches!(inner, kube::Error::Api(status) if status.code == 404)
}

fn pod(object: core::Pod, there: bool) -> News {
    let key = objects::key(&object.metadata);
    if there {
        News::Pod(key, Box::new(objects::pod(&object)))
    } else {
        News::PodGone(key, object.metadata.uid.unwrap_or_default())
    }
}

fn namespace(object: core::Namespace, there: bool) -> News {
    let labels = there.then(|| object.metadata.labels.unwrap_or_default());
    News::Namespace(object.metadata.name.unwrap_or_default(), labels)
}

fn policy(object: DynamicObject, there: bool) -> News {
    if there { News::Policy(Box::new(read_policy(&object))) } else { policy_gone(&object) }
}

fn policy_gone(object: &DynamicObject) -> News {
    let key = objects::key(&object.metadata);
    News::PolicyGone(
        PolicyKey::new(&key.namespace, &key.name),
        version(object.metadata.resource_version.as_deref()),
    )
}

/// A policy as the API server has it.
pub(super) fn read_policy(object: &DynamicObject) -> Policy {
    // An object that came from JSON can become JSON.
    Policy::parse(&serde_json::to_value(object).unwrap_or_default())
}

fn network(object: DynamicObject, there: bool) -> News {
    let config = object.data.pointer("/spec/config").and_then(|config| config.as_str());
    let plugin = config.filter(|_| there).and_then(objects::first_plugin);
    News::Network(objects::key(&object.metadata).to_string(), plugin)
}
