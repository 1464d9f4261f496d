//! Taking the steps of a plan.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Resource as _, discovery};
use polynic_api::spider::pool::IPPool;
use polynic_api::spider::reserved_ip::ReservedIP;
use polynic_api::spider::subnet::Subnet;
use polynic_api::spider::{FINALIZER, Object, SpiderIPPool, SpiderKind, SpiderSubnet};
use polynic_cluster::spider::{self, Stored, set_plain_meta};
use serde_json::json;

use super::Options;
use super::follow::Applications;
use super::plan::{Gone, Plan, Step, World, plan};
use crate::events::{Events, Severity};
use crate::reconcile::ReconcileError;

/// What the loop works with.
pub(super) struct Keeper {
    pub(super) client: Client,
    pub(super) events: Events,
    pub(super) options: Options,
    pub(super) applications: Applications,
    pub(super) told: Told,
}

impl Keeper {
    /// Plans and takes steps until there is nothing left to do. False: something is to be tried again soon.
    pub(super) async fn settle(&self, rounds: usize) -> bool {
        for _ in 0..rounds {
            match self.round().await {
                Ok((0, is_settled)) => return is_settled,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = error.text(), "subnets are not settled");
                    return false;
                }
            }
        }
        false
    }

    /// One plan and its steps; answers how many steps were taken, and whether nothing is short.
    async fn round(&self) -> Result<(usize, bool), ReconcileError> {
        let (applications, complete) = self.applications.all();
        let world = World {
            subnets: self.all::<Subnet>().await?,
            pools: self.all::<IPPool>().await?,
            reserved: self.all::<ReservedIP>().await?,
            applications,
            complete,
        };
        let plan = plan(&world, self.options.auto_pools, self.options.rules);
        self.tell(&plan, &world).await;
        let (mut taken, mut is_settled) = (0, plan.problems.is_empty());
        for step in &plan.steps {
            match self.take(step).await {
                Ok(is_change) => taken += usize::from(is_change),
                Err(error) if is_overtaken(&error) => taken += 1,
                Err(error) => {
                    tracing::warn!(error = error.text(), "a step was not taken");
                    is_settled = false;
                }
            }
        }
        Ok((taken, is_settled))
    }

    async fn all<K: SpiderKind>(&self) -> Result<Vec<Object<K>>, ReconcileError> {
        let list = spider::all::<K>(self.client.clone()).list(&ListParams::default()).await;
        let list = list.map_err(ReconcileError::during(format!("listing {}", K::PLURAL)))?;
        Ok(list.iter().map(Stored::plain).collect())
    }

    /// Each time only what is new: the same trouble is found every few seconds.
    async fn tell(&self, plan: &Plan, world: &World) {
        let known = self.told.replace(plan);
        for problem in
            plan.problems.iter().filter(|problem| !known.contains(&(String::new(), (*problem).clone())))
        {
            tracing::warn!(problem, "an application's pool is not as it should be");
        }
        for (name, text) in plan.changed_subnets.iter().filter(|changed| !known.contains(*changed)) {
            let Some(pool) = world.pools.iter().find(|pool| pool.metadata.name == *name) else { continue };
            let mut about = Stored::<IPPool>::new(name, pool.spec.clone());
            about.metadata.uid = Some(pool.metadata.uid.clone());
            self.events
                .tell(&about.object_ref(&()), Severity::Warning, "ApplicationSubnetChanged", text)
                .await;
        }
    }

    /// Answers whether anything was changed.
    async fn take(&self, step: &Step) -> Result<bool, ReconcileError> {
        let subnets = spider::all::<Subnet>(self.client.clone());
        let pools = spider::all::<IPPool>(self.client.clone());
        match step {
            Step::CompleteSubnet(subnet) => self.complete(&subnets, subnet).await?,
            Step::DeletePoolsFirst(name) => {
                let deleted = subnets.delete(name, &DeleteParams::foreground()).await;
                deleted
                    .map(drop)
                    .map_err(ReconcileError::during(format!("deleting the pools of SpiderSubnet {name}")))?
            }
            Step::ReleaseSubnet(name) => self.release(&subnets, name).await?,
            Step::SetStatus { subnet, resource_version, status } => {
                let patch = json!({"metadata": {"resourceVersion": resource_version}, "status": {
                    "controlledIPPools": status.controlled_ip_pools,
                    "totalIPCount": status.total_ip_count, "allocatedIPCount": status.allocated_ip_count}});
                let patched =
                    subnets.patch_status(subnet, &PatchParams::default(), &Patch::Merge(patch)).await;
                patched
                    .map(drop)
                    .map_err(ReconcileError::during(format!("writing the status of SpiderSubnet {subnet}")))?
            }
            Step::CreatePool(pool) => {
                let stored = stored_of(Stored::new(&pool.metadata.name, pool.spec.clone()), pool);
                let created = pools.create(&PostParams::default(), &stored).await;
                created.map(drop).map_err(ReconcileError::during(format!(
                    "creating SpiderIPPool {}",
                    pool.metadata.name
                )))?
            }
            Step::UpdatePool(pool) => self.update(&pools, pool).await?,
            Step::DeletePool { pool, application } => return self.delete(&pools, pool, application).await,
        }
        Ok(true)
    }

    async fn complete(&self, api: &Api<Stored<Subnet>>, subnet: &SpiderSubnet) -> Result<(), ReconcileError> {
        let name = &subnet.metadata.name;
        let step = || format!("completing SpiderSubnet {name}");
        let Some(mut there) = api.get_opt(name).await.map_err(ReconcileError::during(step()))? else {
            return Ok(());
        };
        there.metadata.resource_version = subnet.metadata.resource_version.clone();
        set_plain_meta(&mut there.metadata, &subnet.metadata);
        there.spec = subnet.spec.clone();
        let replaced = api.replace(name, &PostParams::default(), &there).await;
        replaced.map(drop).map_err(ReconcileError::during(step()))
    }

    async fn release(&self, api: &Api<Stored<Subnet>>, name: &str) -> Result<(), ReconcileError> {
        let step = || format!("letting go of SpiderSubnet {name}");
        let Some(there) = api.get_opt(name).await.map_err(ReconcileError::during(step()))? else {
            return Ok(());
        };
        let finalizers: Vec<&String> =
            there.metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != FINALIZER).collect();
        let patch = json!({"metadata": {"resourceVersion": there.metadata.resource_version, "finalizers": finalizers}});
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(drop).map_err(ReconcileError::during(step()))
    }

    /// Provided that the pool still is at the version that was planned on.
    async fn update(&self, api: &Api<Stored<IPPool>>, pool: &SpiderIPPool) -> Result<(), ReconcileError> {
        let name = &pool.metadata.name;
        let step = || format!("updating SpiderIPPool {name}");
        let Some(there) = api.get_opt(name).await.map_err(ReconcileError::during(step()))? else {
            return Ok(());
        };
        let mut there = stored_of(there, pool);
        there.metadata.resource_version = pool.metadata.resource_version.clone();
        let replaced = api.replace(name, &PostParams::default(), &there).await;
        replaced.map(drop).map_err(ReconcileError::during(step()))
    }

    /// Only if the application is gone for certain.
    async fn delete(
        &self,
        api: &Api<Stored<IPPool>>,
        name: &str,
        application: &Gone,
    ) -> Result<bool, ReconcileError> {
        match self.is_there(application).await {
            Ok(false) => {}
            Ok(true) => return Ok(false),
            // A kind that we may not read. Its pools stay: one too many does less harm than one that pods still use.
            Err(ReconcileError::Api { source, .. }) if code(&source) == Some(403) => {
                if self.told.once(&format!("{} {}", application.api_version, application.kind)) {
                    let (kind, api_version) = (&application.kind, &application.api_version);
                    tracing::warn!(
                        kind,
                        api_version,
                        "the controller may not read this kind, so its automatic pools are not reclaimed"
                    );
                }
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let step = || format!("deleting SpiderIPPool {name}");
        let Some(there) = api.get_opt(name).await.map_err(ReconcileError::during(step()))? else {
            return Ok(false);
        };
        let preconditions = Preconditions { uid: there.metadata.uid, resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        api.delete(name, &params).await.map(|_| true).map_err(ReconcileError::during(step()))
    }

    async fn is_there(&self, application: &Gone) -> Result<bool, ReconcileError> {
        let step = || format!("reading {} {}", application.kind, application.name);
        let resource = self.resource_of(application).await.map_err(ReconcileError::during(step()))?;
        let Some(resource) = resource else { return Ok(false) };
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &application.namespace, &resource);
        let there = api.get_opt(&application.name).await.map_err(ReconcileError::during(step()))?;
        Ok(there.is_some_and(|there| there.metadata.uid.as_deref() == Some(&application.uid)))
    }

    /// Where objects of the application's kind are; none if there is no such kind any more. Only the server knows the plural.
    async fn resource_of(&self, application: &Gone) -> Result<Option<ApiResource>, kube::Error> {
        let (group, version) =
            application.api_version.split_once('/').unwrap_or(("", &application.api_version));
        let kind = GroupVersionKind::gvk(group, version, &application.kind);
        match discovery::pinned_kind(&self.client, &kind).await {
            Ok((resource, _)) => Ok(Some(resource)),
            Err(kube::Error::Discovery(_)) => Ok(None),
            Err(error) if code(&error) == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What was told already.
#[derive(Default)]
pub(super) struct Told {
    /// Problems of the last round, each with the pool that it is about, if it is about one.
    last: Mutex<BTreeSet<(String, String)>>,
    /// What is told once in a life.
    ever: Mutex<BTreeSet<String>>,
}

impl Told {
    /// Notes the problems of a plan; answers those of the last one.
    fn replace(&self, plan: &Plan) -> BTreeSet<(String, String)> {
        let problems = plan.problems.iter().map(|problem| (String::new(), problem.clone()));
        let now = problems.chain(plan.changed_subnets.iter().cloned()).collect();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *last, now)
    }

    /// Whether this is the first time.
    fn once(&self, what: &str) -> bool {
        self.ever.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned())
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

fn stored_of(mut stored: Stored<IPPool>, pool: &SpiderIPPool) -> Stored<IPPool> {
    set_plain_meta(&mut stored.metadata, &pool.metadata);
    stored.spec = pool.spec.clone();
    stored
}

/// Somebody else was faster: the next round sees what they did.
fn is_overtaken(error: &ReconcileError) -> bool {
    matches!(error, ReconcileError::Api { source, .. } if matches!(code(source), Some(404 | 409)))
}
