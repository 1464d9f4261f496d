//! What containers may say.

use serde_json::{Value, json};

use super::super::{NameRule, fields};
use super::resources;
use crate::json::{at, integer, items, text};
use crate::status::Cause;

const POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const MESSAGE_POLICIES: [&str; 2] = ["File", "FallbackToLogsOnError"];
const HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
const ENV_SOURCE: &str =
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
/// Fields of a pod that environment variables may take their value from.
const POD_FIELDS: [&str; 10] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
    "metadata.annotations",
];

/// Everything that is wrong with the containers of `spec`.
pub(super) fn all(spec: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if items(spec, "containers").is_empty() {
        causes.push(Cause::required(format!("{field}.containers"), ""));
    }
    let mut names: Vec<&str> = Vec::new();
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (c, container) in items(spec, list).iter().enumerate() {
            let place = Place { spec, field: format!("{field}.{list}[{c}]") };
            causes.extend(place.causes(container, &names));
            names.push(text(container, "name"));
        }
    }
    causes
}

struct Place<'s> {
    spec: &'s Value,
    field: String,
}

impl Place<'_> {
    fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.field)
    }

    fn causes(&self, container: &Value, names: &[&str]) -> Vec<Cause> {
        let name = text(container, "name");
        let mut causes = Vec::new();
        causes.extend(fields::name(&self.at("name"), name, NameRule::Label));
        if !name.is_empty() && names.contains(&name) {
            causes.push(Cause::duplicate(self.at("name"), &json!(name)));
        }
        causes.extend(self.image(container));
        let policy = text(container, "terminationMessagePolicy");
        causes.extend(fields::one_of(&self.at("terminationMessagePolicy"), policy, &MESSAGE_POLICIES));
        causes.extend(self.ports(container));
        causes.extend(self.environment(container));
        causes.extend(self.mounts(container));
        causes.extend(fields::one_of(
            &self.at("imagePullPolicy"),
            text(container, "imagePullPolicy"),
            &POLICIES,
        ));
        causes.extend(resources::causes(&container["resources"], &self.at("resources")));
        for hook in ["postStart", "preStop"] {
            let handler = at(container, &format!("lifecycle.{hook}"));
            causes.extend(
                handler.into_iter().flat_map(|h| handler_causes(h, &self.at(&format!("lifecycle.{hook}")))),
            );
        }
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            causes.extend(
                at(container, probe).into_iter().flat_map(|p| probe_causes(p, &self.at(probe), probe)),
            );
        }
        causes
    }

    fn image(&self, container: &Value) -> Option<Cause> {
        let image = text(container, "image");
        if image.is_empty() {
            return Some(Cause::required(self.at("image"), ""));
        }
        let padded = image.trim() != image;
        padded
            .then(|| Cause::invalid(self.at("image"), image, "must not have leading or trailing whitespace"))
    }

    fn ports(&self, container: &Value) -> Vec<Cause> {
        let ports = items(container, "ports");
        let mut causes = Vec::new();
        for (p, port) in ports.iter().enumerate() {
            let field = self.at(&format!("ports[{p}]"));
            let name = text(port, "name");
            if !name.is_empty() {
                if let Some(cause) = fields::port_name(&format!("{field}.name"), name) {
                    causes.push(cause);
                } else if ports[..p].iter().any(|other| text(other, "name") == name) {
                    causes.push(Cause::duplicate(format!("{field}.name"), &json!(name)));
                }
            }
            match integer(port, "containerPort").unwrap_or(0) {
                0 => causes.push(Cause::required(format!("{field}.containerPort"), "")),
                _ => causes.extend(fields::port(&format!("{field}.containerPort"), &port["containerPort"])),
            }
            causes.extend(self.host_port(port, &field));
            let protocols = ["SCTP", "TCP", "UDP"];
            causes.extend(fields::one_of(&format!("{field}.protocol"), text(port, "protocol"), &protocols));
        }
        causes
    }

    fn host_port(&self, port: &Value, field: &str) -> Option<Cause> {
        let host = at(port, "hostPort").filter(|host| **host != 0)?;
        let field = format!("{field}.hostPort");
        if let Some(cause) = fields::port(&field, host) {
            return Some(cause);
        }
        let differs = self.spec["hostNetwork"] == true && *host != port["containerPort"];
        let detail = "must match `containerPort` when `hostNetwork` is true";
        differs.then(|| Cause::invalid_value(field, host, detail))
    }

    fn environment(&self, container: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        for (e, variable) in items(container, "env").iter().enumerate() {
            let field = self.at(&format!("env[{e}]"));
            let name = text(variable, "name");
            let printable = name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
            if name.is_empty() {
                causes.push(Cause::required(format!("{field}.name"), ""));
            } else if !printable {
                causes.push(Cause::invalid(format!("{field}.name"), name, ENV_NAME));
            }
            if let Some(source) = at(variable, "valueFrom") {
                causes.extend(source_cause(variable, source, &format!("{field}.valueFrom")));
            }
        }
        causes
    }

    fn mounts(&self, container: &Value) -> Vec<Cause> {
        let mounts = items(container, "volumeMounts");
        let mut causes = Vec::new();
        for (m, mount) in mounts.iter().enumerate() {
            let field = self.at(&format!("volumeMounts[{m}]"));
            let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
            if name.is_empty() {
                causes.push(Cause::required(format!("{field}.name"), ""));
            } else if !items(self.spec, "volumes").iter().any(|volume| text(volume, "name") == name) {
                let message = format!("Not found: {name:?}");
                causes.push(Cause { field: format!("{field}.name"), reason: "FieldValueNotFound", message });
            }
            if path.is_empty() {
                causes.push(Cause::required(format!("{field}.mountPath"), ""));
            } else if mounts[..m].iter().any(|other| text(other, "mountPath") == path) {
                causes.push(Cause::invalid(format!("{field}.mountPath"), path, "must be unique"));
            }
        }
        causes
    }
}

