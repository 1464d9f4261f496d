//! SpiderMultusConfig to NAD (spec/spiderpool.md 10): made, owned, and healed when somebody edits it.
//!
//! A NAD that somebody made by hand is never overwritten: it is adopted if it says the same, and otherwise left alone, with a Warning.

use std::sync::Arc;
use std::time::Duration;

use kube::api::PostParams;
use kube::core::DynamicObject;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, Resource as _};
use polynic_api::admission::multus_config::nad_name;
use polynic_api::meta::OwnerReference;
use polynic_api::spider::multus_config::MultusConfig;
use polynic_api::spider::nad::{GeneratedNad, generate};
use polynic_api::spider::{API_VERSION, SpiderKind, SpiderMultusConfig};
use polynic_cluster::spider::{self, Stored, plain_meta};
use serde_json::{Value, json};

use crate::events::{Events, Severity};
use crate::reconcile::{self, Pace, ReconcileError};
use crate::webhook::world::nad_resource;

/// How soon a NAD that is being deleted is looked at again.
const SOON: Duration = Duration::from_millis(500);

/// Keeps NADs until the future is dropped.
pub async fn run(client: Client, events: Events, pace: Pace) {
    let configs = spider::all::<MultusConfig>(client.clone());
    let nads: Api<DynamicObject> = Api::all_with(client.clone(), &nad_resource());
    let controller = Controller::new(configs, watcher::Config::default());
    let known = controller.store();
    let makers = move |nad: DynamicObject| makers_of(&nad, &known.state());
    let controller = controller.watches_with(nads, nad_resource(), watcher::Config::default(), makers);
    reconcile::run("multusconfig", controller, pace, move |config| {
        let (client, events) = (client.clone(), events.clone());
        async move { keep(&client, &events, config).await }
    })
    .await;
}

/// The SpiderMultusConfigs that want a NAD of this name. Owner references are not asked: they may be what somebody took away.
fn makers_of(
    nad: &DynamicObject,
    configs: &[Arc<Stored<MultusConfig>>],
) -> Vec<ObjectRef<Stored<MultusConfig>>> {
    let wants = |config: &&Arc<Stored<MultusConfig>>| {
        config.metadata.namespace == nad.metadata.namespace
            && Some(nad_name(&config.plain())) == nad.metadata.name.as_deref()
    };
    configs.iter().filter(wants).map(|config| ObjectRef::from_obj(config.as_ref())).collect()
}

/// What to do about the NAD of a SpiderMultusConfig.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is right.
    Keep,
    /// It is not there.
    Create,
    /// It is ours, or says the same, and is not quite right.
    Update,
    /// It is going, and comes back when it is gone.
    Wait,
    /// It is somebody else's.
    Refuse(String),
}

/// Decides about the NAD that is there, if any.
pub fn verdict(config: &SpiderMultusConfig, wanted: &GeneratedNad, there: Option<&DynamicObject>) -> Verdict {
    let Some(nad) = there else { return Verdict::Create };
    let meta = plain_meta(&nad.metadata);
    if meta.is_terminating() {
        return Verdict::Wait;
    }
    let config_there = nad.data["spec"]["config"].as_str().filter(|text| !text.is_empty());
    let name = &wanted.name;
    match meta
        .owner_references
        .iter()
        .find(|owner| owner.controller == Some(true) || owner.kind == MultusConfig::KIND)
    {
        Some(owner) if !is_own(owner, config) => {
            return Verdict::Refuse(format!(
                "network-attachment-definition {name} belongs to {} {}",
                owner.kind, owner.name
            ));
        }
        Some(_) => {}
        None if says_the_same(config_there, wanted.config.as_deref()) => {}
        None => {
            return Verdict::Refuse(format!(
                "network-attachment-definition {name} was made by somebody else and says something else"
            ));
        }
    }
    let is_right = meta.owner_references == [owner_reference(config)]
        && meta.annotations == wanted.annotations
        && config_there == wanted.config.as_deref();
    if is_right { Verdict::Keep } else { Verdict::Update }
}

/// The owner is this object, or an earlier one of its name.
fn is_own(owner: &OwnerReference, config: &SpiderMultusConfig) -> bool {
    owner.kind == MultusConfig::KIND && owner.name == config.metadata.name
}

fn says_the_same(a: Option<&str>, b: Option<&str>) -> bool {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a == b || (read(a).is_some() && read(a) == read(b)),
        _ => false,
    }
}

