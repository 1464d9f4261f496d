//! Pools of addresses: who may have which address, and how many agents hand them out at once without a mistake.
//!
//! Three layers, each without the next:
//!
//! 1. **Words and rules**, pure: [`Pool`], [`Records`], [`Endpoint`], [`Pod`] and the requests. The edge converts API
//!    objects into these and back; `status.allocatedIPs` is read and printed here ([`Records::of_text`]).
//! 2. **The allocator** ([`Allocator`]), a pure step machine: events in, effects out. It knows neither time nor chance nor
//!    the API server; a simulation drives thousands of them step by step, with faults.
//! 3. **The store** ([`Store`]): reads and conditional writes. The edge implements it with a Kubernetes client.
//!
//! An address is handed out only after its record in the pool's status is durable. Whatever fails, crashes or gets
//! lost between, what remains is at worst a recorded address without a pod.

pub mod annotation;
pub mod auto_pool;
mod candidates;
mod decide;
mod driver;
mod endpoint;
mod filter;
pub mod gc;
mod glob;
pub mod label;
mod machine;
mod objects;
mod observed;
mod pacing;
mod pool;
mod record;
mod release;
mod request;
mod selector;
mod settings;
pub mod settle;
pub mod sim;
mod store;
pub mod whereabouts;

pub use candidates::{Candidates, Demand, candidates};
pub use decide::{Allocation, Decision, Dropped, Identity, Kept, Search, decide_add};
pub use driver::{Answered, Clock, Handle, Parts, service};
pub use endpoint::{Assigned, Endpoint, EndpointInterface, Holding};
pub use filter::Situation;
pub use machine::{Allocator, Counters, Effect, Event};
pub use objects::{Controller, Deletion, FixedOwner, Phase, Pod, PodKey, RestartPolicy, Texts};
pub use observed::{Observed, ObservedPod, observe};
pub use pool::{Pool, PoolRoute, PoolSpec, ReservedIp, Usage, reserved};
pub use record::{Record, Records, RecordsError};
pub use release::{EndpointFate, Release, decide_release};
pub use request::{
    AddRequest, Answer, Failure, FailureReason, Grant, Granted, GrantedRoute, Millis, ReleaseKind,
    ReleaseRequest, RequestId,
};
pub use selector::{Expression, Operator, Selector};
pub use settings::{Fixed, Pacing, Settings};
pub use store::{EndpointWrite, Namespace, Networks, PoolWrite, ReadError, Store, WriteError};
