use serde_json::{Value, from_value, json};

use super::*;

fn claim(results: Value) -> ResourceClaim {
    from_value(
        json!({"metadata": {"name": "c"}, "status": {"allocation": {"devices": {"results": results}}}}),
    )
    .unwrap()
}

fn slice(generation: i64, devices: Value) -> ResourceSlice {
    from_value(
        json!({"spec": {"driver": "sriov", "nodeName": "n", "pool": {"name": "p", "generation": generation},
                               "devices": devices}}),
    )
    .unwrap()
}

fn vf(name: &str, id: &str) -> Value {
    json!({"name": name, "attributes": {DEVICE_ID: {"string": id}, RESOURCE_NAME: {"string": "vendor/vf"},
                                        "numa": {"int": 1}}})
}

fn allocated(request: &str, device: &str) -> Value {
    json!({"request": request, "driver": "sriov", "pool": "p", "device": device})
}

fn extended(resource: &str, request: &str) -> ExtendedClaim {
    from_value(json!({"resourceClaimName": "c",
                      "requestMappings": [{"containerName": "x", "resourceName": resource, "requestName": request}]}))
    .unwrap()
}

#[test]
fn a_pods_claims_are_in_its_status() {
    let status = json!({"phase": "Pending", "resourceClaimStatuses": [{"name": "nic", "resourceClaimName": "pod-nic-x"},
                        {"name": "none"}], "extendedResourceClaimStatus": {"resourceClaimName": "e", "requestMappings": null}});
    let claims: PodClaims = from_value(status).unwrap();
    let names: Vec<_> = claims.claims.iter().map(|claim| claim.resource_claim_name.as_deref()).collect();
    assert_eq!(names, [Some("pod-nic-x"), None]);
    assert_eq!(claims.extended.unwrap().resource_claim_name, "e");
    assert_eq!(
        from_value::<PodClaims>(json!({"resourceClaimStatuses": null})).unwrap(),
        PodClaims::default()
    );
}

#[test]
fn a_device_is_found_by_driver_pool_and_name() {
    let claim = claim(json!([allocated("r", "vf-1")]));
    let device = &claim.allocated("c").unwrap()[0];
    let slices = [slice(1, json!([vf("vf-0", "0000:01:00.0"), vf("vf-1", "0000:01:00.1")]))];
    let wanted = NetworkDevice { resource_name: "vendor/vf".into(), device_id: "0000:01:00.1".into() };
    assert_eq!(network_device(device, &slices), Ok(wanted));
    let elsewhere = AllocatedDevice { pool: "q".into(), ..device.clone() };
    assert!(matches!(network_device(&elsewhere, &slices), Err(DraError::NoDevice { .. })));
}

#[test]
fn the_newest_generation_of_a_pool_counts() {
    let device = AllocatedDevice {
        driver: "sriov".into(),
        pool: "p".into(),
        device: "v".into(),
        ..Default::default()
    };
    let slices = [slice(2, json!([vf("v", "new")])), slice(1, json!([vf("v", "old")]))];
    assert_eq!(network_device(&device, &slices).unwrap().device_id, "new");
}

#[test]
fn a_device_without_the_attributes_is_none_for_networks() {
    let device = AllocatedDevice {
        driver: "sriov".into(),
        pool: "p".into(),
        device: "gpu".into(),
        ..Default::default()
    };
    for attributes in [
        Value::Null,
        json!({DEVICE_ID: {"string": "x"}}),
        json!({DEVICE_ID: {"int": 1}, RESOURCE_NAME: {"string": "r"}}),
    ] {
        let slices = [slice(1, json!([{"name": "gpu", "attributes": attributes}]))];
        assert!(
            matches!(network_device(&device, &slices), Err(DraError::NoAttribute { .. })),
            "{attributes}"
        );
    }
}

#[test]
fn a_claim_without_allocation_is_an_error() {
    assert_eq!(ResourceClaim::default().allocated("c"), Err(DraError::NoAllocation("c".into())));
    assert_eq!(claim(Value::Null).allocated("c"), Err(DraError::NoAllocation("c".into())));
}

#[test]
fn extended_resources_are_found_by_their_request() {
    let slices = [slice(1, json!([vf("a", "id-a"), vf("b", "id-b"), {"name": "gpu"}]))];
    let claim = claim(json!([allocated("r0", "a"), allocated("r0", "b"), allocated("r1", "gpu")]));
    let ids = |devices: Vec<NetworkDevice>| devices.into_iter().map(|d| d.device_id).collect::<Vec<_>>();
    assert_eq!(
        ids(extended_devices(&extended("vendor/vf", "r0"), &claim, &slices).unwrap()),
        ["id-a", "id-b"]
    );
    let failed = |resource: &str, request: &str| {
        extended_devices(&extended(resource, request), &claim, &slices).unwrap_err()
    };
    assert!(matches!(failed("vendor/other", "r0"), DraError::OtherResource { .. }));
    assert!(matches!(failed("vendor/vf", "r1"), DraError::NoAttribute { .. }));
    assert!(matches!(failed("vendor/vf", "r2"), DraError::NoRequest { .. }));
}
