//! The devices that a pod has by its resource claims.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use kube::Client;
use kube::core::Request;
use kube::core::params::{GetParams, ListParams};
use polynic_api::dra::{self, AllocatedDevice, ExtendedClaim, PodClaims, ResourceClaim, ResourceSlice};
use polynic_attach::{Devices, PodInfo};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::request;
use crate::retry::{Limits, ask};

/// Adds the devices of all claims of a pod. A device that is none for networks is passed over: a claim may have a GPU beside it.
///
/// The pod is read anew, because caches of pods leave its status out.
pub(super) async fn collect(client: &Client, pod: &PodInfo, devices: &mut Devices) -> Result<(), String> {
    let claimed = pod_claims(client, pod).await?;
    let names = claimed.claims.iter().filter_map(|claim| claim.resource_claim_name.clone());
    let names: Vec<String> = names.collect();
    for claim in claimed.claims.iter().filter(|claim| claim.resource_claim_name.is_none()) {
        devices.notes.push(format!("claim {} of the pod has no ResourceClaim", claim.name));
    }
    let extended = claimed.extended.filter(|extended| !extended.resource_claim_name.is_empty());
    if names.is_empty() && extended.is_none() {
        return Ok(());
    }
    let reader = Reader { client, pod };
    let claims = try_join_all(names.iter().map(|name| reader.claim(name))).await?;
    let extended = match extended {
        Some(extended) => Some((reader.claim(&extended.resource_claim_name).await?, extended)),
        None => None,
    };
    let mut allocated = Vec::new();
    for (claim, name) in claims.iter().zip(&names) {
        allocated.extend(claim.allocated(name).map_err(|why| why.to_string())?);
    }
    let slices = reader.slices(&allocated, extended.as_ref()).await?;
    add_claimed(&allocated, &slices, devices);
    match extended {
        Some((claim, extended)) => add_extended(&extended, &claim, &slices, devices),
        None => Ok(()),
    }
}

fn add_claimed(allocated: &[&AllocatedDevice], slices: &[ResourceSlice], devices: &mut Devices) {
    for device in allocated {
        match dra::network_device(device, slices) {
            Ok(found) => devices.add(&found.resource_name, &found.device_id),
            Err(why) => devices.notes.push(format!("passed over: {why}")),
        }
    }
}

fn add_extended(
    extended: &ExtendedClaim,
    claim: &ResourceClaim,
    slices: &[ResourceSlice],
    devices: &mut Devices,
) -> Result<(), String> {
    let found = dra::extended_devices(extended, claim, slices).map_err(|why| why.to_string())?;
    found.iter().for_each(|device| devices.add(&device.resource_name, &device.device_id));
    Ok(())
}

async fn pod_claims(client: &Client, pod: &PodInfo) -> Result<PodClaims, String> {
    request::check_names(&[&pod.namespace, &pod.name])?;
    let object: Value = get(client, request::pods(&pod.namespace), &pod.name).await?;
    let status = object.get("status").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    serde_json::from_value(status).map_err(|why| format!("status of pod {}: {why}", pod.name))
}

struct Reader<'a> {
    client: &'a Client,
    pod: &'a PodInfo,
}

impl Reader<'_> {
    async fn claim(&self, name: &str) -> Result<ResourceClaim, String> {
        request::check_names(&[name])?;
        let got = get(self.client, request::resource_claims(&self.pod.namespace), name).await;
        got.map_err(|why| format!("ResourceClaim {name}: {why}"))
    }

    /// What all drivers say that take part, each asked once.
    async fn slices(
        &self,
        allocated: &[&AllocatedDevice],
        extended: Option<&(ResourceClaim, ExtendedClaim)>,
    ) -> Result<Vec<ResourceSlice>, String> {
        let of_extended =
            extended.and_then(|(claim, extended)| claim.allocated(&extended.resource_claim_name).ok());
        let all = allocated.iter().copied().chain(of_extended.into_iter().flatten());
        let drivers: BTreeSet<&str> = all.map(|device| device.driver.as_str()).collect();
        let lists = try_join_all(drivers.into_iter().map(|driver| self.slices_of(driver))).await?;
        Ok(lists.into_iter().flatten().collect())
    }

    async fn slices_of(&self, driver: &str) -> Result<Vec<ResourceSlice>, String> {
        let node = &self.pod.node;
        let of_node = if node.is_empty() { String::new() } else { format!("spec.nodeName={node},") };
        let params = ListParams::default().fields(&format!("{of_node}spec.driver={driver}"));
        let question = || async {
            let request = Request::new(request::resource_slices()).list(&params);
            self.client.request::<List>(request.map_err(kube::Error::BuildRequest)?).await
        };
        let answer = ask(Limits::PATIENT, question).await;
        answer.map(|list| list.items).map_err(|why| format!("ResourceSlices of driver {driver}: {why}"))
    }
}

#[derive(Deserialize)]
struct List {
    items: Vec<ResourceSlice>,
}

async fn get<T: DeserializeOwned>(client: &Client, path: String, name: &str) -> Result<T, String> {
    let question = || async {
        let request = Request::new(path.clone()).get(name, &GetParams::default());
        client.request(request.map_err(kube::Error::BuildRequest)?).await
    };
    ask(Limits::PATIENT, question).await.map_err(|why| why.to_string())
}
