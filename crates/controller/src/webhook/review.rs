//! Admission reviews: `admission.k8s.io/v1`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use polynic_api::admission::pod::Group;
use polynic_api::admission::{
    Denial, Rules, Siblings, coordinator, multus_config, pool, reserved_ip, subnet,
};
use polynic_api::spider::coordinator::Coordinator;
use polynic_api::spider::multus_config::MultusConfig;
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::reserved_ip::ReservedIP;
use polynic_api::spider::subnet::Subnet;
use polynic_api::spider::{Object, SpiderKind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::patch;
use super::world::{Surroundings, World, WorldError};

/// The kinds that have webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SpiderIPPool.
    Pool,
    /// SpiderSubnet.
    Subnet,
    /// SpiderReservedIP.
    ReservedIP,
    /// SpiderCoordinator.
    Coordinator,
    /// SpiderMultusConfig.
    MultusConfig,
}

/// The two questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What is to be filled in.
    Mutate,
    /// Whether it may be so.
    Validate,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] =
        [Kind::Pool, Kind::Subnet, Kind::ReservedIP, Kind::Coordinator, Kind::MultusConfig];

    /// `spiderippool`.
    pub fn singular(self) -> &'static str {
        self.names().0
    }

    /// `spiderippools`.
    pub fn plural(self) -> &'static str {
        self.names().1
    }

    /// `SpiderIPPool`.
    pub fn kind(self) -> &'static str {
        self.names().2
    }

    /// Whether deletions are asked about as well.
    pub fn guards_deletion(self) -> bool {
        matches!(self, Kind::Pool | Kind::Subnet)
    }

    fn names(self) -> (&'static str, &'static str, &'static str) {
        fn of<K: SpiderKind>() -> (&'static str, &'static str, &'static str) {
            (K::SINGULAR, K::PLURAL, K::KIND)
        }
        match self {
            Kind::Pool => of::<IPPool>(),
            Kind::Subnet => of::<Subnet>(),
            Kind::ReservedIP => of::<ReservedIP>(),
            Kind::Coordinator => of::<Coordinator>(),
            Kind::MultusConfig => of::<MultusConfig>(),
        }
    }
}

/// The path of a webhook.
pub fn path(step: Step, kind: Kind) -> String {
    let step = match step {
        Step::Mutate => "mutate",
        Step::Validate => "validate",
    };
    format!("/{step}-spiderpool-spidernet-io-v2beta1-{}", kind.singular())
}

/// The path of the webhook of pods.
pub const POD_PATH: &str = "/mutate--v1-pod";

/// The webhook of a path.
pub fn of_path(wanted: &str) -> Option<(Step, Kind)> {
    let all = Kind::ALL.into_iter().flat_map(|kind| [(Step::Mutate, kind), (Step::Validate, kind)]);
    all.into_iter().find(|(step, kind)| path(*step, *kind) == wanted)
}

/// What the API server asks.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Question {
    /// To be repeated in the answer.
    pub uid: String,
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub operation: String,
    /// Name of the object; empty if it is still to be made up.
    pub name: String,
    /// Namespace of the object.
    pub namespace: String,
    /// The object; `null` for a deletion.
    pub object: Value,
    /// The object as it is; `null` for a creation.
    pub old_object: Value,
}

#[derive(Deserialize)]
struct Review {
    request: Question,
}

/// Reads a review.
///
/// # Errors
/// The body is none.
pub fn read(body: &[u8]) -> Result<Question, serde_json::Error> {
    serde_json::from_slice::<Review>(body).map(|review| review.request)
}