fn owner_reference(config: &SpiderMultusConfig) -> OwnerReference {
    OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: MultusConfig::KIND.to_owned(),
        name: config.metadata.name.clone(),
        uid: config.metadata.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

async fn keep(
    client: &Client,
    events: &Events,
    stored: Arc<Stored<MultusConfig>>,
) -> Result<Option<Duration>, ReconcileError> {
    let config = stored.plain();
    // The garbage collector takes the NAD away with its owner.
    if config.metadata.is_terminating() {
        return Ok(None);
    }
    let wanted = match generate(&config) {
        Ok(wanted) => wanted,
        Err(denial) => {
            let why = denial.message(MultusConfig::KIND, MultusConfig::PLURAL, &config.metadata.name);
            events.tell(&stored.object_ref(&()), Severity::Warning, "InvalidConfig", &why).await;
            return Ok(None);
        }
    };
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &config.metadata.namespace, &nad_resource());
    let step = |verb: &str| {
        format!("{verb} network-attachment-definition {}/{}", config.metadata.namespace, wanted.name)
    };
    let there = api.get_opt(&wanted.name).await.map_err(ReconcileError::during(step("reading")))?;
    match verdict(&config, &wanted, there.as_ref()) {
        Verdict::Keep => Ok(None),
        Verdict::Wait => Ok(Some(SOON)),
        Verdict::Refuse(why) => {
            events.tell(&stored.object_ref(&()), Severity::Warning, "NotAdopted", &why).await;
            Ok(None)
        }
        Verdict::Create => {
            let nad = object(&config, &wanted, None)?;
            api.create(&PostParams::default(), &nad)
                .await
                .map_err(ReconcileError::during(step("creating")))?;
            Ok(None)
        }
        Verdict::Update => {
            let nad = object(&config, &wanted, there)?;
            let written = api.replace(&wanted.name, &PostParams::default(), &nad).await;
            written.map_err(ReconcileError::during(step("updating")))?;
            Ok(None)
        }
    }
}

/// The NAD as it has to be; labels and the version of what is there stay.
fn object(
    config: &SpiderMultusConfig,
    wanted: &GeneratedNad,
    there: Option<DynamicObject>,
) -> Result<DynamicObject, ReconcileError> {
    let broken =
        |why: serde_json::Error| ReconcileError::Other(format!("the NAD cannot be written down: {why}"));
    let mut nad = there.unwrap_or_else(|| DynamicObject::new(&wanted.name, &nad_resource()));
    nad.metadata.namespace = Some(config.metadata.namespace.clone());
    nad.metadata.annotations = Some(wanted.annotations.clone()).filter(|annotations| !annotations.is_empty());
    let owner = serde_json::to_value(owner_reference(config)).map_err(broken)?;
    nad.metadata.owner_references = serde_json::from_value(json!([owner])).map_err(broken)?;
    nad.data = match &wanted.config {
        Some(text) => json!({"spec": {"config": text}}),
        None => json!({"spec": {}}),
    };
    Ok(nad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SpiderMultusConfig {
        let mut config = SpiderMultusConfig::new(
            "net",
            serde_json::from_value(json!({"cniType": "ipoib", "ipoib": {"master": "ib0"}})).unwrap(),
        );
        config.metadata.namespace = "default".to_owned();
        config.metadata.uid = "u".to_owned();
        config
    }

    fn right() -> (GeneratedNad, DynamicObject) {
        let wanted = generate(&config()).unwrap();
        let nad = object(&config(), &wanted, None).unwrap();
        (wanted, nad)
    }

    #[test]
    fn what_is_right_is_kept_and_what_was_edited_is_healed() {
        let (wanted, nad) = right();
        let about = |nad: &DynamicObject| verdict(&config(), &wanted, Some(nad));
        assert_eq!(verdict(&config(), &wanted, None), Verdict::Create);
        assert_eq!(about(&nad), Verdict::Keep);
        let mut edited = nad.clone();
        edited.data = json!({"spec": {"config": "{}"}});
        assert_eq!(about(&edited), Verdict::Update);
        let mut annotated = nad.clone();
        annotated.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
        assert_eq!(about(&annotated), Verdict::Update);
        let mut earlier = nad.clone();
        earlier.metadata.owner_references.as_mut().unwrap()[0].uid = "earlier".to_owned();
        assert_eq!(about(&earlier), Verdict::Update);
    }

    #[test]
    fn a_nad_without_owner_is_adopted_if_it_says_the_same_and_left_alone_otherwise() {
        let (wanted, mut nad) = right();
        nad.metadata.owner_references = None;
        let spaced = wanted.config.as_ref().unwrap().replace(',', ", ");
        nad.data = json!({"spec": {"config": spaced}});
        assert_eq!(verdict(&config(), &wanted, Some(&nad)), Verdict::Update);
        nad.data = json!({"spec": {"config": "{\"type\":\"macvlan\"}"}});
        assert!(matches!(verdict(&config(), &wanted, Some(&nad)), Verdict::Refuse(_)));
    }

    #[test]
    fn a_nad_of_another_is_not_taken() {
        let (wanted, mut nad) = right();
        nad.metadata.owner_references.as_mut().unwrap()[0].name = "other".to_owned();
        assert!(
            matches!(verdict(&config(), &wanted, Some(&nad)), Verdict::Refuse(why) if why.contains("other"))
        );
    }
}
