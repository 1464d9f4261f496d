//! What hot-plug asks of the endpoint: the sandbox of a pod, and its networks made those of its annotation.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use polynic_attach::Config as AttachConfig;
use polynic_attach::plug::{self, Followed};
use polynic_cluster::NodeCluster;
use polynic_cni::{Invocation, json};
use serde_json::Value;

use super::{Abandoned, Endpoint, Lane, Refusal, Turn, Whose};

impl Endpoint {
    /// Reads from disk which pods were attached before this agent came, once it is known where that stands: what the shim's configuration is, by
    /// a call, by an agent before us, or by the file that runtimes read. Once is enough.
    pub(crate) async fn remember(self: &Arc<Self>) {
        if self.remembered.load(Ordering::Relaxed) {
            return;
        }
        let endpoint = self.clone();
        // Nothing but reading files, and nothing is lost if it fails: it is tried again.
        let _ = tokio::task::spawn_blocking(move || endpoint.remember_now()).await;
    }

    fn remember_now(&self) {
        if let Ok(config) = self.shims_config() {
            self.sandboxes.load(&config);
            self.remembered.store(true, Ordering::Relaxed);
        }
    }

    /// Waits until a pod was attached.
    pub(crate) async fn has_attached(&self) {
        self.has_attached.notified().await;
    }

    /// The container id of a pod's sandbox.
    pub(crate) fn sandbox_of(&self, pod: &str) -> Option<String> {
        self.sandboxes.of(pod).map(|invocation| invocation.container_id)
    }

    /// Makes the networks of a pod those of its annotation, after all calls that came before for the pod.
    ///
    /// # Errors
    /// Nothing could be done at all.
    pub(crate) async fn follow(self: &Arc<Self>, pod: &str, sandbox: &str) -> Result<Followed, String> {
        let (endpoint, name, container) = (self.clone(), pod.to_owned(), sandbox.to_owned());
        let work = move || {
            let done = endpoint.follow_now(&name, &container);
            done.map_err(|why| (Refusal::Text(why), "hot_plug"))
        };
        let whose = Whose { key: pod, sandbox, overtakes: false };
        let turn = Turn { lane: Lane::Patient, whose, abandoned: Abandoned::Dropped };
        let followed = self.queued(turn, work).await;
        followed.map_err(|(refusal, _)| match refusal {
            Refusal::Text(why) | Refusal::Defect(why) => why,
            Refusal::Object(error) => error.to_string(),
        })
    }

    fn follow_now(&self, name: &str, sandbox: &str) -> Result<Followed, String> {
        let current = self.sandboxes.of(name).filter(|invocation| invocation.container_id == sandbox);
        let (Some(invocation), Some(pod)) = (current, self.pod(name)) else { return Ok(Followed::default()) };
        let config = self.shims_config()?;
        let invocation = Invocation { env: self.own.plugin_env(), ..invocation };
        // What holds the sandbox's turn waits for the API server only as long as nobody deletes it.
        let until_deleted = |cache| NodeCluster::until(cache, self.leaving.of(sandbox));
        let cluster = self.around.cluster.clone().map(until_deleted);
        let (followed, _) = self
            .with_context(cluster, &config, |context| plug::follow(context, &invocation, &config, &pod.info));
        followed.map_err(|why| why.to_string())
    }

    /// The pod as it is known now; none that is being deleted.
    fn pod(&self, name: &str) -> Option<Arc<polynic_cluster::NodePod>> {
        let (namespace, name) = name.split_once('/')?;
        self.around.cluster.as_ref()?.pod(namespace, name).filter(|pod| !pod.is_deleting)
    }

    /// The configuration that the shim sends, with ours over it.
    fn shims_config(&self) -> Result<AttachConfig, String> {
        let sent = json::parse_object(&self.sandboxes.config());
        let sent = sent.or_else(|_| json::parse_object(&self.config.generated()));
        let sent =
            sent.map_err(|_| "no shim has sent its configuration yet, and there is no file with one")?;
        let text = json::print_compact(&Value::Object(self.config.laid_over(sent)));
        AttachConfig::parse(text.as_bytes()).map_err(|why| polynic_cni::Error::from(why).to_string())
    }
}
