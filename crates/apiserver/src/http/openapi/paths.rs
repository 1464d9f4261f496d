//! Paths of kinds and what can be done there, in OpenAPI v3. All follow from a kind's names, scope, verbs and what is below it.

use serde_json::{Map, Value, json};

use super::place;
use super::schemas;
use crate::resource::Resource;
use crate::schema::Below;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const BUILTIN_PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
const CUSTOM_PATCHES: [&str; 3] =
    ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];

/// Name and type of query parameters.
type Parameters = &'static [(&'static str, &'static str)];

const WRITE: Parameters = &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const PATCH: Parameters =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
const DELETE: Parameters = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const LIST: Parameters = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];

/// All paths of `resources`.
pub(super) fn of<'r>(resources: impl Iterator<Item = &'r Resource>) -> Map<String, Value> {
    let mut paths = Map::new();
    for resource in resources {
        add(resource, &mut paths);
    }
    paths
}

fn add(resource: &Resource, paths: &mut Map<String, Value>) {
    let base = format!("/{}", place(&resource.group, &resource.version));
    let scope = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
    let collection = format!("{base}/{scope}{}", resource.plural);
    let own = Subject { resource, suffix: "", kind: schemas::name(resource), gvk: gvk(resource) };
    let mut operations = own.collection();
    if !operations.is_empty() {
        operations.insert("parameters".into(), own.path_parameters(&[]));
        paths.insert(collection.clone(), operations.into());
    }
    if !resource.is_stored() {
        return;
    }
    if resource.namespaced {
        let all = json!({"get": own.list("ForAllNamespaces"), "parameters": query(&[("pretty", "string")])});
        paths.insert(format!("{base}/{}", resource.plural), all);
    }
    let item = format!("{collection}/{{name}}");
    let mut operations = own.item(&resource.verbs);
    operations.insert("parameters".into(), own.path_parameters(&["name"]));
    paths.insert(item.clone(), operations.into());
    for below in &resource.below {
        let subject = Subject {
            resource,
            suffix: &below.name,
            kind: schemas::name_below(resource, below),
            gvk: gvk_below(resource, below),
        };
        let mut operations = subject.item(&below.verbs);
        operations.insert("parameters".into(), subject.path_parameters(&["name"]));
        paths.insert(format!("{item}/{}", below.name), operations.into());
    }
}

fn gvk(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

fn gvk_below(resource: &Resource, below: &Below) -> Value {
    let own = (resource.group.clone(), resource.version.clone());
    let (group, version) = below.group_version.clone().unwrap_or(own);
    json!({"group": group, "version": version, "kind": below.kind})
}

/// What operations are about: a kind, or something below its objects.
struct Subject<'r> {
    resource: &'r Resource,
    /// Name of what is below the object; empty for the object itself.
    suffix: &'r str,
    /// Name of the schema; empty if there is none.
    kind: String,
    gvk: Value,
}

