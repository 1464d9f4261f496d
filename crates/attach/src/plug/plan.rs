//! What has to change for a pod to have the networks that it wants: a pure function (spec/dynamic-networks.md 1 and 3).

use std::collections::BTreeSet;

use polynic_api::SelectionElement;

/// A network that the pod has, and that its annotation may rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Display name, `namespace/name`.
    pub network: String,
    /// The interface in the pod.
    pub interface: String,
    /// It was attached to its end. What was not, is taken away and made anew.
    pub is_complete: bool,
    /// The pod is known to have it because it selected it; what another program attached may be the configuration's, and stays.
    pub may_go: bool,
}

/// A network to attach.
#[derive(Clone, Debug, PartialEq)]
pub struct Addition {
    /// What the pod asks for; its interface is the one below.
    pub element: SelectionElement,
    /// The interface that it gets.
    pub interface: String,
}

/// A network that the pod cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Display name.
    pub network: String,
    /// Why not.
    pub why: String,
}

/// What to do: removals first, so that the names and addresses of what goes are free for what comes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps {
    /// Places in what the pod holds, ascending.
    pub remove: Vec<usize>,
    /// In the order of the annotation.
    pub add: Vec<Addition>,
    /// What is not done until the annotation is edited.
    pub rejected: Vec<Rejection>,
    /// Network and interface of everything that the pod has then, in the order of the annotation.
    pub order: Vec<(String, String)>,
}

impl Addition {
    /// Display name.
    pub fn network(&self) -> String {
        network(&self.element)
    }
}

fn network(element: &SelectionElement) -> String {
    format!("{}/{}", element.namespace, element.name)
}

/// Decides. `taken` are interfaces of networks that the annotation does not rule.
pub fn steps(wanted: &[SelectionElement], held: &[Held], taken: &[String]) -> Steps {
    let claims = claims(wanted, held);
    let mut names = Names::new(wanted, held, &claims, taken);
    let goes = |(at, held): &(usize, &Held)| held.may_go && !claims.contains(&Some(*at));
    let remove = held.iter().enumerate().filter(goes).map(|(at, _)| at).collect();
    let mut steps = Steps { remove, ..Steps::default() };
    for (element, claim) in wanted.iter().zip(&claims) {
        let interface = match claim.and_then(|at| held.get(at)) {
            Some(kept) => kept.interface.clone(),
            None => match names.give(element) {
                Ok(interface) => {
                    let element = SelectionElement { interface: interface.clone(), ..element.clone() };
                    steps.add.push(Addition { element, interface: interface.clone() });
                    interface
                }
                Err(why) => {
                    steps.rejected.push(Rejection { network: network(element), why });
                    continue;
                }
            },
        };
        steps.order.push((network(element), interface));
    }
    steps
}

/// Which held network each element means: a named one that of its name, then the others in order what is left of their network.
fn claims(wanted: &[SelectionElement], held: &[Held]) -> Vec<Option<usize>> {
    let mut claims = vec![None; wanted.len()];
    let mut claimed = BTreeSet::new();
    for named in [true, false] {
        for (at, element) in wanted.iter().enumerate().filter(|(_, e)| e.interface.is_empty() != named) {
            let fits = |(place, held): &(usize, &Held)| {
                held.is_complete
                    && !claimed.contains(place)
                    && held.network == network(element)
                    && (element.interface.is_empty() || held.interface == element.interface)
            };
            let found = held.iter().enumerate().find(fits).map(|(place, _)| place);
            claimed.extend(found);
            if let Some(claim) = claims.get_mut(at) {
                *claim = found;
            }
        }
    }
    claims
}

/// Names of interfaces.
struct Names {
    used: BTreeSet<String>,
    /// Asked for by name, and not to be given to others.
    asked: BTreeSet<String>,
}

impl Names {
    fn new(wanted: &[SelectionElement], held: &[Held], claims: &[Option<usize>], taken: &[String]) -> Self {
        let stays = |(at, held): &(usize, &Held)| !held.may_go || claims.contains(&Some(*at));
        let kept = held.iter().enumerate().filter(stays).map(|(_, held)| held.interface.clone());
        let asked = wanted.iter().map(|e| e.interface.clone()).filter(|name| !name.is_empty());
        Self { used: kept.chain(taken.iter().cloned()).collect(), asked: asked.collect() }
    }

    /// The name of a new interface: the one that is asked for, or the lowest `net<n>` that is free.
    fn give(&mut self, element: &SelectionElement) -> Result<String, String> {
        let name = match element.interface.as_str() {
            "" => self.lowest(),
            name if self.used.contains(name) => {
                return Err(format!("interface name {name} is used by another network of the pod"));
            }
            name => name.to_owned(),
        };
        self.used.insert(name.clone());
        Ok(name)
    }

