//! Annotations that say which pools a pod wants (spec/spiderpool.md section 6): their texts into values.
//!
//! Keys of JSON objects are read in any case, as the replaced program does, and under their old spellings.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{FailureReason, PoolRoute, Texts};

/// Pools of the interface that is being attached.
pub const IPPOOL: &str = "ipam.spidernet.io/ippool";
/// Pools of several interfaces.
pub const IPPOOLS: &str = "ipam.spidernet.io/ippools";
/// Subnet for an automatic pool of one interface.
pub const SUBNET: &str = "ipam.spidernet.io/subnet";
/// Subnets for automatic pools of several interfaces.
pub const SUBNETS: &str = "ipam.spidernet.io/subnets";
/// How many addresses an automatic pool has.
pub const IP_NUMBER: &str = "ipam.spidernet.io/ippool-ip-number";
/// Whether an automatic pool goes with its application.
pub const RECLAIM: &str = "ipam.spidernet.io/ippool-reclaim";
/// Further routes.
pub const ROUTES: &str = "ipam.spidernet.io/routes";
/// Default pools of a namespace, with the key of old releases.
pub const NAMESPACE_IPV4: [&str; 2] =
    ["ipam.spidernet.io/default-ipv4-ippool", "ipam.spidernet.io/defaultv4ippool"];
/// As [`NAMESPACE_IPV4`].
pub const NAMESPACE_IPV6: [&str; 2] =
    ["ipam.spidernet.io/default-ipv6-ippool", "ipam.spidernet.io/defaultv6ippool"];

/// Names for one interface: of pools, or of subnets. Pool names may be patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamesFor {
    /// The interface; `None` for an item that names none.
    pub nic: Option<String>,
    /// Names of the IPv4 family.
    pub ipv4: Vec<String>,
    /// Names of the IPv6 family.
    pub ipv6: Vec<String>,
    /// No default route by the pool's gateway.
    pub clean_gateway: bool,
}

/// Reads [`IPPOOL`].
///
/// # Errors
/// The text is not what section 6 says.
pub fn ippool(annotations: &Texts) -> Result<Option<NamesFor>, FailureReason> {
    read(annotations, IPPOOL, |text| {
        Ok(NamesFor { nic: None, clean_gateway: false, ..item(&object(text)?)? })
    })
}

/// Reads [`IPPOOLS`]: at least one item, all with an interface or all without, no interface twice.
///
/// # Errors
/// The text is not what sections 6 and 7.2 say.
pub fn ippools(annotations: &Texts) -> Result<Option<Vec<NamesFor>>, FailureReason> {
    read(annotations, IPPOOLS, |text| {
        let items = items(text)?;
        let named = items.iter().filter(|item| item.nic.is_some()).count();
        match () {
            () if items.is_empty() => Err("the list is empty".to_owned()),
            () if named != 0 && named != items.len() => {
                Err("either all items name an interface or none".to_owned())
            }
            () => no_nic_twice(items),
        }
    })
}

/// Whether [`IPPOOLS`] lists items without interfaces, which only their order tells apart.
pub fn has_unnamed_items(annotations: &Texts) -> bool {
    matches!(ippools(annotations), Ok(Some(items)) if items.iter().all(|item| item.nic.is_none()))
}

/// Reads [`SUBNETS`] or else [`SUBNET`]; each item has its interface, `eth0` if a single one names none.
///
/// # Errors
/// The text is not what sections 6 and 9A say.
pub fn subnets(annotations: &Texts) -> Result<Option<Vec<NamesFor>>, FailureReason> {
    let several = read(annotations, SUBNETS, |text| {
        let items = items(text)?;
        match () {
            () if items.is_empty() => Err("the list is empty".to_owned()),
            () if items.iter().any(|item| item.nic.is_none()) => Err("an item names no interface".to_owned()),
            () => no_nic_twice(items).and_then(one_subnet_each),
        }
    })?;
    if several.is_some() {
        return Ok(several);
    }
    read(annotations, SUBNET, |text| {
        let item = item(&object(text)?)?;
        one_subnet_each(vec![NamesFor {
            nic: Some(item.nic.clone().unwrap_or_else(|| "eth0".to_owned())),
            ..item
        }])
    })
}

