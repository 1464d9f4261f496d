use serde_json::json;

use super::*;
use crate::resource::Registry;

fn decode(plural: &str, text: &str) -> Result<Decoded, Status> {
    let kinds = Registry::default().snapshot();
    super::text(kinds.find("", "v1", plural).unwrap(), text.as_bytes())
}

fn refusal(spec: &str) -> String {
    let text = format!(r#"{{"metadata":{{"name":"a"}},"spec":{spec}}}"#);
    let message = decode("pods", &text).unwrap_err().message;
    message.strip_prefix("Pod in version \"v1\" cannot be handled as a Pod: ").unwrap().to_owned()
}

#[test]
fn odd_fields_are_named_in_the_order_of_the_text() {
    let text = r#"{"metadata":{"name":"a","name":"b","lab":1,"labels":{"x":"1","x":"2"}},
                   "spec":{"containers":[{"name":"c","ports":[{"containerPort":1,"zzz":{}}]}],"foo":1}}"#;
    let decoded = decode("pods", text).unwrap();
    let wanted = [
        "duplicate field \"metadata.name\"",
        "unknown field \"metadata.lab\"",
        "duplicate field \"metadata.labels.x\"",
        "unknown field \"spec.containers[0].ports[0].zzz\"",
        "unknown field \"spec.foo\"",
    ];
    assert_eq!(decoded.complaints, wanted);
    assert_eq!(decoded.object["metadata"]["name"], "b");
    assert!(decoded.object["spec"].get("foo").is_none());
}

#[test]
fn what_becomes_of_odd_fields_is_the_clients_choice() {
    let kinds = Registry::default().snapshot();
    let pods = kinds.find("", "v1", "pods").unwrap();
    let decoded = || super::text(pods, br#"{"spec":{"foo":1,"bar":2}}"#).unwrap();
    assert_eq!(decoded().accept(FieldValidation::Ignore, pods).unwrap().1, [""; 0]);
    assert_eq!(decoded().accept(FieldValidation::Warn, pods).unwrap().1.len(), 2);
    let refused = decoded().accept(FieldValidation::Strict, pods).unwrap_err();
    let wanted = "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.foo\", unknown field \"spec.bar\"";
    assert_eq!((refused.code, refused.message.as_str()), (400, wanted));
}

/// Texts of kube-apiserver 1.35.4.
#[test]
fn wrong_types_are_refused_in_the_real_servers_words() {
    for (spec, wanted) in [
        (
            r#"{"containers":"x"}"#,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            r#"{"containers":[{"name":5}]}"#,
            "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string",
        ),
        (
            r#"{"containers":[{"ports":[{"containerPort":"x"}]}]}"#,
            "json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            r#"{"containers":[{"ports":[{"containerPort":1.5}]}]}"#,
            "json: cannot unmarshal number 1.5 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            r#"{"containers":[{"ports":[{"containerPort":99999999999}]}]}"#,
            "json: cannot unmarshal number 99999999999 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            r#"{"hostNetwork":"yes"}"#,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        (
            r#"{"nodeSelector":{"a":1}}"#,
            "json: cannot unmarshal number into Go struct field PodSpec.spec.nodeSelector of type string",
        ),
        (
            r#"{"nodeSelector":["a"]}"#,
            "json: cannot unmarshal array into Go struct field PodSpec.spec.nodeSelector of type map[string]string",
        ),
        (
            r#"{"securityContext":5}"#,
            "json: cannot unmarshal number into Go struct field PodSpec.spec.securityContext of type v1.PodSecurityContext",
        ),
        (
            r#"{"containers":[{"resources":{"limits":{"cpu":"abc"}}}]}"#,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ] {
        assert_eq!(refusal(spec), wanted, "{spec}");
    }
}

#[test]
fn quantities_and_moments_have_one_form() {
    let text = r#"{"metadata":{"creationTimestamp":"2026-01-01T01:00:00+01:00"},
        "spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":0.5,"memory":"1024Mi"}}}]}}"#;
    let object = decode("pods", text).unwrap().object;
    assert_eq!(object["metadata"]["creationTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(
        object["spec"]["containers"][0]["resources"]["limits"],
        json!({"cpu": "500m", "memory": "1Gi"})
    );
}

#[test]
fn empty_fields_are_left_out_and_some_are_always_written() {
    let text = r#"{"metadata":{"name":"a","labels":{},"annotations":null},
        "spec":{"hostNetwork":false,"hostUsers":false,"nodeName":"","tolerations":[],"containers":[{"name":"c","env":null}],
                "volumes":[{"name":"v","emptyDir":{}}]},
        "status":{"conditions":[{"type":"x","status":"True"}]}}"#;
    let formed = |kind: &str, text: &str| {
        let mut object: Value = serde_json::from_str(text).unwrap();
        form::object(schema::builtin("", "v1", kind).unwrap(), &mut object);
        object
    };
    let object = formed("Pod", text);
    let wanted = json!({
        "metadata": {"name": "a"},
        "spec": {"hostUsers": false, "containers": [{"name": "c", "resources": {}}], "volumes": [{"name": "v", "emptyDir": {}}]},
        "status": {"conditions": [{"type": "x", "status": "True", "lastProbeTime": null, "lastTransitionTime": null}]},
    });
    assert_eq!(object, wanted);
    let service = formed("Service", r#"{"spec":{"ports":[{"port":80}]}}"#);
    let wanted = json!({"metadata": {}, "spec": {"ports": [{"port": 80, "targetPort": 0}]}, "status": {"loadBalancer": {}}});
    assert_eq!(service, wanted);
}

#[test]
fn text_that_is_no_json_is_shown() {
    let wanted = "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)";
    assert_eq!(decode("pods", "").unwrap_err().message, wanted);
    assert_eq!(decode("pods", "{\"a\":1} x").unwrap_err().code, 400);
}

#[test]
fn what_is_left_out_is_filled_in_wherever_its_type_occurs() {
    let text = r#"{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"a:1"}]}}}}"#;
    let kinds = Registry::default().snapshot();
    let deployments = kinds.find("apps", "v1", "deployments").unwrap();
    let spec = super::text(deployments, text.as_bytes()).unwrap().object["spec"].take();
    assert_eq!(
        (&spec["replicas"], &spec["strategy"]["rollingUpdate"]["maxSurge"]),
        (&json!(1), &json!("25%"))
    );
    let pod = &spec["template"]["spec"];
    assert_eq!(
        (&pod["dnsPolicy"], &pod["containers"][0]["imagePullPolicy"]),
        (&json!("ClusterFirst"), &json!("IfNotPresent"))
    );
}
