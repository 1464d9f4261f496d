//! `CNI_ARGS`: which pod it is, and what the delegates get (spec/multus.md 7.2).

use polynic_cni::{Error, args};

use crate::cluster::PodRef;

/// The keys that the contract puts first, in its order.
const KEYS: [&str; 4] = ["K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_INFRA_CONTAINER_ID", "K8S_POD_UID"];

/// Which pairs of `CNI_ARGS` delegates get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forward {
    /// Those that are known, then all that the runtime gave (thin).
    #[default]
    All,
    /// Those that are known (thick).
    Known,
}

/// The pairs of `CNI_ARGS` as the runtime gave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodArgs {
    pairs: Vec<(String, String)>,
    forward: Forward,
}

impl PodArgs {
    /// Reads the variable; a key that is not known needs `IgnoreUnknown`.
    pub(crate) fn parse(text: &str, forward: Forward) -> Result<PodArgs, Error> {
        let parsed = args::parse(text, &KEYS)?;
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Ok(PodArgs { pairs: parsed.pairs().iter().map(own).collect(), forward })
    }

    /// The pod that the runtime means; its name is empty if the runtime is none of Kubernetes.
    pub(crate) fn pod(&self) -> PodRef {
        let text = |key| self.get(key).to_owned();
        PodRef { namespace: text("K8S_POD_NAMESPACE"), name: text("K8S_POD_NAME"), uid: text("K8S_POD_UID") }
    }

    /// The pairs for the delegates: the known ones first, then, if all are forwarded, the runtime's own again.
    pub(crate) fn for_delegates(&self) -> Vec<(String, String)> {
        let mut pairs = vec![("IgnoreUnknown".to_owned(), "true".to_owned())];
        pairs.extend(KEYS.map(|key| (key.to_owned(), self.get(key).to_owned())));
        for (key, value) in self.pairs.iter().filter(|_| self.forward == Forward::All) {
            match pairs.iter_mut().find(|(known, _)| known == key) {
                Some((_, empty)) if empty.is_empty() => value.clone_into(empty),
                _ => pairs.push((key.clone(), value.clone())),
            }
        }
        pairs
    }

    fn get(&self, key: &str) -> &str {
        self.pairs.iter().rev().find(|(known, _)| known == key).map_or("", |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_is_named_by_its_args() {
        let args = PodArgs::parse(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=blue;K8S_POD_NAME=p;K8S_POD_UID=u",
            Forward::All,
        )
        .unwrap();
        let pod = PodRef { namespace: "blue".into(), name: "p".into(), uid: "u".into() };
        assert_eq!(args.pod(), pod);
        assert_eq!(PodArgs::parse("", Forward::All).unwrap().pod(), PodRef::default());
    }

    #[test]
    fn unknown_keys_need_to_be_ignored() {
        assert!(PodArgs::parse("K8S_POD_NAME=p;X=1", Forward::All).is_err());
        assert!(PodArgs::parse("K8S_POD_NAME=p;X=1;IgnoreUnknown=1", Forward::All).is_ok());
    }

    #[test]
    fn delegates_get_the_known_keys_first_and_the_original_again() {
        let text = "IgnoreUnknown=1;K8S_POD_NAME=p;X=7";
        let args = PodArgs::parse(text, Forward::All).unwrap();
        assert_eq!(
            polynic_cni::args::join(&args.for_delegates()),
            "IgnoreUnknown=true;K8S_POD_NAMESPACE=;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID=;K8S_POD_UID=;\
             IgnoreUnknown=1;K8S_POD_NAME=p;X=7"
        );
        let known = PodArgs::parse(text, Forward::Known).unwrap();
        assert_eq!(
            polynic_cni::args::join(&known.for_delegates()),
            "IgnoreUnknown=true;K8S_POD_NAMESPACE=;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID=;K8S_POD_UID="
        );
    }
}