    fn lowest(&self) -> String {
        let names = (1..).map(|number: usize| format!("net{number}"));
        let free = |name: &String| !self.used.contains(name) && !self.asked.contains(name);
        // There are more numbers than names in use.
        names.into_iter().find(free).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(text: &str) -> Vec<SelectionElement> {
        polynic_api::selection::parse_networks(text, "blue").unwrap()
    }

    fn held(text: &str) -> Vec<Held> {
        let parse = |item: &str| {
            let (network, interface) = item.split_once('@').unwrap();
            let (is_complete, network) = network.strip_prefix('!').map_or((true, network), |n| (false, n));
            Held {
                network: format!("blue/{network}"),
                interface: interface.to_owned(),
                is_complete,
                may_go: true,
            }
        };
        text.split_whitespace().map(parse).collect()
    }

    fn decided(want: &str, have: &str) -> (Vec<usize>, Vec<String>, usize) {
        let steps = steps(&wanted(want), &held(have), &["eth0".to_owned()]);
        let add = steps.add.iter().map(|a| format!("{}@{}", a.element.name, a.interface)).collect();
        (steps.remove, add, steps.rejected.len())
    }

    fn adds(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_is_there_stays_whatever_the_order_of_the_list() {
        assert_eq!(decided("a,b", "a@net1 b@net2"), (vec![], vec![], 0));
        assert_eq!(decided("b,a", "a@net1 b@net2"), (vec![], vec![], 0));
        assert_eq!(decided("a@net1,b", "a@net1 b@net2"), (vec![], vec![], 0));
    }

    #[test]
    fn what_is_new_gets_the_lowest_free_name() {
        assert_eq!(decided("a,b,c", "a@net1 b@net2"), (vec![], adds(&["c@net3"]), 0));
        assert_eq!(decided("b,c", "a@net1 b@net2"), (vec![0], adds(&["c@net1"]), 0));
        assert_eq!(decided("c,d@net1", ""), (vec![], adds(&["c@net2", "d@net1"]), 0));
    }

    #[test]
    fn what_is_not_wanted_any_more_goes() {
        assert_eq!(decided("", "a@net1 b@net2"), (vec![0, 1], vec![], 0));
        assert_eq!(decided("[]", "a@net1"), (vec![0], vec![], 0));
        assert_eq!(decided("a", "a@net1 a@net2"), (vec![1], vec![], 0));
    }

    #[test]
    fn named_elements_choose_before_unnamed_ones() {
        assert_eq!(decided("a,a@net1", "a@net1 a@net2"), (vec![], vec![], 0));
        assert_eq!(decided("a@lan0", "a@net1"), (vec![0], adds(&["a@lan0"]), 0));
    }

    #[test]
    fn names_that_are_taken_are_rejected_but_those_of_what_goes_are_free() {
        assert_eq!(decided("a@eth0", ""), (vec![], vec![], 1));
        assert_eq!(decided("a@x,b@x", ""), (vec![], adds(&["a@x"]), 1));
        assert_eq!(decided("b@net1", "a@net1"), (vec![0], adds(&["b@net1"]), 0));
    }

    #[test]
    fn what_was_not_attached_to_its_end_is_made_anew() {
        assert_eq!(decided("a", "!a@net1"), (vec![0], adds(&["a@net1"]), 0));
    }

    proptest! {
        #[test]
        fn following_once_is_enough_and_no_name_is_given_twice(
            want in proptest::collection::vec((0..3u8, proptest::option::of(0..5u8)), 0..8),
            have in proptest::collection::vec((0..3u8, any::<bool>()), 0..6),
        ) {
            let wanted: Vec<SelectionElement> = want.iter().map(|(net, name)| SelectionElement {
                name: format!("n{net}"), namespace: "blue".into(),
                interface: name.map_or(String::new(), |name| format!("net{name}")), ..SelectionElement::default()
            }).collect();
            let mut held: Vec<Held> = have.iter().enumerate().map(|(at, (net, is_complete))| Held {
                network: format!("blue/n{net}"), interface: format!("net{at}"), is_complete: *is_complete, may_go: true
            }).collect();
            let first = steps(&wanted, &held, &["eth0".to_owned()]);
            for at in first.remove.iter().rev() { held.remove(*at); }
            held.extend(first.add.iter().map(|a| Held { network: a.network(), interface: a.interface.clone(), is_complete: true, may_go: true }));
            let names: BTreeSet<&String> = held.iter().map(|h| &h.interface).collect();
            prop_assert_eq!(names.len(), held.len());
            let second = steps(&wanted, &held, &["eth0".to_owned()]);
            prop_assert!(second.remove.is_empty() && second.add.is_empty());
        }
    }
}
