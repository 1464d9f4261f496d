//! Which pod a call is for: `CNI_ARGS`.

use polynic_cni::{Error, args};
use polynic_wire::messages::DETACHED;

const NAMESPACE: &str = "K8S_POD_NAMESPACE";
const NAME: &str = "K8S_POD_NAME";
const UID: &str = "K8S_POD_UID";
const KNOWN: [&str; 4] = [NAMESPACE, NAME, UID, "K8S_POD_INFRA_CONTAINER_ID"];

/// The pod as the runtime names it. Each may be empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pod<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
}

impl<'a> Pod<'a> {
    /// As ADD reads it: the arguments have to be well-formed, and unknown ones have to be told to ignore.
    pub(super) fn strict(text: &'a str) -> Result<Self, Error> {
        let args = args::parse(text, &KNOWN)?;
        let value = |key| args.get(key).unwrap_or_default();
        Ok(Self { namespace: value(NAMESPACE), name: value(NAME), uid: value(UID) })
    }

    /// As DEL reads it: whatever can be found.
    pub(super) fn lenient(text: &'a str) -> Self {
        let value = |key: &str| {
            let mut pairs = text.split(';').rev().filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value).unwrap_or_default()
        };
        Self { namespace: value(NAMESPACE), name: value(NAME), uid: value(UID) }
    }
}

/// Whether a DEL is about an interface that goes while its pod lives.
pub(super) fn is_detached(text: &str) -> bool {
    text.split(';').filter_map(|pair| pair.split_once('=')).any(|pair| pair == (DETACHED, "true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_readers_agree_on_what_is_well_formed() {
        let text = "IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=;K8S_POD_INFRA_CONTAINER_ID=c;X=y;IP=1";
        let pod = Pod { namespace: "a", name: "b", uid: "" };
        assert_eq!(Pod::strict(text).unwrap(), pod);
        assert_eq!(Pod::lenient(text), pod);
    }

    #[test]
    fn an_interface_is_detached_if_the_call_says_so() {
        assert!(is_detached("IgnoreUnknown=true;K8S_POD_NAME=b;POLYNIC_DETACHED=true"));
        assert!(!is_detached("K8S_POD_NAME=b;POLYNIC_DETACHED=false") && !is_detached("K8S_POD_NAME=b"));
    }

    #[test]
    fn del_finds_what_add_would_refuse() {
        let text = "K8S_POD_NAMESPACE=a;;K8S_POD_NAME=b;X=y";
        assert!(Pod::strict(text).is_err());
        assert_eq!(Pod::lenient(text), Pod { namespace: "a", name: "b", uid: "" });
        assert_eq!(Pod::lenient(""), Pod::default());
    }
}
