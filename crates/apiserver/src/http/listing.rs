//! The options of lists and watches, checked as the real server checks them.

use std::time::Duration;

use super::query::Query;
use crate::api::{Initial, ListOptions, Revision, WatchOptions};
use crate::resource::Resource;
use crate::selector::{FieldSelector, LabelSelector, Selector};
use crate::status::{Cause, Status, Subject};

/// Time after which a watch ends if the client names none; the real server's lower bound.
const WATCH_TIMEOUT: Duration = Duration::from_secs(1800);
const MATCH: &str = "resourceVersionMatch";

/// The options of a list.
pub(super) fn list(query: &Query, resource: &Resource) -> Result<ListOptions, Status> {
    let limit: i64 = query.number("limit")?.unwrap_or(0);
    let selector = selector(query, resource)?;
    refuse(list_causes(query))?;
    let revision =
        revision(query).map_err(|why| Status::bad_request(format!("invalid resource version: {why}")))?;
    let continue_token = query.get("continue");
    if !continue_token.is_empty() && revision.unwrap_or(0) > 0 {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    let revision = match (query.get(MATCH), revision) {
        (_, None | Some(0)) => Revision::Now,
        ("Exact", Some(revision)) => Revision::Exact(revision),
        ("", Some(revision)) if limit > 0 => Revision::Exact(revision),
        (_, Some(revision)) => Revision::NotOlderThan(revision),
    };
    Ok(ListOptions {
        selector,
        limit: usize::try_from(limit).unwrap_or(0),
        continue_token: continue_token.into(),
        revision,
    })
}

/// The options of a watch.
pub(super) fn watch(query: &Query, resource: &Resource) -> Result<WatchOptions, Status> {
    let seconds: Option<i64> = query.number("timeoutSeconds")?;
    let selector = selector(query, resource)?;
    refuse(watch_causes(query))?;
    let revision = revision(query).map_err(|why| Status::new(500, "", why))?.filter(|revision| *revision > 0);
    let initial = match (query.has("sendInitialEvents"), query.flag("sendInitialEvents"), revision) {
        (true, true, _) => Initial::Marked,
        (true, false, None) => Initial::Nothing,
        (false, _, None) => Initial::Objects,
        (_, _, Some(revision)) => Initial::Since(revision),
    };
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    Ok(WatchOptions {
        selector,
        initial,
        bookmarks: query.flag("allowWatchBookmarks"),
        timeout: seconds.map_or(WATCH_TIMEOUT, |s| Duration::from_secs(s).min(WATCH_TIMEOUT)),
    })
}

fn selector(query: &Query, resource: &Resource) -> Result<Selector, Status> {
    let labels = LabelSelector::parse(query.get("labelSelector")).map_err(Status::bad_request)?;
    let fields = FieldSelector::parse(query.get("fieldSelector")).map_err(Status::bad_request)?;
    if let Some(label) = fields.paths().find(|label| !resource.knows_field(label)) {
        return Err(Status::bad_request(unknown_field(resource, label)));
    }
    Ok(Selector { labels, fields })
}

/// Kinds without field labels of their own are answered for by what all kinds share.
fn unknown_field(resource: &Resource, label: &str) -> String {
    if resource.custom || !resource.field_labels.is_empty() {
        return format!("field label not supported: {label}");
    }
    format!("{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
}

/// The revision that the query names; the error is the real server's.
pub(super) fn revision(query: &Query) -> Result<Option<u64>, String> {
    let text = query.get("resourceVersion");
    if text.is_empty() {
        return Ok(None);
    }
    let bad = |_| {
        format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        )
    };
    text.parse().map(Some).map_err(bad)
}

fn refuse(causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() {
        return Ok(());
    }
    let subject = Subject { group: "meta.k8s.io".into(), kind: "ListOptions".into(), name: String::new() };
    Err(Status::invalid(subject, causes))
}

fn unsupported(value: &str, supported: &str) -> Cause {
    let message = format!("Unsupported value: {value:?}: supported values: {supported}");
    Cause { field: MATCH.into(), reason: "FieldValueNotSupported", message }
}

const WITH_CONTINUE: &str = "resourceVersionMatch is forbidden when continue is provided";

fn list_causes(query: &Query) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (wanted, revision) = (query.get(MATCH), query.get("resourceVersion"));
    if !wanted.is_empty() {
        if revision.is_empty() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            causes.push(Cause::forbidden(MATCH, why));
        }
        if !query.get("continue").is_empty() {
            causes.push(Cause::forbidden(MATCH, WITH_CONTINUE));
        }
        if !["Exact", "NotOlderThan"].contains(&wanted) {
            causes.push(unsupported(wanted, "\"Exact\", \"NotOlderThan\", \"\""));
        }
        if wanted == "Exact" && revision == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(Cause::forbidden(MATCH, why));
        }
    }
    if query.has("sendInitialEvents") {
        causes.push(Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    causes
}

fn watch_causes(query: &Query) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (wanted, sends) = (query.get(MATCH), query.has("sendInitialEvents"));
    if sends && wanted != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        causes.push(Cause::forbidden(MATCH, why));
    }
    if wanted.is_empty() {
        return causes;
    }
    if !sends {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        causes.push(Cause::forbidden(MATCH, why));
    }
    if wanted != "NotOlderThan" {
        causes.push(unsupported(wanted, "\"NotOlderThan\""));
    }
    if !query.get("continue").is_empty() {
        causes.push(Cause::forbidden(MATCH, WITH_CONTINUE));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Registry;

    fn pods<T>(act: impl FnOnce(&Query, &Resource) -> T, query: &str) -> T {
        let kinds = Registry::default().snapshot();
        act(&Query::parse(Some(query)), kinds.find("", "v1", "pods").unwrap())
    }

    #[test]
    fn selectors_are_checked_against_the_kind() {
        assert!(pods(list, "fieldSelector=spec.nodeName%3Dn1&labelSelector=a+in+(b)").is_ok());
        let wrong = pods(list, "fieldSelector=spec.volumes%3Dx").unwrap_err();
        assert_eq!(wrong.message, "field label not supported: spec.volumes");
        assert_eq!(pods(list, "labelSelector=a+b").unwrap_err().code, 400);
        assert_eq!(pods(list, "limit=x").unwrap_err().code, 400);
    }

    #[test]
    fn a_revision_is_exact_if_said_or_with_a_limit() {
        let revision = |query: &str| pods(list, query).unwrap().revision;
        assert_eq!(revision(""), Revision::Now);
        assert_eq!(revision("resourceVersion=0"), Revision::Now);
        assert_eq!(revision("resourceVersion=7"), Revision::NotOlderThan(7));
        assert_eq!(revision("resourceVersion=7&limit=5"), Revision::Exact(7));
        assert_eq!(revision("resourceVersion=7&resourceVersionMatch=Exact"), Revision::Exact(7));
        assert_eq!(
            revision("resourceVersion=7&limit=5&resourceVersionMatch=NotOlderThan"),
            Revision::NotOlderThan(7)
        );
    }

    #[test]
    fn a_watch_begins_where_it_is_told() {
        let initial = |query: &str| pods(watch, query).unwrap().initial;
        assert_eq!(initial(""), Initial::Objects);
        assert_eq!(initial("resourceVersion=0"), Initial::Objects);
        assert_eq!(initial("resourceVersion=7"), Initial::Since(7));
        assert_eq!(initial("sendInitialEvents=true&resourceVersionMatch=NotOlderThan"), Initial::Marked);
        assert_eq!(initial("sendInitialEvents=false&resourceVersionMatch=NotOlderThan"), Initial::Nothing);
    }
}
