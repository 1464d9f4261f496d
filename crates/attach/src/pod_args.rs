//! `CNI_ARGS`: which pod it is, and what the delegates get (spec/multus.md 7.2).

use polynic_cni::{Error, args};

use crate::cluster::PodRef;

/// The keys that the contract puts first, in its order.
const KEYS: [&str; 4] = ["K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_INFRA_CONTAINER_ID", "K8S_POD_UID"];

/// The pairs of `CNI_ARGS` as the runtime gave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodArgs(Vec<(String, String)>);

impl PodArgs {
    /// Reads the variable; a key that is not known needs `IgnoreUnknown`.
    pub(crate) fn parse(text: &str) -> Result<PodArgs, Error> {
        let parsed = args::parse(text, &KEYS)?;
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Ok(PodArgs(parsed.pairs().iter().map(own).collect()))
    }

    /// The pod that the runtime means; its name is empty if the runtime is none of Kubernetes.
    pub(crate) fn pod(&self) -> PodRef {
        let text = |key| self.get(key).to_owned();
        PodRef { namespace: text("K8S_POD_NAMESPACE"), name: text("K8S_POD_NAME"), uid: text("K8S_POD_UID") }
    }

    /// The pairs for the delegates: the known ones first, then the runtime's own again.
    pub(crate) fn for_delegates(&self) -> Vec<(String, String)> {
        let mut pairs = vec![("IgnoreUnknown".to_owned(), "true".to_owned())];
        pairs.extend(KEYS.map(|key| (key.to_owned(), self.get(key).to_owned())));
        for (key, value) in &self.0 {
            match pairs.iter_mut().find(|(known, _)| known == key) {
                Some((_, empty)) if empty.is_empty() => value.clone_into(empty),
                _ => pairs.push((key.clone(), value.clone())),
            }
        }
        pairs
    }

    fn get(&self, key: &str) -> &str {
        self.0.iter().rev().find(|(known, _)| known == key).map_or("", |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_is_named_by_its_args() {
        let args =
            PodArgs::parse("IgnoreUnknown=1;K8S_POD_NAMESPACE=blue;K8S_POD_NAME=p;K8S_POD_UID=u").unwrap();
        let pod = PodRef { namespace: "blue".into(), name: "p".into(), uid: "u".into() };
        assert_eq!(args.pod(), pod);
        assert_eq!(PodArgs::parse("").unwrap().pod(), PodRef::default());
    }

    #[test]
    fn unknown_keys_need_to_be_ignored() {
        assert!(PodArgs::parse("K8S_POD_NAME=p;X=1").is_err());
        assert!(PodArgs::parse("K8S_POD_NAME=p;X=1;IgnoreUnknown=1").is_ok());
    }

    #[test]
    fn delegates_get_the_known_keys_first_and_the_original_again() {
        let args = PodArgs::parse("IgnoreUnknown=1;K8S_POD_NAME=p;X=7").unwrap();
        assert_eq!(
            polynic_cni::args::join(&args.for_delegates()),
            "IgnoreUnknown=true;K8S_POD_NAMESPACE=;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID=;K8S_POD_UID=;\
             IgnoreUnknown=1;K8S_POD_NAME=p;X=7"
        );
    }
}
