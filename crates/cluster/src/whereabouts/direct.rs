//! The plugin's side: blocking calls from any thread, served on one thread with a runtime of its own that starts with the first call.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use kube::config::Kubeconfig;
use polynic_cni::cause::chain;
use polynic_ipam::whereabouts::{Holder, Range, RangeText, pool_name};
use polynic_net::Entropy;
use polynic_wire::whereabouts::{Whereabouts, WhereaboutsRange, WhereaboutsRequest};
use tokio::runtime::{Builder, Handle};

use super::DEFAULT_NAMESPACE;
use super::lane::Lane;
use super::objects::Objects;
use super::work::{Answer, Taken, Use, Wish, Work};
use crate::connect::client_from;

type Lanes = BTreeMap<(PathBuf, String), Arc<Lane<Wish, Answer>>>;

/// Serves the `whereabouts` plugin of a process.
#[derive(Clone, Default)]
pub struct Direct {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seed: u64,
    runtime: Mutex<Option<Handle>>,
    clients: Mutex<BTreeMap<PathBuf, Objects>>,
    lanes: Mutex<Lanes>,
}

impl Direct {
    /// `seed` spreads retries: two processes should not have the same.
    pub fn new(seed: u64) -> Self {
        Self { shared: Arc::new(Shared { seed, ..Shared::default() }) }
    }

    /// Has a call served and waits for it. What is under way at the deadline goes on to its end; a DEL takes it back.
    fn call<T, F>(&self, deadline: Instant, call: impl FnOnce(Arc<Shared>) -> F) -> Result<T, String>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, String>> + Send + 'static,
    {
        let (reply, answer) = sync_channel(1);
        let work = call(self.shared.clone());
        self.shared.runtime()?.spawn(async move {
            // A caller whose deadline has passed is gone.
            let _ = reply.send(work.await);
        });
        let left = deadline.saturating_duration_since(Instant::now());
        answer.recv_timeout(left).unwrap_or_else(|_| Err(format!("time limit exceeded after {left:?}")))
    }
}

impl Whereabouts for Direct {
    fn allocate(&self, request: &WhereaboutsRequest, deadline: Instant) -> Result<Vec<IpAddr>, String> {
        let request = request.clone();
        self.call(deadline, |shared| async move { shared.allocate(request).await })
    }

    fn release(&self, request: &WhereaboutsRequest, deadline: Instant) -> Result<(), String> {
        let request = request.clone();
        self.call(deadline, |shared| async move { shared.release(request).await })
    }

    fn check(&self, request: &WhereaboutsRequest, deadline: Instant) -> Result<(), String> {
        let request = request.clone();
        self.call(deadline, |shared| async move { shared.check(request).await })
    }
}

/// One range of a request.
struct Part {
    of: Use,
    range: Range,
}

