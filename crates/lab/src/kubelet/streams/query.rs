//! The query of a request.

/// Keys and values in their order, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of an URI behind the question mark.
    pub fn parse(text: &str) -> Query {
        let pairs = form_urlencoded::parse(text.as_bytes());
        Query(pairs.map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// All values of a key.
    pub fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == key).map(|(_, value)| value.clone()).collect()
    }

    /// Whether a switch is on.
    pub fn is_set(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| ["true", "1"].contains(&value))
    }

    /// A number.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.get(key)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_may_come_several_times() {
        let query = Query::parse("command=ip&command=a+b&stdin=true&tailLines=3&x=%2F");
        assert_eq!(query.all("command"), ["ip", "a b"]);
        assert!(query.is_set("stdin") && !query.is_set("tty"));
        assert_eq!((query.number("tailLines"), query.get("x")), (Some(3), Some("/")));
    }
}
