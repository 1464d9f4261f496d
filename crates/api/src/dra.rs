//! Devices by dynamic resource allocation, `resource.k8s.io/v1` (spec/multus.md 6.2): what a pod claims, what a claim was given, and
//! what a driver says about its devices. Pure; only the fields that matter are read.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Attribute of a device: its id, which goes into the configuration of a network.
pub const DEVICE_ID: &str = "k8s.cni.cncf.io/deviceID";
/// Attribute of a device: the resource name by which NADs ask for it.
pub const RESOURCE_NAME: &str = "k8s.cni.cncf.io/resourceName";

/// The claims of a pod, from its status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodClaims {
    /// The claims that the pod names, each with the object that was made for it.
    #[serde(rename = "resourceClaimStatuses", deserialize_with = "null_is_empty")]
    pub claims: Vec<PodClaim>,
    /// The claim that was made for extended resources.
    #[serde(rename = "extendedResourceClaimStatus")]
    pub extended: Option<ExtendedClaim>,
}

/// One claim of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodClaim {
    /// The name in the pod's spec.
    pub name: String,
    /// The ResourceClaim, if one was needed.
    pub resource_claim_name: Option<String>,
}

/// The claim behind a pod's extended resources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExtendedClaim {
    /// The ResourceClaim.
    pub resource_claim_name: String,
    /// Which of its requests stands for which resource.
    #[serde(deserialize_with = "null_is_empty")]
    pub request_mappings: Vec<RequestMapping>,
}

/// A request of a claim that stands for an extended resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RequestMapping {
    /// The resource as the container names it.
    pub resource_name: String,
    /// The request of the claim.
    pub request_name: String,
}

/// A ResourceClaim: what was allocated for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ResourceClaim {
    status: ClaimStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct ClaimStatus {
    allocation: Option<Allocation>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Allocation {
    devices: AllocatedDevices,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct AllocatedDevices {
    #[serde(deserialize_with = "null_is_empty")]
    results: Vec<AllocatedDevice>,
}

/// One device that was allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AllocatedDevice {
    /// The request it is for.
    pub request: String,
    /// The driver.
    pub driver: String,
    /// The pool.
    pub pool: String,
    /// The device's name in the pool.
    pub device: String,
}

/// A ResourceSlice: devices of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ResourceSlice {
    spec: SliceSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct SliceSpec {
    driver: String,
    pool: SlicePool,
    #[serde(deserialize_with = "null_is_empty")]
    devices: Vec<SliceDevice>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct SlicePool {
    name: String,
    generation: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct SliceDevice {
    name: String,
    #[serde(deserialize_with = "null_is_empty")]
    attributes: BTreeMap<String, Attribute>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Attribute {
    string: Option<String>,
}

/// A device as networks ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkDevice {
    /// The resource name by which NADs ask for it.
    pub resource_name: String,
    /// Its id.
    pub device_id: String,
}

/// Why an allocated device cannot be given to a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraError {
    /// Nothing was allocated.
    #[error("claim {0} has no device allocation")]
    NoAllocation(String),
    /// No slice has the device.
    #[error("device {device} of pool {pool}, driver {driver}, is in no ResourceSlice")]
    NoDevice {
        /// The driver.
        driver: String,
        /// The pool.
        pool: String,
        /// The device.
        device: String,
    },
    /// The driver does not say what networks need.
    #[error("device {device} of driver {driver} has no string attribute {attribute}")]
    NoAttribute {
        /// The driver.
        driver: String,
        /// The device.
        device: String,
        /// Which one.
        attribute: &'static str,
    },
    /// No device was allocated for a request.
    #[error("claim {claim} has no device for request {request} (resource {resource})")]
    NoRequest {
        /// The claim.
        claim: String,
        /// The request.
        request: String,
        /// The resource.
        resource: String,
    },
    /// The device says that it is another resource.
    #[error("request {request} stands for resource {wanted}, but its device says {found}")]
    OtherResource {
        /// The request.
        request: String,
        /// What the pod asks for.
        wanted: String,
        /// What the device says.
        found: String,
    },
}

impl ResourceClaim {
    /// The devices that were allocated.
    ///
    /// # Errors
    /// There are none.
    pub fn allocated(&self, name: &str) -> Result<&[AllocatedDevice], DraError> {
        let allocation = self.status.allocation.as_ref();
        let devices = allocation.map(|allocation| allocation.devices.results.as_slice()).unwrap_or_default();
        if devices.is_empty() { Err(DraError::NoAllocation(name.to_owned())) } else { Ok(devices) }
    }
}

/// The device that was allocated, as its driver describes it. While a driver replaces its slices, the newest generation counts.
///
/// # Errors
/// It is in none of the slices, or has not both attributes: then it is no device for networks.
pub fn network_device(
    allocated: &AllocatedDevice,
    slices: &[ResourceSlice],
) -> Result<NetworkDevice, DraError> {
    let AllocatedDevice { driver, pool, device, .. } = allocated;
    let of_pool = slices
        .iter()
        .map(|slice| &slice.spec)
        .filter(|spec| spec.driver == *driver && spec.pool.name == *pool);
    let found = of_pool
        .flat_map(|spec| spec.devices.iter().map(|device| (spec.pool.generation, device)))
        .filter(|(_, found)| found.name == *device)
        .max_by_key(|(generation, _)| *generation);
    let (_, found) = found.ok_or_else(|| DraError::NoDevice {
        driver: driver.clone(),
        pool: pool.clone(),
        device: device.clone(),
    })?;
    let attribute = |attribute: &'static str| {
        let value = found.attributes.get(attribute).and_then(|value| value.string.clone());
        value.filter(|value| !value.is_empty()).ok_or_else(|| DraError::NoAttribute {
            driver: driver.clone(),
            device: device.clone(),
            attribute,
        })
    };
    Ok(NetworkDevice { device_id: attribute(DEVICE_ID)?, resource_name: attribute(RESOURCE_NAME)? })
}

/// The devices of the claim behind a pod's extended resources. Here every device is one that a network asks for by name, so whatever is
/// missing is an error.
///
/// # Errors
/// A request without device, a device without description, or one of another resource.
pub fn extended_devices(
    extended: &ExtendedClaim,
    claim: &ResourceClaim,
    slices: &[ResourceSlice],
) -> Result<Vec<NetworkDevice>, DraError> {
    let allocated = claim.allocated(&extended.resource_claim_name)?;
    let mut devices = Vec::new();
    for mapping in &extended.request_mappings {
        let before = devices.len();
        for device in allocated.iter().filter(|device| device.request == mapping.request_name) {
            let device = network_device(device, slices)?;
            if device.resource_name != mapping.resource_name {
                return Err(DraError::OtherResource {
                    request: mapping.request_name.clone(),
                    wanted: mapping.resource_name.clone(),
                    found: device.resource_name,
                });
            }
            devices.push(device);
        }
        if devices.len() == before {
            return Err(DraError::NoRequest {
                claim: extended.resource_claim_name.clone(),
                request: mapping.request_name.clone(),
                resource: mapping.resource_name.clone(),
            });
        }
    }
    Ok(devices)
}

/// Go writes an empty list as null.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
