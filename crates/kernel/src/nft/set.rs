//! Named sets and their elements, as `nft` sends them.

use std::net::IpAddr;

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, NfTablesMessage, SetAttribute, SetElementAttribute, SetElementList,
    SetElementMessage, SetMessage,
};
use polynic_net::{Family, FwSet, FwTable, IpRange, ip_from_u128, ip_to_u128};

use super::expr::{self, NAME_LEN};

/// One element, or one end of an interval.
pub(super) type Element = ListAttribute<SetElementAttribute>;

/// Numbers of nft's data types (libnftables, `enum datatypes`): only `nft` reads them, to print elements.
const IPV4_ADDR: u32 = 7;
const IPV6_ADDR: u32 = 8;
const IFNAME: u32 = 41;
/// `NFT_SET_INTERVAL`.
const INTERVAL: u32 = 4;
/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;
/// Attributes that the typed form of the messages library has no public type for (`NFTA_SET_FLAGS`, `NFTA_SET_ELEM_FLAGS`).
const SET_FLAGS: u16 = 3;
const ELEMENT_FLAGS: u16 = 3;
/// So many elements in one message: the length of a list of elements has 16 bits.
const AT_ONCE: usize = 1000;

/// User data by which `nft` knows the byte order of a set's keys (type, length, value).
const HOST_ORDER: [u8; 6] = [0, 4, 1, 0, 0, 0];
const NETWORK_ORDER: [u8; 6] = [0, 4, 2, 0, 0, 0];
/// User data by which `nft` knows that an interval has no upper end.
const OPEN: [u8; 6] = [1, 4, 1, 0, 0, 0];

/// A new set of the kind of `content`.
pub(super) fn declaration(table: &FwTable, name: &str, content: &FwSet, id: u32) -> NfTablesMessage {
    let (key, length, order) = match kind(content) {
        None => (IFNAME, NAME_LEN as u32, HOST_ORDER),
        Some(Family::V4) => (IPV4_ADDR, 4, NETWORK_ORDER),
        Some(Family::V6) => (IPV6_ADDR, 16, NETWORK_ORDER),
    };
    let flags = if matches!(content, FwSet::Intervals(_)) { INTERVAL } else { 0 };
    let mut attributes = place(table, name);
    attributes.extend([
        SetAttribute::Other(DefaultNla::new(SET_FLAGS, flags.to_be_bytes().to_vec())),
        SetAttribute::KeyType(key),
        SetAttribute::KeyLen(length),
        SetAttribute::Id(id),
        SetAttribute::UserData(order.to_vec()),
    ]);
    NfTablesMessage::NewSet(SetMessage { attributes })
}

/// The end of a set.
pub(super) fn removal(table: &FwTable, name: &str) -> NfTablesMessage {
    NfTablesMessage::DeleteSet(SetMessage { attributes: place(table, name) })
}

/// New elements.
pub(super) fn addition(table: &FwTable, name: &str, elements: Vec<Element>) -> NfTablesMessage {
    NfTablesMessage::NewSetElement(list(table, name, elements))
}

/// Elements that go.
pub(super) fn subtraction(table: &FwTable, name: &str, elements: Vec<Element>) -> NfTablesMessage {
    NfTablesMessage::DeleteSetElement(list(table, name, elements))
}

/// The elements of a set in portions for one message each.
pub(super) fn chunks(content: &FwSet) -> Vec<Vec<Element>> {
    let all: Vec<Element> = match content {
        FwSet::Links(names) => names.iter().map(|name| element(name_bytes(name), Vec::new())).collect(),
        FwSet::Addresses(_, addresses) => {
            addresses.iter().map(|ip| element(expr::bytes(*ip), Vec::new())).collect()
        }
        FwSet::Intervals(set) => {
            let ranges: Vec<IpRange> = set.ranges().collect();
            gap_before(&ranges).into_iter().chain(ranges.iter().flat_map(interval)).collect()
        }
    };
    all.chunks(AT_ONCE).map(<[Element]>::to_vec).collect()
}

/// The family of a set's addresses; none for names.
fn kind(content: &FwSet) -> Option<Family> {
    match content {
        FwSet::Links(_) => None,
        FwSet::Addresses(family, _) => Some(*family),
        FwSet::Intervals(set) => Some(set.family()),
    }
}

fn place(table: &FwTable, name: &str) -> Vec<SetAttribute> {
    vec![SetAttribute::Table(table.name.clone()), SetAttribute::Name(name.to_owned())]
}

fn list(table: &FwTable, name: &str, elements: Vec<Element>) -> SetElementMessage {
    let attributes = vec![
        SetElementList::Table(table.name.clone()),
        SetElementList::Set(name.to_owned()),
        SetElementList::Elements(elements),
    ];
    SetElementMessage { attributes }
}

fn element(key: Vec<u8>, more: Vec<SetElementAttribute>) -> Element {
    let key = SetElementAttribute::Key(DataAttribute::Value(key));
    // Flags come before the key, user data after it, as from `nft`.
    let (before, after): (Vec<_>, Vec<_>) =
        more.into_iter().partition(|a| matches!(a, SetElementAttribute::Other(_)));
    ListAttribute::Element(before.into_iter().chain([key]).chain(after).collect())
}

fn end(key: IpAddr) -> Element {
    let flags = DefaultNla::new(ELEMENT_FLAGS, INTERVAL_END.to_be_bytes().to_vec());
    element(expr::bytes(key), vec![SetElementAttribute::Other(flags)])
}

/// `nft` says that nothing before the first interval is in the set.
fn gap_before(ranges: &[IpRange]) -> Option<Element> {
    let first = ranges.first()?;
    let lowest = ip_from_u128(first.family(), 0);
    (first.first() != lowest).then(|| end(lowest))
}

/// The first address that is in, and the first one after it that is not.
fn interval(range: &IpRange) -> Vec<Element> {
    let family = range.family();
    let highest = match family {
        Family::V4 => u128::from(u32::MAX),
        Family::V6 => u128::MAX,
    };
    let (first, last) = (expr::bytes(range.first()), ip_to_u128(range.last()));
    if last == highest {
        return vec![element(first, vec![SetElementAttribute::UserData(OPEN.to_vec())])];
    }
    vec![element(first, Vec::new()), end(ip_from_u128(family, last + 1))]
}

fn name_bytes(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(NAME_LEN, 0);
    bytes
}