/// Reads the default pools of a namespace; `None` if it says nothing for either family.
///
/// # Errors
/// A text is no JSON list of names.
pub fn namespace_pools(annotations: &Texts) -> Result<Option<NamesFor>, FailureReason> {
    let list = |keys: [&str; 2]| {
        let key = keys.into_iter().find(|key| annotations.contains_key(*key));
        let names = key.map(|key| read(annotations, key, json::<Vec<String>>)).transpose();
        names.map(Option::flatten)
    };
    let (ipv4, ipv6) = (list(NAMESPACE_IPV4)?, list(NAMESPACE_IPV6)?);
    let names = |list: Option<Vec<String>>| list.unwrap_or_default();
    let said = ipv4.is_some() || ipv6.is_some();
    Ok(said.then(|| NamesFor { ipv4: names(ipv4), ipv6: names(ipv6), ..NamesFor::default() }))
}

/// Reads [`ROUTES`].
///
/// # Errors
/// A destination or gateway is none, or they are of two families.
pub fn routes(annotations: &Texts) -> Result<Vec<PoolRoute>, FailureReason> {
    let routes =
        read(annotations, ROUTES, |text| json::<Vec<Map<String, Value>>>(text)?.iter().map(route).collect())?;
    Ok(routes.unwrap_or_default())
}

fn route(members: &Map<String, Value>) -> Result<PoolRoute, String> {
    let member = |key: &str| members.get(key).and_then(Value::as_str).unwrap_or_default();
    let dst =
        member("dst").parse().map_err(|_| format!("dst {:?} is no network a.b.c.d/n", member("dst")))?;
    let gw = member("gw").parse().map_err(|_| format!("gw {:?} is no address", member("gw")))?;
    let route = PoolRoute { dst, gw };
    match route.dst.addr().is_ipv4() == route.gw.is_ipv4() {
        true => Ok(route),
        false => Err(format!("dst {dst} and gw {gw} are of two families")),
    }
}

/// Reads one annotation, if it is there, and names it in an error.
pub(crate) fn read<T>(
    annotations: &Texts,
    key: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, FailureReason> {
    let wrong = |why| FailureReason::WrongInput(format!("invalid format of Pod annotation '{key}': {why}"));
    annotations.get(key).map(|text| parse(text).map_err(wrong)).transpose()
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|why| why.to_string())
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    Ok(lower_case(json(text)?))
}

fn items(text: &str) -> Result<Vec<NamesFor>, String> {
    json::<Vec<Map<String, Value>>>(text)?.into_iter().map(|members| item(&lower_case(members))).collect()
}

fn lower_case(members: Map<String, Value>) -> Map<String, Value> {
    members.into_iter().map(|(key, value)| (key.to_ascii_lowercase(), value)).collect()
}

fn item(members: &Map<String, Value>) -> Result<NamesFor, String> {
    let nic: Option<String> = member(members, &["interface"])?;
    Ok(NamesFor {
        nic: nic.filter(|nic| !nic.is_empty()),
        ipv4: member(members, &["ipv4", "ipv4pools"])?.unwrap_or_default(),
        ipv6: member(members, &["ipv6", "ipv6pools"])?.unwrap_or_default(),
        clean_gateway: member(members, &["cleangateway"])?.unwrap_or_default(),
    })
}

/// The first of these members that is there and not null.
fn member<T: DeserializeOwned>(members: &Map<String, Value>, keys: &[&str]) -> Result<Option<T>, String> {
    let found = keys
        .iter()
        .find_map(|key| members.get(*key).filter(|value| !value.is_null()).map(|value| (key, value)));
    let Some((key, value)) = found else { return Ok(None) };
    serde_json::from_value(value.clone()).map(Some).map_err(|why| format!("{key}: {why}"))
}

fn no_nic_twice(items: Vec<NamesFor>) -> Result<Vec<NamesFor>, String> {
    let repeated = items.iter().enumerate().find_map(|(at, item)| {
        item.nic.as_ref().filter(|nic| items[..at].iter().any(|other| other.nic.as_ref() == Some(nic)))
    });
    match repeated {
        Some(nic) => Err(format!("interface {nic} is listed twice")),
        None => Ok(items),
    }
}

