//! Query parameters.

use crate::status::Status;

/// The query of one request.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    pub(super) fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(k, _)| k == key).map_or("", |(_, value)| value)
    }

    /// Makes `value` the only value of `key`.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.0.retain(|(k, _)| k != key);
        self.0.push((key.to_owned(), value.to_owned()));
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
        let bad = |_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
        text.parse().map(Some).map_err(bad)
    }

    pub(super) fn is_watch(&self) -> bool {
        self.flag("watch")
    }
}