fn source_cause(variable: &Value, source: &Value, field: &str) -> Option<Cause> {
    let sources = source.as_object().map_or(0, serde_json::Map::len);
    if sources == 0 {
        return Some(Cause::invalid(field, "", ENV_SOURCE));
    }
    if !text(variable, "value").is_empty() {
        return Some(Cause::invalid(field, "", "may not be specified when `value` is not empty"));
    }
    if sources > 1 {
        return Some(Cause::invalid(field, "", "may not have more than one field specified at a time"));
    }
    let path = text(source, "fieldRef.fieldPath");
    let subscript = path.starts_with("metadata.labels['") || path.starts_with("metadata.annotations['");
    if at(source, "fieldRef").is_none() || subscript || POD_FIELDS.contains(&path) {
        return None;
    }
    if path.is_empty() {
        return Some(Cause::required(format!("{field}.fieldRef.fieldPath"), ""));
    }
    let detail = format!("error converting fieldPath: field label not supported: {path}");
    Some(Cause::invalid(format!("{field}.fieldRef.fieldPath"), path, &detail))
}

/// A handler of a probe or a hook: exactly one kind, with what it needs.
fn handler_causes(handler: &Value, field: &str) -> Vec<Cause> {
    let kinds: Vec<&str> = HANDLERS.into_iter().filter(|kind| at(handler, kind).is_some()).collect();
    let mut causes = Vec::new();
    for (k, kind) in kinds.iter().enumerate() {
        let field = format!("{field}.{kind}");
        if k > 0 {
            causes.push(Cause::forbidden(field, "may not specify more than 1 handler type"));
            continue;
        }
        let handler = &handler[*kind];
        match *kind {
            "exec" if items(handler, "command").is_empty() => {
                causes.push(Cause::required(format!("{field}.command"), ""));
            }
            "httpGet" | "tcpSocket" => {
                causes.extend(fields::port_or_name(&format!("{field}.port"), &handler["port"]))
            }
            "grpc" => causes.extend(fields::port(&format!("{field}.port"), &handler["port"])),
            _ => {}
        }
    }
    if kinds.is_empty() && at(handler, "sleep").is_none() {
        causes.push(Cause::required(field, "must specify a handler type"));
    }
    causes
}

fn probe_causes(probe: &Value, field: &str, which: &str) -> Vec<Cause> {
    let mut causes = handler_causes(probe, field);
    let numbers =
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
    for number in numbers {
        causes.extend(fields::not_negative(probe, number, &format!("{field}.{number}")));
    }
    let threshold = integer(probe, "successThreshold").unwrap_or(1);
    if which != "readinessProbe" && threshold != 1 {
        causes.push(Cause::invalid_value(
            format!("{field}.successThreshold"),
            &json!(threshold),
            "must be 1",
        ));
    }
    causes
}
