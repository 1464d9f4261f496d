//! Asking the webhooks: the mutating ones in turn, each seeing what those before it made, and once more where the
//! configuration wants that; then the validating ones all at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use serde_json::Value;

use super::call::{self, Surroundings};
use super::conditions;
use super::hook::Hook;
use super::matching;
use super::resolve::ServiceResolver;
use super::review::{self, Role, Verdict};
use super::{Attributes, Hooks, Place};
use crate::entropy;
use crate::patch::{self, PatchType};
use crate::resource::{Resource, Snapshot};
use crate::status::Status;
use crate::store::Store;
use crate::warning;

/// The webhooks there are, and how to reach them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission {
    pub(crate) hooks: Hooks,
    pub(crate) resolver: Option<Arc<dyn ServiceResolver>>,
}

/// What admission looks things up in.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) store: &'a Store,
    pub(crate) kinds: &'a Snapshot,
}

/// How asking one webhook ended badly.
enum Trouble {
    /// It could not be asked; what that means is the configuration's choice.
    Call(String),
    /// The request ends with this.
    Refused(Status),
}

/// Which webhooks are asked a second time: those that wish so and were asked before a change by another. A change in the second
/// round counts as well for those whose turn is still to come.
#[derive(Default)]
struct Rounds {
    invoked: BTreeSet<usize>,
    again: BTreeSet<usize>,
}

impl Rounds {
    fn note(&mut self, n: usize, reinvoke: bool, changed: bool) {
        if changed {
            self.again.append(&mut self.invoked);
        }
        if reinvoke {
            self.invoked.insert(n);
        }
    }
}

impl Admission {
    /// True if some webhook wants to see requests at `place`. Without one, callers can decide in one step.
    pub(crate) fn watches(&self, place: &Place, kinds: &Snapshot) -> bool {
        if matching::is_exempt(&place.resource) {
            return false;
        }
        let mut hooks = self.hooks.mutating();
        hooks.extend(self.hooks.validating());
        hooks.iter().any(|hook| matching::version_for(hook, place, kinds).is_some())
    }

    /// The object as the mutating webhooks want it.
    pub(crate) async fn mutate(&self, world: World<'_>, mut request: Attributes) -> Result<Value, Status> {
        if matching::is_exempt(&request.place.resource) {
            return Ok(request.object);
        }
        let hooks = self.hooks.mutating();
        let mut rounds = Rounds::default();
        for is_second in [false, true] {
            for (n, hook) in hooks.iter().enumerate() {
                if is_second && !rounds.again.contains(&n) {
                    continue;
                }
                if let Some(changed) = self.change(world, hook, &mut request).await? {
                    rounds.note(n, hook.reinvoke, changed);
                }
            }
        }
        Ok(request.object)
    }

    /// Lets one webhook change the object: `None` if it is not asked, otherwise whether it changed something.
    async fn change(
        &self,
        world: World<'_>,
        hook: &Hook,
        request: &mut Attributes,
    ) -> Result<Option<bool>, Status> {
        let Some(resource) = wanted(world, hook, request)? else { return Ok(None) };
        let asked = self.ask(world, (hook, Role::Mutating), request, resource).await;
        let Some(verdict) = settle(hook, asked)? else { return Ok(Some(false)) };
        if verdict.patch.as_array().is_none_or(Vec::is_empty) {
            return Ok(Some(false));
        }
        if request.object.is_null() {
            let message = format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            );
            return Err(Status::internal(message));
        }
        let before = review::in_version(&request.object, resource);
        let patched = patch::apply(PatchType::Json, resource.model(), &before, &verdict.patch);
        let patched = patched.map_err(Status::internal)?;
        let changed = patched != before;
        request.object = review::in_version(&patched, &request.place.resource);
        Ok(Some(changed))
    }

    /// Asks the validating webhooks.
    pub(crate) async fn validate(&self, world: World<'_>, request: &Attributes) -> Result<(), Status> {
        if matching::is_exempt(&request.place.resource) {
            return Ok(());
        }
        let hooks = self.hooks.validating();
        let mut relevant = Vec::new();
        for hook in &hooks {
            if let Some(resource) = wanted(world, hook, request)? {
                relevant.push((hook, resource));
            }
        }
        let calls = relevant.into_iter().map(|(hook, resource)| async move {
            let asked = self.ask(world, (hook, Role::Validating), request, resource).await;
            settle(hook, asked).map(drop)
        });
        join_all(calls).await.into_iter().collect()
    }

    async fn ask(
        &self,
        world: World<'_>,
        (hook, role): (&Hook, Role),
        request: &Attributes,
        resource: &Resource,
    ) -> Result<Verdict, Trouble> {
        if request.dry_run && !hook.dry_run {
            let message = format!("admission webhook {:?} does not support dry run", hook.name);
            return Err(Trouble::Refused(Status::bad_request(message)));
        }
        let call = |why: String| Trouble::Call(why);
        let unknown = "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
        let version = hook.review_version.ok_or_else(|| call(unknown.into()))?;
        let uid = entropy::uuid().map_err(|e| Trouble::Refused(Status::internal(e)))?;
        let question = review::question(version, &uid, request, resource).to_string();
        let around = Surroundings { store: world.store, resolver: self.resolver.as_deref() };
        let answer = call::call(around, hook, question.into_bytes()).await;
        let answer = answer.map_err(|e| call(format!("failed to call webhook: {e}")))?;
        let verdict = review::verdict(version, &uid, role, &answer);
        let verdict = verdict.map_err(|e| match e.starts_with("received ") {
            true => call(e),
            false => call(format!("received invalid webhook response: {e}")),
        })?;
        verdict.warnings.iter().for_each(warning::add);
        match &verdict.refusal {
            Some(status) => Err(Trouble::Refused(review::refused(&hook.name, status))),
            None => Ok(verdict),
        }
    }
}

/// The version in which `hook` is to be asked about `request`, if it is.
fn wanted<'w>(
    world: World<'w>,
    hook: &Hook,
    request: &'w Attributes,
) -> Result<Option<&'w Resource>, Status> {
    let Some(resource) = matching::version_for(hook, &request.place, world.kinds) else { return Ok(None) };
    let namespace = |name: &str| {
        let stored = world.store.get(&format!("core/namespaces/{name}"))?;
        stored.map(|s| serde_json::from_slice(&s.body).map_err(Status::internal)).transpose()
    };
    let matches = matching::objects_match(&hook.objects, request)
        && matching::namespace_matches(&hook.namespaces, request, namespace)?;
    if !matches || hook.conditions.is_empty() {
        return Ok(matches.then_some(resource));
    }
    let holds = conditions::hold(hook, request, resource)?;
    Ok(holds.then_some(resource))
}

/// What a failed call means is the configuration's choice; a refusal ends the request.
fn settle(hook: &Hook, asked: Result<Verdict, Trouble>) -> Result<Option<Verdict>, Status> {
    match asked {
        Ok(verdict) => Ok(Some(verdict)),
        Err(Trouble::Refused(status)) => Err(status),
        Err(Trouble::Call(why)) if hook.ignore_failure => {
            tracing::warn!(webhook = hook.name, why, "failed calling webhook, failing open");
            Ok(None)
        }
        Err(Trouble::Call(why)) => {
            Err(Status::internal(format!("failed calling webhook {:?}: {why}", hook.name)))
        }
    }
}
