//! Runs cases against a server: some at a time, each in a namespace of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::Target;
use super::case::{Case, Step};
use super::client::{Client, Credentials};
use super::normal::Normal;

/// Cases that run at the same time.
const AT_ONCE: usize = 8;

/// Time that a server is given for what a step waits for, and the time between two tries.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// The normalised answers to a case's steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript(pub Vec<Answer>);

/// One normalised answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub code: u16,
    /// Warning headers.
    pub warnings: Vec<String>,
    /// The body; events of a watch as a list.
    pub body: Value,
}

/// The transcripts of all cases, in their order.
pub async fn all(target: &Target, cases: &[Case]) -> Vec<Transcript> {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let runs = cases.iter().map(|case| {
        let gate = Arc::clone(&gate);
        async move {
            let _turn = gate.acquire().await.unwrap();
            one(target, case).await
        }
    });
    futures::future::join_all(runs).await
}

async fn one(target: &Target, case: &Case) -> Transcript {
    let mut client = connect(target).await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": case.id()}});
    client.post("/api/v1/namespaces", namespace).await.expect(201);
    let mut raw: Vec<Value> = Vec::new();
    let mut answers = Vec::new();
    let mut normal = Normal::default();
    for step in &case.steps {
        let (code, warnings, body) = settled(target, case, step, &raw).await;
        let body = without_hooks(&body, target);
        let kept = keep(&normal.body(&body), &step.keep);
        answers.push(Answer { code, warnings: normal.texts(warnings), body: kept });
        raw.push(body);
    }
    Transcript(answers)
}

async fn connect(target: &Target) -> Client {
    let credentials =
        Credentials { ca: target.credentials.ca.clone(), token: target.credentials.token.clone() };
    Client::connect(target.addr, &credentials).await.unwrap()
}

/// The address of the webhooks is another in each run.
fn without_hooks(body: &Value, target: &Target) -> Value {
    let text = body.to_string().replace(&target.hooks.url(""), "https://hooks");
    serde_json::from_str(&text).unwrap()
}

/// Performs the step; again and again where it waits for a status.
async fn settled(target: &Target, case: &Case, step: &Step, before: &[Value]) -> (u16, Vec<String>, Value) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = perform(target, case, step, before).await;
        if step.until.is_none_or(|code| code == answer.0) || Instant::now() > deadline {
            return answer;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A connection for each step: a watch uses one up, and a refused body closes one.
async fn perform(target: &Target, case: &Case, step: &Step, before: &[Value]) -> (u16, Vec<String>, Value) {
    let mut client = connect(target).await;
    if let Some(token) = &step.token {
        client.token = fill(token, (target, case), before);
    }
    let (method, path) = step.request.split_once(' ').expect("METHOD /path");
    let path = fill(path, (target, case), before);
    let headers = headers(step, |text| fill(text, (target, case), before));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let body = match (&step.raw, &step.body) {
        (Some(raw), _) => fill(raw, (target, case), before),
        (None, Some(body)) => fill(&body.to_string(), (target, case), before),
        (None, None) => String::new(),
    };
    let response = client.send(method, &path, &headers, body).await.unwrap();
    let code = response.status().as_u16();
    let warnings = response.headers().get_all("warning").iter();
    let warnings = warnings.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    if let Some(events) = step.watch.filter(|_| code == 200) {
        let mut stream = super::client::Events::of(response.into_body(), client);
        let mut seen = Vec::new();
        while seen.len() < events {
            let Some(event) = stream.next().await else { break };
            seen.push(event);
        }
        return (code, warnings, Value::Array(seen));
    }
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&text).unwrap_or_else(|_| json!(String::from_utf8_lossy(&text)));
    (code, warnings, body)
}

fn headers(step: &Step, fill: impl Fn(&str) -> String) -> Vec<(String, String)> {
    let content_type = match step.content_type.as_deref() {
        None => "application/json",
        Some("merge") => "application/merge-patch+json",
        Some("json") => "application/json-patch+json",
        Some("strategic") => "application/strategic-merge-patch+json",
        Some("apply") => "application/apply-patch+yaml",
        Some(other) => other,
    };
    let mut headers = vec![("user-agent".to_owned(), "conformance/1".to_owned())];
    if step.body.is_some() || step.raw.is_some() {
        headers.push(("content-type".to_owned(), content_type.to_owned()));
    }
    let accept = match step.accept.as_deref() {
        Some("table") => Some("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
        other => other,
    };
    headers.extend(accept.map(|value| ("accept".to_owned(), value.to_owned())));
    headers.extend(step.headers.iter().map(|(name, value)| (name.clone(), fill(value))));
    headers
}

/// Replaces `{ns}`, `{id}`, `{hooks}`, `{ca}` and `{N.field.field}`; other braces stay.
fn fill(text: &str, of: (&Target, &Case), before: &[Value]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        out.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let value = after.find('}').and_then(|end| Some((value(&after[..end], of, before)?, end)));
        match value {
            Some((value, end)) => {
                out.push_str(&value);
                rest = &after[end + 1..];
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out + rest
}

fn value(name: &str, (target, case): (&Target, &Case), before: &[Value]) -> Option<String> {
    match name {
        "ns" | "id" => return Some(case.id()),
        "hooks" => return Some(target.hooks.url("")),
        "ca" => return Some(target.hooks.ca_bundle()),
        _ => {}
    }
    let (step, path) = name.split_once('.')?;
    let body = before.get(step.parse::<usize>().ok()?.checked_sub(1)?)?;
    match at(body, path)? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn at<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(body, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    })
}

fn keep(body: &Value, paths: &[String]) -> Value {
    if paths.is_empty() {
        return body.clone();
    }
    paths.iter().map(|path| (path.clone(), at(body, path).cloned().unwrap_or(Value::Null))).collect()
}