/// Decides about a question.
pub async fn answer<W: World>(
    step: Step,
    kind: Kind,
    question: &Question,
    (world, rules): (&W, Rules),
) -> Value {
    let response = match step {
        Step::Mutate => mutation(kind, question, world, rules).await,
        Step::Validate => validation(kind, question, world, rules).await,
    };
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

/// Decides about a new pod: the networks of the group it asks for. Other than with the kinds above, what goes wrong refuses the pod, which would
/// otherwise run without them.
pub async fn answer_pod<W: World>(question: &Question, world: &W) -> Value {
    let response = match injected(question, world).await {
        Ok(operations) => patched(question, operations),
        Err(PodRefusal::Denied(why)) => refused(question, 403, "Forbidden", &why),
        Err(PodRefusal::Undecided(why)) => refused(question, 500, "InternalError", &why.0),
    };
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

enum PodRefusal {
    Denied(String),
    Undecided(WorldError),
}

async fn injected<W: World>(question: &Question, world: &W) -> Result<Vec<Value>, PodRefusal> {
    let own = serde_json::from_value(question.object["metadata"]["annotations"].clone()).unwrap_or_default();
    let namespace = world.namespace_annotations(&question.namespace).await.map_err(PodRefusal::Undecided)?;
    let Some(group) = Group::of(&own, &namespace) else { return Ok(Vec::new()) };
    let configs = world.group(&group).await.map_err(PodRefusal::Undecided)?;
    let pod = &question.object;
    let injected = group.inject(pod, &configs).map_err(PodRefusal::Denied)?;
    Ok(patch::between(pod, pod, &injected))
}

/// Mutators never refuse: what goes wrong is logged, and validation decides.
async fn mutation<W: World>(kind: Kind, question: &Question, world: &W, rules: Rules) -> Value {
    let operations = match kind {
        Kind::Pool => mutated::<IPPool, W, _>(question, world, kind, |pool, around| {
            pool::mutate(pool, &around.subnets, rules)
        }),
        Kind::Subnet => mutated::<Subnet, W, _>(question, world, kind, |subnet, _| subnet::mutate(subnet)),
        Kind::ReservedIP => {
            mutated::<ReservedIP, W, _>(question, world, kind, |reserved, _| reserved_ip::mutate(reserved))
        }
        Kind::Coordinator => {
            mutated::<Coordinator, W, _>(question, world, kind, |object, _| coordinator::mutate(object))
        }
        Kind::MultusConfig => {
            mutated::<MultusConfig, W, _>(question, world, kind, |object, _| multus_config::mutate(object))
        }
    };
    match operations.await {
        Ok(operations) => patched(question, operations),
        Err(error) => {
            tracing::warn!(%error, kind = kind.kind(), name = question.name, "nothing was filled in");
            json!({"uid": question.uid, "allowed": true})
        }
    }
}

fn patched(question: &Question, operations: Vec<Value>) -> Value {
    if operations.is_empty() {
        return json!({"uid": question.uid, "allowed": true});
    }
    let patch = STANDARD.encode(Value::Array(operations).to_string());
    json!({"uid": question.uid, "allowed": true, "patchType": "JSONPatch", "patch": patch})
}

fn mutated<'a, K, W, C>(
    question: &'a Question,
    world: &'a W,
    kind: Kind,
    change: C,
) -> futures::future::BoxFuture<'a, Result<Vec<Value>, WorldError>>
where
    K: SpiderKind,
    W: World,
    C: FnOnce(&mut Object<K>, &Surroundings) + Send + 'a,
{
    Box::pin(async move {
        let before: Object<K> = parse(&question.object)?;
        let around = world.around(kind, Step::Mutate, question).await?;
        let mut after = before.clone();
        change(&mut after, &around);
        let (before, after) = (to_value(&before), to_value(&after));
        Ok(patch::between(&question.object, &before, &after))
    })
}

fn parse<K: SpiderKind>(value: &Value) -> Result<Object<K>, WorldError> {
    serde_json::from_value(value.clone())
        .map_err(|why| WorldError(format!("the object cannot be read: {why}")))
}

/// Types of this crate's own cannot fail to become JSON.
fn to_value<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

async fn validation<W: World>(kind: Kind, question: &Question, world: &W, rules: Rules) -> Value {
    let around = match world.around(kind, Step::Validate, question).await {
        Ok(around) => around,
        Err(error) => return refused(question, 500, "InternalError", &error.0),
    };
    match checked(kind, question, &around, rules) {
        Ok(Ok(())) => json!({"uid": question.uid, "allowed": true}),
        Ok(Err(denial)) => denied(kind, question, &denial),
        Err(error) => refused(question, 422, "Invalid", &error.0),
    }
}

fn checked(
    kind: Kind,
    question: &Question,
    around: &Surroundings,
    rules: Rules,
) -> Result<Result<(), Denial>, WorldError> {
    let siblings = Siblings { pools: &around.pools, subnets: &around.subnets };
    let (new, old) = (&question.object, &question.old_object);
    let nad = around.nad.as_ref();
    Ok(match (kind, question.operation.as_str()) {
        (Kind::Pool, "CREATE") => pool::validate_create(&parse(new)?, siblings, rules),
        (Kind::Pool, "UPDATE") => pool::validate_update(&parse(old)?, &parse(new)?, siblings, rules),
        (Kind::Pool, "DELETE") => pool::validate_delete(&parse(old)?, rules),
        (Kind::Subnet, "CREATE") => subnet::validate_create(&parse(new)?, siblings, rules),
        (Kind::Subnet, "UPDATE") => subnet::validate_update(&parse(old)?, &parse(new)?, rules),
        (Kind::Subnet, "DELETE") => subnet::validate_delete(&parse(old)?, rules),
        (Kind::ReservedIP, "CREATE") => reserved_ip::validate_create(&parse(new)?, rules),
        (Kind::ReservedIP, "UPDATE") => reserved_ip::validate_update(&parse(old)?, &parse(new)?, rules),
        (Kind::Coordinator, "CREATE" | "UPDATE") => coordinator::validate(&parse(new)?),
        (Kind::MultusConfig, "CREATE") => multus_config::validate_create(&parse(new)?, nad),
        (Kind::MultusConfig, "UPDATE") => multus_config::validate_update(&parse(old)?, &parse(new)?, nad),
        _ => Ok(()),
    })
}

fn denied(kind: Kind, question: &Question, denial: &Denial) -> Value {
    let message = denial.message(kind.kind(), kind.plural(), &question.name);
    let mut response = refused(question, denial.code(), denial.reason(), &message);
    let mut details =
        json!({"group": polynic_api::spider::GROUP, "kind": kind.kind(), "name": question.name});
    if let Denial::Invalid(errors) = denial {
        let cause = |error: &polynic_api::admission::FieldError| json!({"reason": error.problem.reason(), "message": error.message(), "field": error.field});
        details["causes"] = errors.iter().map(cause).collect();
    }
    response["status"]["details"] = details;
    response
}

fn refused(question: &Question, code: u16, reason: &str, message: &str) -> Value {
    let status = json!({"status": "Failure", "code": code, "reason": reason, "message": message});
    json!({"uid": question.uid, "allowed": false, "status": status})
}

#[cfg(test)]
mod tests;
