//! What volumes of a pod may say: a name of their own, and one source with what it needs.

use serde_json::{Value, json};

use super::super::{NameRule, fields};
use crate::json::text;
use crate::status::Cause;

/// Sources, and the field that each of them needs.
const NEEDS: [(&str, &str); 6] = [
    ("secret", "secretName"),
    ("configMap", "name"),
    ("hostPath", "path"),
    ("persistentVolumeClaim", "claimName"),
    ("nfs", "server"),
    ("csi", "driver"),
];

pub(super) fn causes(volumes: &[Value], field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (v, volume) in volumes.iter().enumerate() {
        let field = format!("{field}[{v}]");
        let name = text(volume, "name");
        if let Some(cause) = fields::name(&format!("{field}.name"), name, NameRule::Label) {
            causes.push(cause);
        } else if volumes[..v].iter().any(|other| text(other, "name") == name) {
            causes.push(Cause::duplicate(format!("{field}.name"), &json!(name)));
        }
        causes.extend(sources(volume, &field));
    }
    causes
}

fn sources(volume: &Value, field: &str) -> Vec<Cause> {
    let sources = volume.as_object().into_iter().flatten().filter(|(key, _)| *key != "name");
    let mut causes = Vec::new();
    for (s, (kind, source)) in sources.enumerate() {
        let field = format!("{field}.{kind}");
        if s > 0 {
            causes.push(Cause::forbidden(field, "may not specify more than 1 volume type"));
            continue;
        }
        let need = NEEDS.iter().find(|(of, _)| of == kind);
        causes.extend(need.and_then(|(_, key)| fields::present(source, key, &format!("{field}.{key}"))));
    }
    causes
}
