//! The model as a store for a running allocator: reads are done at once, pool writes let everybody else go first for a while.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use super::Api;
use crate::{
    Controller, Endpoint, EndpointWrite, FixedOwner, Namespace, Networks, Pod, PodKey, Pool, PoolWrite,
    ReadError, ReservedIp, Store, Texts, WriteError,
};

/// So many times a pool write lets others run before it is done.
const TURNS_OF_A_WRITE: u32 = 50;

/// The model behind a lock.
#[derive(Clone, Debug, Default)]
pub struct ApiStore(Arc<Mutex<Api>>);

impl ApiStore {
    /// Offers a model.
    pub fn new(api: Api) -> Self {
        Self(Arc::new(Mutex::new(api)))
    }

    /// The model, to look at and to change.
    pub fn api(&self) -> MutexGuard<'_, Api> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for ApiStore {
    async fn pod(&self, key: &PodKey, _uid: &str) -> Result<Option<Pod>, ReadError> {
        Ok(self.api().pods.get(key).cloned())
    }

    fn networks(&self, _pod: &Pod) -> Networks {
        Networks::default()
    }

    async fn namespace(&self, name: &str) -> Result<Namespace, ReadError> {
        Ok(self.api().namespaces.get(name).cloned().unwrap_or_default())
    }

    async fn node_labels(&self, name: &str) -> Result<Texts, ReadError> {
        Ok(self.api().nodes.get(name).cloned().unwrap_or_default())
    }

    async fn controller_of(
        &self,
        namespace: &str,
        object: &Controller,
    ) -> Result<Option<Controller>, ReadError> {
        Ok(self.api().parent(namespace, object))
    }

    async fn fixed_owner(&self, pod: &Pod) -> Result<FixedOwner, ReadError> {
        Ok(self.api().fixed_owner(pod))
    }

    async fn endpoint(&self, key: &PodKey) -> Result<Option<Endpoint>, ReadError> {
        Ok(self.api().endpoints.get(key).cloned())
    }

    async fn pools(&self) -> Result<Vec<Arc<Pool>>, ReadError> {
        Ok(self.api().pools.values().cloned().collect())
    }

    async fn reserved(&self) -> Result<Arc<[ReservedIp]>, ReadError> {
        Ok(self.api().reserved.clone())
    }

    async fn pool(&self, name: &str) -> Result<Option<Pool>, ReadError> {
        Ok(self.api().pools.get(name).map(|pool| Pool::clone(pool)))
    }

    async fn write_pool(&self, write: PoolWrite) -> Result<String, WriteError> {
        let mut turns = TURNS_OF_A_WRITE;
        poll_fn(|context| {
            turns -= 1;
            context.waker().wake_by_ref();
            if turns > 0 { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        self.api().write_pool(&write)
    }

    async fn write_endpoint(&self, write: EndpointWrite) -> Result<(), WriteError> {
        self.api().write_endpoint(&write)
    }
}
