//! The options of a bond, `k=v;k=v`, a list as `[a,b]` (spec/spiderpool.md 12).
//!
//! As with the replaced plugin an item that is none, or a number that is not above 0, is left out. Where the kernel has names for the
//! values of an option, they are understood too.

use polynic_net::{BondNumber, BondOption, IfName};

/// What a text says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Chosen {
    /// Options to make the bond with.
    pub(super) options: Vec<BondOption>,
    /// The port that carries the traffic at first.
    pub(super) active: Option<IfName>,
}

const NUMBERS: [(&str, BondNumber); 22] = [
    ("ad_actor_sys_prio", BondNumber::AdActorSysPrio),
    ("ad_select", BondNumber::AdSelect),
    ("ad_user_port_key", BondNumber::AdUserPortKey),
    ("all_slaves_active", BondNumber::AllSlavesActive),
    ("arp_interval", BondNumber::ArpInterval),
    ("arp_validate", BondNumber::ArpValidate),
    ("arp_all_targets", BondNumber::ArpAllTargets),
    ("downdelay", BondNumber::DownDelay),
    ("fail_over_mac", BondNumber::FailOverMac),
    ("lacp_rate", BondNumber::LacpRate),
    ("miimon", BondNumber::Miimon),
    ("min_links", BondNumber::MinLinks),
    ("packets_per_slave", BondNumber::PacketsPerSlave),
    ("primary_reselect", BondNumber::PrimaryReselect),
    ("tlb_dynamic_lb", BondNumber::TlbDynamicLb),
    ("up_delay", BondNumber::UpDelay),
    ("use_carrier", BondNumber::UseCarrier),
    ("xmit_hash_policy", BondNumber::XmitHashPolicy),
    ("lp_interval", BondNumber::LpInterval),
    ("resend_igmp", BondNumber::ResendIgmp),
    ("peer_notif_delay", BondNumber::PeerNotifDelay),
    // The kernel's own spelling of `up_delay`.
    ("updelay", BondNumber::UpDelay),
];

/// The kernel's names of values, in the order of their numbers from 0 (drivers/net/bonding/bond_options.c).
fn names(option: BondNumber) -> &'static [&'static str] {
    match option {
        BondNumber::XmitHashPolicy => {
            &["layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"]
        }
        BondNumber::LacpRate => &["slow", "fast"],
        BondNumber::AdSelect => &["stable", "bandwidth", "count"],
        BondNumber::FailOverMac => &["none", "active", "follow"],
        BondNumber::PrimaryReselect => &["always", "better", "failure"],
        BondNumber::ArpValidate => {
            &["none", "active", "backup", "all", "filter", "filter_active", "filter_backup"]
        }
        BondNumber::ArpAllTargets => &["any", "all"],
        _ => &[],
    }
}

/// Reads the text of the options of a bond of these interfaces.
///
/// # Errors
/// `primary` or `active_slave` is none of the interfaces.
pub(super) fn read(text: &str, interfaces: &[IfName]) -> Result<Chosen, String> {
    let mut chosen = Chosen::default();
    for (key, value) in text.split(';').filter_map(|item| item.split_once('=')) {
        let (key, value) = (key.trim(), value.trim());
        match key {
            "primary" => chosen.options.push(BondOption::Primary(port(key, value, interfaces)?)),
            "active_slave" => chosen.active = Some(port(key, value, interfaces)?),
            _ => chosen.options.extend(option(key, value)),
        }
    }
    Ok(chosen)
}

fn port(key: &str, value: &str, interfaces: &[IfName]) -> Result<IfName, String> {
    let found = interfaces.iter().find(|name| name.as_str() == value).cloned();
    found.ok_or_else(|| format!("bond.options: {key} {value:?} is none of the bond's interfaces"))
}

fn option(key: &str, value: &str) -> Option<BondOption> {
    match key {
        "arp_ip_target" => {
            let targets: Vec<_> = items(value).filter_map(|item| item.parse().ok()).collect();
            (!targets.is_empty()).then_some(BondOption::ArpTargets(targets))
        }
        "ad_actor_system" => value.parse().ok().map(BondOption::ActorSystem),
        _ => {
            let (_, number) = NUMBERS.iter().find(|(name, _)| *name == key)?;
            value_of(*number, value).map(|value| BondOption::Number(*number, value))
        }
    }
}

fn items(value: &str) -> impl Iterator<Item = &str> {
    let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(value);
    inner.split(',').map(str::trim)
}

/// 0 is what everything starts with, or what must be left alone.
fn value_of(option: BondNumber, value: &str) -> Option<u32> {
    let named = || names(option).iter().position(|name| *name == value).and_then(|at| u32::try_from(at).ok());
    value.parse().ok().or_else(named).filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Chosen, String> {
        read(text, &["e1", "e2"].map(|name| IfName::new(name).unwrap()))
    }

    #[test]
    fn every_form_of_a_value_is_read() {
        let text = "miimon=100; xmit_hash_policy=layer3+4;lacp_rate=1;arp_ip_target=[10.0.0.1,10.0.0.2];\
            ad_actor_system=02:00:00:00:00:01;primary=e2;active_slave=e1";
        let chosen = of(text).unwrap();
        let targets = vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        assert_eq!(
            chosen.options,
            [
                BondOption::Number(BondNumber::Miimon, 100),
                BondOption::Number(BondNumber::XmitHashPolicy, 1),
                BondOption::Number(BondNumber::LacpRate, 1),
                BondOption::ArpTargets(targets),
                BondOption::ActorSystem("02:00:00:00:00:01".parse().unwrap()),
                BondOption::Primary(IfName::new("e2").unwrap()),
            ]
        );
        assert_eq!(chosen.active, IfName::new("e1").ok());
    }

    #[test]
    fn what_is_no_option_is_left_out_but_an_unknown_port_is_an_error() {
        assert_eq!(
            of("; x ;miimon;miimon=;miimon=0;miimon=-1;miimon=x;unknown=3;arp_ip_target=[]"),
            Ok(Chosen::default())
        );
        assert_eq!(of(""), Ok(Chosen::default()));
        assert!(of("primary=e3").unwrap_err().contains("primary \"e3\""));
        assert!(of("active_slave=").unwrap_err().contains("active_slave"));
    }
}
