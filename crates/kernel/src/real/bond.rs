//! A bond's options as the kernel takes them.

use netlink_packet_route::link::InfoBond;
use polynic_net::{Bond, BondNumber, BondOption};

/// The data of a new bond; `primary` is the index of its primary port.
pub(super) fn data(bond: &Bond, primary: Option<u32>) -> Vec<InfoBond> {
    let mut data = vec![InfoBond::Mode(bond.mode.into())];
    data.extend(bond.options.iter().filter_map(|option| match option {
        BondOption::Number(which, value) => Some(number(*which, *value)),
        BondOption::ArpTargets(targets) => Some(InfoBond::ArpIpTarget(targets.clone())),
        BondOption::ActorSystem(mac) => Some(InfoBond::AdActorSystem(mac.0)),
        BondOption::Primary(_) => primary.map(InfoBond::Primary),
    }));
    data
}

fn number(which: BondNumber, value: u32) -> InfoBond {
    // What does not fit is as wrong as the highest number, and the kernel says so.
    let byte = u8::try_from(value).unwrap_or(u8::MAX);
    let short = u16::try_from(value).unwrap_or(u16::MAX);
    match which {
        BondNumber::Miimon => InfoBond::MiiMon(value),
        BondNumber::UpDelay => InfoBond::UpDelay(value),
        BondNumber::DownDelay => InfoBond::DownDelay(value),
        BondNumber::UseCarrier => InfoBond::UseCarrier(value != 0),
        BondNumber::ArpInterval => InfoBond::ArpInterval(value),
        BondNumber::ArpValidate => InfoBond::ArpValidate(value.into()),
        BondNumber::ArpAllTargets => InfoBond::ArpAllTargets(value.into()),
        BondNumber::PrimaryReselect => InfoBond::PrimaryReselect(byte.into()),
        BondNumber::FailOverMac => InfoBond::FailOverMac(byte.into()),
        BondNumber::XmitHashPolicy => InfoBond::XmitHashPolicy(byte.into()),
        BondNumber::ResendIgmp => InfoBond::ResendIgmp(value),
        BondNumber::AllSlavesActive => InfoBond::AllPortsActive(byte.into()),
        BondNumber::MinLinks => InfoBond::MinLinks(value),
        BondNumber::LpInterval => InfoBond::LpInterval(value),
        BondNumber::PacketsPerSlave => InfoBond::PacketsPerPort(value),
        BondNumber::LacpRate => InfoBond::AdLacpRate(byte.into()),
        BondNumber::AdSelect => InfoBond::AdSelect(byte.into()),
        BondNumber::AdActorSysPrio => InfoBond::AdActorSysPrio(short),
        BondNumber::AdUserPortKey => InfoBond::AdUserPortKey(short),
        BondNumber::TlbDynamicLb => InfoBond::TlbDynamicLb(value != 0),
        BondNumber::PeerNotifDelay => InfoBond::PeerNotifDelay(value),
    }
}
