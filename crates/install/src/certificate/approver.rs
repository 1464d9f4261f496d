//! `cert-approver` (spec/multus.md 14.4): grants nodes their certificates, and nothing else.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::PostParams;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::watcher::{self, Event as Watched, watcher};
use kube::{Api, Client, Resource as _};
use polynic_runtime::Shutdown;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use crate::certificate::{PREFIX, SIGNER};

/// How often a decision is tried to be written.
const TRIES: usize = 5;
/// The longest time that a certificate may be good.
const LONGEST_SECONDS: i32 = 365 * 24 * 3600;

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is none of ours, or somebody has decided.
    Ignore,
    /// It is a node's.
    Approve,
    /// It claims to be a node's, and is not.
    Deny(String),
}

/// Judges a request.
pub fn judge(request: &CertificateSigningRequest) -> Judgement {
    let spec = &request.spec;
    let decided =
        request.status.as_ref().and_then(|status| status.conditions.as_ref()).is_some_and(|c| !c.is_empty());
    if decided || spec.signer_name != SIGNER {
        return Judgement::Ignore;
    }
    let Some(subject) = Subject::read(&spec.request.0) else { return Judgement::Ignore };
    if !subject.name.starts_with(PREFIX) {
        return Judgement::Ignore;
    }
    match objection(request, &subject) {
        Some(why) => Judgement::Deny(why),
        None => Judgement::Approve,
    }
}

/// The first thing that is wrong.
fn objection(request: &CertificateSigningRequest, subject: &Subject) -> Option<String> {
    let spec = &request.spec;
    let user = spec.username.as_deref().unwrap_or_default();
    let node = ["system:node:", "system:multus:"].iter().find_map(|prefix| user.strip_prefix(prefix));
    let Some(node) = node.filter(|node| is_subdomain(node)) else {
        return Some(format!("the requester {user:?} is no node"));
    };
    let usages: BTreeSet<&str> = spec.usages.iter().flatten().map(String::as_str).collect();
    if usages != BTreeSet::from(["digital signature", "client auth"]) {
        return Some(format!("the usages are not digital signature and client auth: {usages:?}"));
    }
    let known = ["system:nodes", "system:multus", "system:authenticated"];
    if let Some(group) = spec.groups.iter().flatten().find(|group| !known.contains(&group.as_str())) {
        return Some(format!("the requester is in the group {group:?}"));
    }
    if subject.name != format!("{PREFIX}:{node}") {
        return Some(format!("the common name {:?} is not that of the node {node:?}", subject.name));
    }
    if subject.organizations != [PREFIX] {
        return Some(format!("the organization is not {PREFIX}: {:?}", subject.organizations));
    }
    match spec.expiration_seconds {
        Some(seconds) if seconds <= LONGEST_SECONDS => None,
        seconds => Some(format!("the expiration of {seconds:?} seconds is not at most {LONGEST_SECONDS}")),
    }
}

/// Whom a request is for.
struct Subject {
    name: String,
    organizations: Vec<String>,
}

impl Subject {
    /// `None` for what is no request.
    fn read(pem: &[u8]) -> Option<Self> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
        let (_, request) = X509CertificationRequest::from_der(&pem.contents).ok()?;
        let subject = &request.certification_request_info.subject;
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let organizations = subject.iter_organization().map(|o| o.as_str().map(str::to_owned));
        Some(Self { name, organizations: organizations.collect::<Result<_, _>>().ok()? })
    }
}