impl Subject<'_> {
    fn collection(&self) -> Map<String, Value> {
        let mut operations = Map::new();
        if self.resource.allows("list") {
            operations.insert("get".into(), self.list(""));
        }
        if self.resource.allows("create") {
            operations.insert("post".into(), self.create());
        }
        if self.resource.allows("deletecollection") {
            let mut delete = self.operation("deletecollection", "delete", "Collection");
            delete["parameters"] = query(&[DELETE, LIST].concat());
            delete["responses"] = responses(&["200"], &reference("Status"));
            operations.insert("delete".into(), delete);
        }
        operations
    }

    fn item(&self, verbs: &[String]) -> Map<String, Value> {
        let mut operations = Map::new();
        for verb in verbs {
            let (method, operation) = match verb.as_str() {
                "get" => ("get", self.read()),
                "create" if !self.suffix.is_empty() => ("post", self.create()),
                "update" => ("put", self.replace()),
                "patch" => ("patch", self.patch()),
                "delete" => ("delete", self.delete()),
                _ => continue,
            };
            operations.insert(method.into(), operation);
        }
        operations
    }

    fn list(&self, suffix: &str) -> Value {
        let mut list = self.operation("list", "list", "");
        if !suffix.is_empty() {
            list["operationId"] = json!(format!("list{}{}{suffix}", self.group_name(), self.resource.kind));
        }
        list["parameters"] = query(LIST);
        let kind = schemas::list_name(self.resource);
        list["responses"] = responses(&["200"], &json!({"$ref": format!("{}{kind}", schemas::PREFIX)}));
        list
    }

    fn read(&self) -> Value {
        let mut read = self.operation("get", "read", "");
        read["responses"] = responses(&["200"], &self.schema());
        read
    }

    fn create(&self) -> Value {
        let mut create = self.operation("post", "create", "");
        create["parameters"] = query(WRITE);
        create["requestBody"] = body(&["*/*"], &self.schema());
        create["responses"] = responses(&["200", "201", "202"], &self.schema());
        create
    }

    fn replace(&self) -> Value {
        let mut replace = self.operation("put", "replace", "");
        replace["parameters"] = query(WRITE);
        replace["requestBody"] = body(&["*/*"], &self.schema());
        replace["responses"] = responses(&["200", "201"], &self.schema());
        replace
    }

    fn patch(&self) -> Value {
        let mut patch = self.operation("patch", "patch", "");
        let types: &[&str] = if self.resource.custom { &CUSTOM_PATCHES } else { &BUILTIN_PATCHES };
        patch["parameters"] = query(PATCH);
        patch["requestBody"] = body(types, &reference("Patch"));
        patch["responses"] = responses(&["200", "201"], &self.schema());
        patch
    }

    fn delete(&self) -> Value {
        let mut delete = self.operation("delete", "delete", "");
        delete["parameters"] = query(DELETE);
        let mut options = body(&["*/*"], &reference("DeleteOptions"));
        options["required"] = json!(false);
        delete["requestBody"] = options;
        let answer =
            if self.resource.strategy.answers_with_object() { self.schema() } else { reference("Status") };
        delete["responses"] = responses(&["200", "202"], &answer);
        delete
    }

    fn schema(&self) -> Value {
        if self.kind.is_empty() {
            return json!({"type": "string"});
        }
        json!({"$ref": format!("{}{}", schemas::PREFIX, self.kind)})
    }

    fn operation(&self, action: &str, verb: &str, middle: &str) -> Value {
        let scope = if self.resource.namespaced { "Namespaced" } else { "" };
        let (group, kind) = (self.group_name(), &self.resource.kind);
        let id = format!("{verb}{group}{middle}{scope}{kind}{}", camel(self.suffix));
        json!({
            "operationId": id, "tags": [self.tag()],
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": self.gvk,
        })
    }

    /// `AppsV1`; custom groups keep all of their name.
    fn group_name(&self) -> String {
        format!("{}{}", camel(self.group()), camel(&self.resource.version))
    }

    fn tag(&self) -> String {
        let name = camel(self.group());
        let mut letters = name.chars();
        let first = letters.next().map(|c| c.to_ascii_lowercase()).unwrap_or_default();
        format!("{first}{}_{}", letters.as_str(), self.resource.version)
    }

    fn group(&self) -> &str {
        match self.resource.group.as_str() {
            "" => "core",
            group if self.resource.custom => group,
            group => group.strip_suffix(".k8s.io").unwrap_or(group),
        }
    }

    fn path_parameters(&self, names: &[&str]) -> Value {
        let namespace = if self.resource.namespaced { &["namespace"][..] } else { &[] };
        let in_path = |name: &&str| {
            json!({
                "name": name, "in": "path", "required": true, "description": format!("{name} of the object"),
                "schema": {"type": "string", "uniqueItems": true},
            })
        };
        let mut parameters: Vec<Value> = names.iter().chain(namespace).map(in_path).collect();
        parameters.extend(query(&[("pretty", "string")]).as_array().cloned().unwrap_or_default());
        parameters.into()
    }
}

fn camel(text: &str) -> String {
    let word = |part: &str| {
        let mut letters = part.chars();
        letters.next().map_or(String::new(), |c| format!("{}{}", c.to_ascii_uppercase(), letters.as_str()))
    };
    text.split(['.', '-']).map(word).collect()
}

fn query(parameters: &[(&str, &str)]) -> Value {
    let one = |(name, kind): &(&str, &str)| json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}});
    parameters.iter().map(one).collect()
}

fn reference(kind: &str) -> Value {
    json!({"$ref": format!("{}{META}.{kind}", schemas::PREFIX)})
}

fn body(media_types: &[&str], schema: &Value) -> Value {
    let content: Map<String, Value> =
        media_types.iter().map(|media_type| ((*media_type).into(), json!({"schema": schema}))).collect();
    json!({"content": content, "required": true})
}

fn responses(codes: &[&str], schema: &Value) -> Value {
    let text = |code: &str| match code {
        "201" => "Created",
        "202" => "Accepted",
        _ => "OK",
    };
    let answer = |code: &&str| {
        let content = json!({"application/json": {"schema": schema}});
        ((*code).to_owned(), json!({"description": text(code), "content": content}))
    };
    let mut responses: Map<String, Value> = codes.iter().map(answer).collect();
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    responses.into()
}
