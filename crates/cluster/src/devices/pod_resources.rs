//! kubelet's pod-resources API, `v1` over gRPC on a unix socket: the one call that lists all pods. Messages are written by hand with
//! their field numbers (k8s.io/kubelet/pkg/apis/podresources/v1); protobuf skips what is not named here.

use std::path::Path;
use std::time::Duration;

use polynic_attach::{Devices, PodInfo};
use prost::Message;
use tokio::time::timeout;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

/// For the connection, and again for the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The answer has all pods of the node.
const MAX_ANSWER: usize = 16 << 20;

const LIST: &str = "/v1.PodResourcesLister/List";

/// Adds the devices of a pod, of all its containers.
pub(super) async fn collect(socket: &Path, pod: &PodInfo, devices: &mut Devices) -> Result<(), String> {
    let within = |step: &str| format!("kubelet at {}: {step}", socket.display());
    let answer = timeout(2 * TIMEOUT, list(socket)).await;
    let answer = answer.map_err(|_| within("no answer"))?.map_err(|why| within(&why))?;
    let of_pod = |found: &&PodResources| found.name == pod.name && found.namespace == pod.namespace;
    let containers = answer.pod_resources.iter().filter(of_pod).flat_map(|found| &found.containers);
    for found in containers.flat_map(|container| &container.devices) {
        found.device_ids.iter().for_each(|id| devices.add(&found.resource_name, id));
    }
    Ok(())
}

async fn list(socket: &Path) -> Result<ListAnswer, String> {
    let endpoint = Endpoint::try_from(format!("unix://{}", socket.display())).map_err(|why| chain(&why))?;
    let channel = endpoint.connect_timeout(TIMEOUT).connect().await.map_err(|why| chain(&why))?;
    let mut client = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER);
    client.ready().await.map_err(|why| chain(&why))?;
    let question = Request::new(ListQuestion {});
    let codec = ProstCodec::<ListQuestion, ListAnswer>::default();
    let answer = client.unary(question, PathAndQuery::from_static(LIST), codec).await;
    answer.map(|answer| answer.into_inner()).map_err(|why| why.to_string())
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListQuestion {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListAnswer {
    #[prost(message, repeated, tag = "1")]
    pub(super) pod_resources: Vec<PodResources>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodResources {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) namespace: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) containers: Vec<ContainerResources>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerResources {
    #[prost(message, repeated, tag = "2")]
    pub(super) devices: Vec<ContainerDevices>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerDevices {
    #[prost(string, tag = "1")]
    pub(super) resource_name: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) device_ids: Vec<String>,
}