impl Shared {
    fn runtime(&self) -> Result<Handle, String> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = runtime.as_ref() {
            return Ok(handle.clone());
        }
        let failed = |e: std::io::Error| format!("cannot start a runtime: {e}");
        let made = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = made.handle().clone();
        let serve = move || made.block_on(std::future::pending::<()>());
        std::thread::Builder::new().name("whereabouts".to_owned()).spawn(serve).map_err(failed)?;
        Ok(runtime.insert(handle).clone())
    }

    async fn allocate(&self, request: WhereaboutsRequest) -> Result<Vec<IpAddr>, String> {
        let objects = self.objects(&request.kubeconfig).await?;
        let who = holder(&request);
        let mut taken: Vec<(Use, Taken)> = Vec::new();
        for part in self.parts(&objects, &request).await? {
            let wish = Wish::Take(who.clone(), part.range);
            match self.ride(&request.kubeconfig, &objects, &part.of, wish).await {
                Ok(Some(got)) => taken.push((part.of, got)),
                Ok(None) => return Err(format!("the pool {} gave no address", part.of.name)),
                Err(why) => {
                    self.take_back(&request, &objects, &who, &taken).await;
                    return Err(why);
                }
            }
        }
        Ok(taken.into_iter().map(|(_, got)| got.ip).collect())
    }

    /// Nothing stays of a request that could not be met as a whole, but what was there before.
    async fn take_back(
        &self,
        request: &WhereaboutsRequest,
        objects: &Objects,
        who: &Holder,
        taken: &[(Use, Taken)],
    ) {
        for (of, _) in taken.iter().filter(|(_, got)| !got.was_known) {
            if let Err(why) = self.ride(&request.kubeconfig, objects, of, Wish::Give(who.clone())).await {
                tracing::warn!(pool = of.name, why, "an address of a failed request stays until its DEL");
            }
        }
    }

    async fn release(&self, request: WhereaboutsRequest) -> Result<(), String> {
        let objects = self.objects(&request.kubeconfig).await?;
        let who = holder(&request);
        let mut outcome = Ok(());
        for part in self.parts(&objects, &request).await? {
            let given = self.ride(&request.kubeconfig, &objects, &part.of, Wish::Give(who.clone())).await;
            outcome = outcome.and(given.map(drop));
        }
        outcome
    }

    async fn check(&self, request: WhereaboutsRequest) -> Result<(), String> {
        let objects = self.objects(&request.kubeconfig).await?;
        for part in self.parts(&objects, &request).await? {
            let pool = objects.find_pool(&part.of.name).await.map_err(|e| e.to_string())?;
            let own = |holder: &Holder| holder.id == request.container_id && holder.ifname == request.ifname;
            if !pool.is_some_and(|pool| pool.holders.values().any(own)) {
                return Err(format!(
                    "no address of range {} is recorded for this interface",
                    part.of.range.net
                ));
            }
        }
        Ok(())
    }

    /// Has something done to a pool, together with whoever else wants something of it.
    async fn ride(&self, kubeconfig: &Path, objects: &Objects, of: &Use, wish: Wish) -> Answer {
        let key = (kubeconfig.to_owned(), of.name.clone());
        let lane = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        let seed = Entropy::new(self.seed ^ Arc::as_ptr(&lane) as u64).bits();
        let answer = lane.ride(wish, async |jobs| Work::new(objects, of, seed).run(jobs).await).await;
        answer.unwrap_or_else(|| Err(format!("the work on pool {} was interrupted", of.name)))
    }

    /// The objects that a kubeconfig leads to.
    async fn objects(&self, kubeconfig: &Path) -> Result<Objects, String> {
        let known = self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(kubeconfig).cloned();
        if let Some(objects) = known {
            return Ok(objects);
        }
        let client = client_from(Some(kubeconfig))
            .await
            .map_err(|e| format!("cannot use {}: {}", kubeconfig.display(), chain(&e)))?;
        let client = client.ok_or_else(|| format!("{} leads to no API server", kubeconfig.display()))?;
        let objects = Objects { client, namespace: namespace(kubeconfig) };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.insert(kubeconfig.to_owned(), objects.clone());
        Ok(objects)
    }

    async fn parts(&self, objects: &Objects, request: &WhereaboutsRequest) -> Result<Vec<Part>, String> {
        let ranges = request.ranges.iter().map(|range| Range::read(&text(range)).map_err(|e| e.to_string()));
        let ranges: Vec<Range> = ranges.collect::<Result<_, _>>()?;
        let mut parts = Vec::new();
        for range in ranges {
            let (node, range) = match &request.slice {
                Some(slice) => {
                    let found = objects.slice(&slice.pool, &slice.node).await.map_err(|e| e.to_string())?;
                    let found =
                        found.ok_or_else(|| format!("no allocated node slice for node {}", slice.node))?;
                    (Some(slice.node.as_str()), range.slice(&found).map_err(|e| e.to_string())?)
                }
                None => (None, range),
            };
            let network = request.network_name.clone();
            let name = pool_name(&network, node, range.net);
            let of = Use { name, network, range: range.clone(), overlapping: request.overlapping };
            parts.push(Part { of, range });
        }
        Ok(parts)
    }
}

fn holder(request: &WhereaboutsRequest) -> Holder {
    Holder {
        id: request.container_id.clone(),
        podref: request.podref.clone(),
        ifname: request.ifname.clone(),
    }
}

fn text(range: &WhereaboutsRange) -> RangeText {
    RangeText {
        range: range.range.clone(),
        start: range.start.clone(),
        end: range.end.clone(),
        exclude: range.exclude.clone(),
    }
}

/// The namespace of the kubeconfig's current context.
fn namespace(kubeconfig: &Path) -> String {
    let named = Kubeconfig::read_from(kubeconfig).ok().and_then(|config| {
        let current = config.current_context?;
        config.contexts.into_iter().find(|context| context.name == current)?.context?.namespace
    });
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
}
