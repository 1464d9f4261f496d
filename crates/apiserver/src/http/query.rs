//! Query parameters that the verbs know, checked.

use std::time::Duration;

use crate::api::{ListOptions, WatchOptions};
use crate::resource::Resource;
use crate::selector::{FieldSelector, LabelSelector, Selector};
use crate::status::Status;

/// Time after which a watch ends if the client names none; the real server's lower bound.
const WATCH_TIMEOUT: Duration = Duration::from_secs(1800);

/// The query of one request.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    pub(super) fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(k, _)| k == key).map_or("", |(_, value)| value)
    }

    /// All values of a parameter that may be repeated.
    pub(super) fn all(&self, key: &str) -> Vec<&str> {
        self.0.iter().filter(|(k, _)| k == key).map(|(_, value)| value.as_str()).collect()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.has(key) && !["false", "0"].contains(&self.get(key))
    }

    pub(super) fn number<N: std::str::FromStr>(&self, key: &str) -> Result<Option<N>, Status> {
        let text = self.get(key);
        if text.is_empty() {
            return Ok(None);
        }
        let bad =
            |_| Status::bad_request(format!("the query parameter {key}={text:?} is not a valid number"));
        text.parse().map(Some).map_err(bad)
    }

    pub(super) fn is_watch(&self) -> bool {
        self.flag("watch")
    }

    fn selector(&self, resource: &Resource) -> Result<Selector, Status> {
        let labels = LabelSelector::parse(self.get("labelSelector")).map_err(Status::bad_request)?;
        let fields = FieldSelector::parse(self.get("fieldSelector")).map_err(Status::bad_request)?;
        if let Some(label) = fields.paths().find(|label| !resource.knows_field(label)) {
            return Err(Status::bad_request(format!("field label not supported: {label}")));
        }
        Ok(Selector { labels, fields })
    }

    pub(super) fn list(&self, resource: &Resource) -> Result<ListOptions, Status> {
        Ok(ListOptions {
            selector: self.selector(resource)?,
            limit: self.number("limit")?.unwrap_or(0),
            continue_token: self.get("continue").into(),
        })
    }

    pub(super) fn watch(&self, resource: &Resource) -> Result<WatchOptions, Status> {
        let seconds: Option<u64> = self.number("timeoutSeconds")?;
        Ok(WatchOptions {
            selector: self.selector(resource)?,
            since: self.number("resourceVersion")?.filter(|revision| *revision > 0),
            send_initial_events: self.flag("sendInitialEvents"),
            bookmarks: self.flag("allowWatchBookmarks"),
            timeout: seconds
                .filter(|s| *s > 0)
                .map_or(WATCH_TIMEOUT, |s| Duration::from_secs(s).min(WATCH_TIMEOUT)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Registry;

    fn list(query: &str) -> Result<ListOptions, Status> {
        let kinds = Registry::default().snapshot();
        Query::parse(Some(query)).list(kinds.find("", "v1", "pods").unwrap())
    }

    #[test]
    fn selectors_are_checked_against_the_kind() {
        assert!(list("fieldSelector=spec.nodeName%3Dn1&labelSelector=a+in+(b)").is_ok());
        assert_eq!(
            list("fieldSelector=spec.volumes%3Dx").unwrap_err().message,
            "field label not supported: spec.volumes"
        );
        assert_eq!(list("labelSelector=a+b").unwrap_err().code, 400);
        assert_eq!(list("limit=x").unwrap_err().code, 400);
    }

    #[test]
    fn revision_zero_means_from_what_is_there() {
        let kinds = Registry::default().snapshot();
        let pods = kinds.find("", "v1", "pods").unwrap();
        let since = |query: &str| Query::parse(Some(query)).watch(pods).unwrap().since;
        assert_eq!(
            (since("resourceVersion=0"), since(""), since("resourceVersion=7")),
            (None, None, Some(7))
        );
    }
}