/// Keeps the first name of each list, which is all that counts for subnets (9A).
fn one_subnet_each(items: Vec<NamesFor>) -> Result<Vec<NamesFor>, String> {
    let mut seen = Vec::new();
    for item in &items {
        let first = item.ipv4.first().into_iter().chain(item.ipv6.first());
        let names: Vec<&String> = first.collect();
        if names.is_empty() {
            return Err("an item names no subnet".to_owned());
        }
        for name in names {
            if name.is_empty() {
                return Err("a subnet's name is empty".to_owned());
            }
            if seen.contains(name) {
                return Err(format!("subnet {name} is listed twice"));
            }
            seen.push(name.clone());
        }
    }
    let first = |names: Vec<String>| names.into_iter().take(1).collect();
    Ok(items
        .into_iter()
        .map(|item| NamesFor { ipv4: first(item.ipv4), ipv6: first(item.ipv6), ..item })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, text: &str) -> Texts {
        Texts::from([(key.to_owned(), text.to_owned())])
    }

    #[test]
    fn ippool_is_read_in_its_old_and_new_spelling() {
        let new = ippool(&with(IPPOOL, r#"{"ipv4":["a","b*"],"ipv6":null}"#)).unwrap().unwrap();
        assert_eq!((new.ipv4.len(), new.ipv6.len()), (2, 0));
        let old = ippool(&with(IPPOOL, r#"{"interface":"eth0","ipv4pools":["a"],"ipv6Pools":["c"]}"#))
            .unwrap()
            .unwrap();
        assert_eq!((old.ipv4, old.ipv6, old.nic), (vec!["a".to_owned()], vec!["c".to_owned()], None));
    }

    #[test]
    fn ippools_has_rules() {
        let read = |text: &str| ippools(&with(IPPOOLS, text));
        let good = read(
            r#"[{"interface":"eth0","ipv4":["a"],"cleanGateway":true},{"interface":"net1","ipv6":["b"]}]"#,
        );
        let good = good.unwrap().unwrap();
        assert!(good[0].clean_gateway && !good[1].clean_gateway);
        for bad in [
            "[]",
            "{",
            r#"[{"interface":"a"},{}]"#,
            r#"[{"interface":"a"},{"interface":"a"}]"#,
            r#"[{"ipv4":"a"}]"#,
        ] {
            let why = read(bad).unwrap_err().to_string();
            assert!(
                why.starts_with("invalid format of Pod annotation 'ipam.spidernet.io/ippools': "),
                "{why}"
            );
        }
    }

    #[test]
    fn subnets_win_over_subnet_and_count_one_name_each() {
        let mut both = with(SUBNET, r#"{"ipv4":["s","t"]}"#);
        assert_eq!(subnets(&both).unwrap().unwrap()[0].nic.as_deref(), Some("eth0"));
        both.insert(SUBNETS.to_owned(), r#"[{"interface":"net1","ipv4":["s","t"],"ipv6":["u"]}]"#.to_owned());
        let items = subnets(&both).unwrap().unwrap();
        assert_eq!((items[0].nic.as_deref(), items[0].ipv4.len()), (Some("net1"), 1));
        for bad in [r#"{}"#, r#"{"ipv4":[""]}"#] {
            assert!(subnets(&with(SUBNET, bad)).is_err(), "{bad}");
        }
        assert!(
            subnets(&with(SUBNETS, r#"[{"interface":"a","ipv4":["s"]},{"interface":"b","ipv4":["s"]}]"#))
                .is_err()
        );
    }

    #[test]
    fn a_namespace_may_speak_for_one_family() {
        let one = namespace_pools(&with(NAMESPACE_IPV6[0], r#"["p6"]"#)).unwrap().unwrap();
        assert_eq!((one.ipv4.len(), one.ipv6.len()), (0, 1));
        assert!(namespace_pools(&with(NAMESPACE_IPV4[1], r#"["old"]"#)).unwrap().is_some());
        assert!(namespace_pools(&Texts::new()).unwrap().is_none());
        assert!(namespace_pools(&with(NAMESPACE_IPV4[0], "p")).is_err());
    }

    #[test]
    fn routes_have_a_family() {
        let one = routes(&with(ROUTES, r#"[{"dst":"10.50.0.0/16","gw":"10.9.0.9"}]"#)).unwrap();
        assert_eq!(one.len(), 1);
        for bad in [r#"[{"dst":"10.50.0.0/16","gw":"fd00::1"}]"#, r#"[{"dst":"x","gw":"10.9.0.9"}]"#, "{}"] {
            assert!(routes(&with(ROUTES, bad)).is_err(), "{bad}");
        }
    }
}
