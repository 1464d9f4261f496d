use polynic_api::spider::annotation::{Annotations, NETWORK_RESOURCE_INJECT};
use polynic_api::spider::{FINALIZER, SpiderMultusConfig};

use super::*;

const RULES: Rules = Rules { ipv4: true, ipv6: true, subnets: true, protect_in_use: true };

/// A cluster with nothing else in it, or an API server that does not answer.
struct Around(Result<(), &'static str>);

impl World for Around {
    async fn around(&self, _: Kind, _: Step, _: &Question) -> Result<Surroundings, WorldError> {
        self.0.map(|()| Surroundings::default()).map_err(|why| WorldError(why.to_owned()))
    }

    async fn namespace_annotations(&self, _: &str) -> Result<Annotations, WorldError> {
        self.0.map(|()| Annotations::new()).map_err(|why| WorldError(why.to_owned()))
    }

    async fn group(&self, _: &Group) -> Result<Vec<SpiderMultusConfig>, WorldError> {
        self.0.map(|()| Vec::new()).map_err(|why| WorldError(why.to_owned()))
    }
}

async fn ask(world: &Around, path: &str, request: Value) -> Value {
    let (step, kind) = of_path(path).unwrap();
    let question = read(json!({"request": request}).to_string().as_bytes()).unwrap();
    let answer = answer(step, kind, &question, (world, RULES)).await;
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["response"]["uid"], "u");
    answer["response"].clone()
}

fn pool(spec: Value) -> Value {
    json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool", "metadata": {"name": "p"}, "spec": spec})
}

#[test]
fn paths_are_those_of_the_contract() {
    assert_eq!(path(Step::Mutate, Kind::Pool), "/mutate-spiderpool-spidernet-io-v2beta1-spiderippool");
    let wanted = "/validate-spiderpool-spidernet-io-v2beta1-spidermultusconfig";
    assert_eq!(of_path(wanted), Some((Step::Validate, Kind::MultusConfig)));
    assert_eq!(of_path("/validate-spiderpool-spidernet-io-v2beta1-spiderendpoint"), None);
}

#[tokio::test]
async fn a_mutation_is_answered_with_a_patch() {
    let object = pool(json!({"subnet": "10.0.0.0/24", "someday": 1}));
    let request = json!({"uid": "u", "operation": "CREATE", "name": "p", "object": object});
    let response =
        ask(&Around(Ok(())), "/mutate-spiderpool-spidernet-io-v2beta1-spiderippool", request).await;
    assert_eq!((&response["allowed"], &response["patchType"]), (&json!(true), &json!("JSONPatch")));
    let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    let paths: Vec<&str> = patch.as_array().unwrap().iter().map(|op| op["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/metadata/finalizers", "/metadata/labels", "/spec/ipVersion"]);
    assert_eq!(patch[0]["value"], json!([FINALIZER]));
}

#[tokio::test]
async fn a_mutator_never_refuses() {
    for (world, object) in
        [(Around(Err("no API server")), pool(json!({}))), (Around(Ok(())), pool(json!({"subnet": 7})))]
    {
        let request = json!({"uid": "u", "operation": "CREATE", "name": "p", "object": object});
        let response = ask(&world, "/mutate-spiderpool-spidernet-io-v2beta1-spiderippool", request).await;
        assert_eq!(response, json!({"uid": "u", "allowed": true}));
    }
}

#[tokio::test]
async fn a_refusal_has_code_reason_message_and_causes() {
    let request = json!({"uid": "u", "operation": "CREATE", "name": "p", "object": pool(json!({"ipVersion": 4, "subnet": "10.0.0.1/24"}))});
    let response =
        ask(&Around(Ok(())), "/validate-spiderpool-spidernet-io-v2beta1-spiderippool", request).await;
    assert_eq!(response["allowed"], false);
    let status = &response["status"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .starts_with("SpiderIPPool.spiderpool.spidernet.io \"p\" is invalid: spec.subnet: ")
    );
    assert_eq!(status["details"]["causes"][0]["field"], "spec.subnet");
}

#[tokio::test]
async fn a_deletion_is_decided_by_the_old_object() {
    let mut old = pool(json!({"ipVersion": 4, "subnet": "10.0.0.0/24"}));
    old["status"] = json!({"allocatedIPCount": 1});
    let request = json!({"uid": "u", "operation": "DELETE", "name": "p", "object": null, "oldObject": old});
    let response =
        ask(&Around(Ok(())), "/validate-spiderpool-spidernet-io-v2beta1-spiderippool", request).await;
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(403)));
}

#[tokio::test]
async fn without_the_other_objects_nothing_is_allowed() {
    let request = json!({"uid": "u", "operation": "CREATE", "name": "p", "object": pool(json!({}))});
    let response =
        ask(&Around(Err("no API server")), "/validate-spiderpool-spidernet-io-v2beta1-spiderippool", request)
            .await;
    assert_eq!(
        response["status"],
        json!({"status": "Failure", "code": 500, "reason": "InternalError", "message": "no API server"})
    );
}

#[tokio::test]
async fn every_kind_is_validated_on_create_and_update() {
    let wrong = [
        (Kind::Subnet, json!({"subnet": "x"})),
        (Kind::ReservedIP, json!({"ips": []})),
        (Kind::Coordinator, json!({"mode": "auto"})),
        (Kind::MultusConfig, json!({"cniType": "macvlan"})),
    ];
    for (kind, spec) in wrong {
        let object = json!({"metadata": {"name": "o"}, "spec": spec});
        for operation in ["CREATE", "UPDATE"] {
            let request = json!({"uid": "u", "operation": operation, "name": "o", "object": object, "oldObject": object});
            let response = ask(&Around(Ok(())), &path(Step::Validate, kind), request).await;
            assert_eq!(response["status"]["code"], 422, "{kind:?} {operation}");
        }
    }
}

/// A pod that would run without the networks it asks for does not run.
#[tokio::test]
async fn a_pod_whose_group_is_not_known_is_refused() {
    let ask = async |world: Around, annotations: Value| {
        let object = json!({"metadata": {"name": "web", "annotations": annotations}, "spec": {"containers": [{"name": "c"}]}});
        let request = json!({"uid": "u", "operation": "CREATE", "namespace": "a", "object": object});
        let question = read(json!({"request": request}).to_string().as_bytes()).unwrap();
        answer_pod(&question, &world).await["response"].clone()
    };
    let wanted = json!({NETWORK_RESOURCE_INJECT: "g"});
    assert_eq!(ask(Around(Ok(())), json!(null)).await, json!({"uid": "u", "allowed": true}));
    let response = ask(Around(Ok(())), wanted.clone()).await;
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(403)));
    let response = ask(Around(Err("no answer")), wanted).await;
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(500)));
}