/// A DNS-1123 subdomain, as names of nodes are.
fn is_subdomain(name: &str) -> bool {
    let is_word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        bytes.iter().all(|c| is_word(*c) || *c == b'-')
            && ends.iter().all(|end| end.is_some_and(|c| is_word(*c)))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Decides about requests until the shutdown.
pub async fn run(client: Client, shutdown: Shutdown) {
    let reporter = Reporter { controller: "cert-approver".to_owned(), instance: None };
    let recorder = Recorder::new(client.clone(), reporter);
    let api: Api<CertificateSigningRequest> = Api::all(client);
    let mut requests = watcher(api.clone(), watcher::Config::default()).boxed();
    while let Some(Some(seen)) = shutdown.unless(requests.next()).await {
        match seen {
            Ok(Watched::Apply(request) | Watched::InitApply(request)) => {
                decide(&api, &recorder, request).await
            }
            Ok(_) => {}
            // The watcher begins anew by itself.
            Err(why) => tracing::warn!(%why, "certificate requests cannot be watched"),
        }
    }
}

async fn decide(
    api: &Api<CertificateSigningRequest>,
    recorder: &Recorder,
    mut request: CertificateSigningRequest,
) {
    let name = request.metadata.name.clone().unwrap_or_default();
    for _ in 0..TRIES {
        let condition = match judge(&request) {
            Judgement::Ignore => return,
            Judgement::Approve => {
                condition("Approved", "AutoApproved", "a node's request for its own certificate")
            }
            Judgement::Deny(why) => condition("Denied", "CSRDenied", &why),
        };
        let event = event(&condition);
        request.status.get_or_insert_default().conditions.get_or_insert_default().push(condition);
        match api.replace_subresource("approval", &name, &PostParams::default(), &request).await {
            Ok(_) => {
                if let Err(why) = recorder.publish(&event, &request.object_ref(&())).await {
                    tracing::debug!(%why, "an Event was not written");
                }
                return;
            }
            Err(why) => tracing::warn!(name, %why, "a decision was not written"),
        }
        match api.get(&name).await {
            Ok(now) => request = now,
            Err(why) => return tracing::warn!(name, %why, "a certificate request cannot be read"),
        }
    }
}

fn condition(type_: &str, reason: &str, message: &str) -> CertificateSigningRequestCondition {
    CertificateSigningRequestCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(Timestamp::now())),
        ..CertificateSigningRequestCondition::default()
    }
}

fn event(condition: &CertificateSigningRequestCondition) -> Event {
    let approved = condition.type_ == "Approved";
    tracing::info!(
        decision = condition.type_,
        why = condition.message,
        "decided about a certificate request"
    );
    Event {
        type_: if approved { EventType::Normal } else { EventType::Warning },
        reason: if approved { "CSRApproved" } else { "CSRDenied" }.to_owned(),
        note: condition.message.clone(),
        action: "Approve".to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Identity;
    use std::time::Duration;

    /// A node's request as the API server completes it.
    fn good() -> CertificateSigningRequest {
        let mut request = Identity::new("worker-1.example").unwrap().object(Duration::from_secs(600));
        request.spec.username = Some("system:node:worker-1.example".to_owned());
        request.spec.groups = Some(vec!["system:nodes".to_owned(), "system:authenticated".to_owned()]);
        request
    }

    fn judged(change: impl FnOnce(&mut CertificateSigningRequest)) -> Judgement {
        let mut request = good();
        change(&mut request);
        judge(&request)
    }

    #[test]
    fn a_node_gets_its_certificate_and_renews_it_with_the_last_one() {
        assert_eq!(judged(|_| {}), Judgement::Approve);
        let renewed = judged(|r| {
            r.spec.username = Some("system:multus:worker-1.example".to_owned());
            r.spec.groups = Some(vec!["system:multus".to_owned(), "system:authenticated".to_owned()]);
        });
        assert_eq!(renewed, Judgement::Approve);
    }

    #[test]
    fn whatever_differs_is_denied_with_the_reason() {
        type Change = fn(&mut CertificateSigningRequest);
        let cases: [(Change, &str); 9] = [
            (|r| r.spec.username = Some("system:node:other".into()), "is not that of the node \"other\""),
            (|r| r.spec.username = Some("admin".into()), "\"admin\" is no node"),
            (|r| r.spec.username = Some("system:node:Bad_Name".into()), "is no node"),
            (|r| r.spec.usages = Some(vec!["client auth".into()]), "usages"),
            (|r| r.spec.usages.as_mut().unwrap().push("server auth".into()), "usages"),
            (|r| r.spec.groups.as_mut().unwrap().push("system:masters".into()), "system:masters"),
            (|r| r.spec.expiration_seconds = None, "expiration"),
            (|r| r.spec.expiration_seconds = Some(LONGEST_SECONDS + 1), "expiration"),
            (
                |r| r.spec.request = Identity::new("worker-2").unwrap().object(Duration::ZERO).spec.request,
                "common name",
            ),
        ];
        for (change, wanted) in cases {
            let Judgement::Deny(why) = judged(change) else { panic!("not denied: {wanted}") };
            assert!(why.contains(wanted), "{why}");
        }
    }

    #[test]
    fn what_is_not_ours_or_decided_is_left_alone() {
        assert_eq!(
            judged(|r| r.spec.signer_name = "kubernetes.io/kubelet-serving".into()),
            Judgement::Ignore
        );
        assert_eq!(judged(|r| r.spec.request.0 = b"nonsense".to_vec()), Judgement::Ignore);
        let decided = judged(|r| {
            let conditions = Some(vec![condition("Denied", "", "")]);
            r.status.get_or_insert_default().conditions = conditions;
        });
        assert_eq!(decided, Judgement::Ignore);
    }
}
