//! Forward and masquerade rules in nf_tables (spec/flannel.md 10 and 11).
//!
//! Each comment says what its rule matches: rules are recognised by their comments, so another network is another rule.

use polynic_net::{
    Family, FwBase, FwChain, FwExpr, FwFamily, FwHook, FwKind, FwObject, FwPosition, FwRule, FwTable,
    FwVerdict, IpNet, Ipv4Net, Ipv6Net,
};

use crate::{Keys, NetConf, PerFamily};

/// Which rules are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleOptions {
    /// `--iptables-forward-rules`
    pub forward: bool,
    /// `--ip-masq`
    pub masquerade: bool,
    /// Not `--ip-masq-fully-random-disable`.
    pub random: bool,
}

/// kube-proxy's mark on what it masquerades itself.
const KUBE_PROXY: FwExpr = FwExpr::Mark { value: 0x4000, mask: 0x4000 };
/// Where nft puts `srcnat`.
const SRCNAT: i32 = 100;

/// The table of a family. Instances with another annotation prefix have their own.
pub fn table(keys: &Keys, family: Family) -> FwTable {
    let (of, name) = match family {
        Family::V4 => (FwFamily::Ip, "flannel-ipv4"),
        Family::V6 => (FwFamily::Ip6, "flannel-ipv6"),
    };
    match keys.instance() {
        Some(instance) => FwTable::new(of, format!("{name}-{instance}")),
        None => FwTable::new(of, name),
    }
}

/// Everything that is to be in the tables, in order; nothing of a family without rules.
pub fn wanted(
    keys: &Keys,
    conf: &NetConf,
    subnets: &PerFamily<IpNet>,
    options: RuleOptions,
) -> Vec<FwObject> {
    let mut objects = Vec::new();
    for (family, network) in conf.networks.iter() {
        let Some(subnet) = subnets.get(family) else { continue };
        let mut chains = Vec::new();
        if options.forward {
            chains.push(forward(*network));
        }
        if options.masquerade {
            chains.push(masquerade(*network, *subnet, options.random));
        }
        objects.extend(in_table(&table(keys, family), chains));
    }
    objects
}

struct Chain {
    name: &'static str,
    base: FwBase,
    rules: Vec<(String, Vec<FwExpr>)>,
}

fn in_table(table: &FwTable, chains: Vec<Chain>) -> Vec<FwObject> {
    if chains.is_empty() {
        return Vec::new();
    }
    let mut objects = vec![FwObject::Table(table.clone())];
    for chain in chains {
        let (table, name) = (table.clone(), chain.name.to_owned());
        objects.push(FwObject::Chain(FwChain {
            table: table.clone(),
            name: name.clone(),
            base: Some(chain.base),
        }));
        objects.extend(chain.rules.into_iter().map(|(comment, exprs)| {
            let (table, chain) = (table.clone(), name.clone());
            FwObject::Rule(FwRule { table, chain, position: FwPosition::Last, exprs, comment })
        }));
    }
    objects
}

fn forward(network: IpNet) -> Chain {
    let accept = |end: FwExpr| vec![end, FwExpr::Verdict(FwVerdict::Accept)];
    Chain {
        name: "forward",
        base: FwBase { kind: FwKind::Filter, hook: FwHook::Forward, priority: 0 },
        rules: vec![
            (format!("flanneld forward from {network}"), accept(from(network, false))),
            (format!("flanneld forward to {network}"), accept(to(network, false))),
        ],
    }
}

/// The table of spec/flannel.md 11, rule by rule.
fn masquerade(network: IpNet, subnet: IpNet, random: bool) -> Chain {
    let pass = |matches: Vec<FwExpr>| [matches, vec![FwExpr::Verdict(FwVerdict::Return)]].concat();
    let how = if random { FwExpr::MasqueradeRandom } else { FwExpr::Masquerade };
    let rewrite = |matches: Vec<FwExpr>| [matches, vec![how.clone()]].concat();
    let groups = multicast(network);
    let way = if random { "randomly" } else { "plainly" };
    let rules = vec![
        ("flanneld masq: kube-proxy's own".to_owned(), pass(vec![KUBE_PROXY])),
        (
            format!("flanneld masq: not {subnet} to {network}"),
            pass(vec![from(subnet, false), to(network, false)]),
        ),
        (
            format!("flanneld masq: not {network} to {subnet}"),
            pass(vec![from(network, false), to(subnet, false)]),
        ),
        (
            format!("flanneld masq: not others to {subnet}"),
            pass(vec![from(network, true), to(subnet, false)]),
        ),
        (
            format!("flanneld masq {way}: {network} to others"),
            rewrite(vec![from(network, false), to(groups, true)]),
        ),
        (
            format!("flanneld masq {way}: others to {network}"),
            rewrite(vec![from(network, true), to(network, false)]),
        ),
    ];
    let base = FwBase { kind: FwKind::Nat, hook: FwHook::Postrouting, priority: SRCNAT };
    Chain { name: "postrtg", base, rules }
}

fn from(net: IpNet, not: bool) -> FwExpr {
    FwExpr::Src { net, not }
}

fn to(net: IpNet, not: bool) -> FwExpr {
    FwExpr::Dst { net, not }
}

fn multicast(network: IpNet) -> IpNet {
    match network {
        IpNet::V4(_) => IpNet::V4(Ipv4Net::new_assert([224, 0, 0, 0].into(), 4)),
        IpNet::V6(_) => IpNet::V6(Ipv6Net::new_assert([0xff00, 0, 0, 0, 0, 0, 0, 0].into(), 8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: RuleOptions = RuleOptions { forward: true, masquerade: true, random: true };

    fn comments(prefix: &str, options: RuleOptions) -> Vec<String> {
        let conf = NetConf::parse(
            br#"{"Network": "10.233.0.0/16", "IPv6Network": "fd60:1234:5678::/48", "EnableIPv6": true, "Backend": {"Type": "vxlan"}}"#,
        );
        let subnets = PerFamily {
            v4: Some("10.233.64.0/24".parse().unwrap()),
            v6: Some("fd60:1234:5678:9abc::/64".parse().unwrap()),
        };
        let objects = wanted(&Keys::new(prefix).unwrap(), &conf.unwrap(), &subnets, options);
        let text = |object: &FwObject| match object {
            FwObject::Table(table) => table.name.clone(),
            FwObject::Chain(chain) => chain.name.clone(),
            FwObject::Rule(rule) => rule.comment.clone(),
        };
        objects.iter().map(text).collect()
    }

    #[test]
    fn both_families_have_both_chains_in_the_order_of_the_contract() {
        let all = comments(crate::DEFAULT_PREFIX, ALL);
        assert_eq!(all.len(), 2 * (1 + 2 + 2 + 6));
        assert_eq!(
            all[..5],
            [
                "flannel-ipv4",
                "forward",
                "flanneld forward from 10.233.0.0/16",
                "flanneld forward to 10.233.0.0/16",
                "postrtg"
            ]
        );
        assert_eq!(all[5], "flanneld masq: kube-proxy's own");
        assert!(all.iter().all(|text| text.len() < 128), "{all:?}");
    }

    #[test]
    fn what_is_off_has_no_objects_and_instances_have_their_own() {
        let none = RuleOptions { forward: false, masquerade: false, random: true };
        assert_eq!(comments(crate::DEFAULT_PREFIX, none), Vec::<String>::new());
        assert_eq!(comments("net.acme.io/b", ALL)[0], "flannel-ipv4-net.acme.io-b");
    }
}
