//! Random worlds, and packets in them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use polynic_explain::{Flow, TCP, UDP};
use polynic_kernel::survey::Surveyor;
use polynic_kernel::{Door, RealDoor};
use polynic_net::stack::{FibKind, Stack};
use polynic_net::{Address, Change, Family, IfName, IpNet, Link, LinkKind, Place};

use crate::random::Random;
use crate::talk::{self, Kernel, Message};

const CREATE: u16 = 0x400;
const EXCL: u16 = 0x200;
const APPEND: u16 = 0x800;
const LINKS: [&str; 3] = ["i0", "i1", "i2"];
const TABLES: [u32; 5] = [254, 100, 101, 102, 300];
const ADDRESSES: [(&str, &str); 9] = [
    ("i0", "10.0.0.2/24"),
    ("i1", "10.0.1.2/24"),
    ("i1", "10.0.1.3/24"),
    ("i1", "10.3.3.1/32"),
    ("i2", "10.1.0.2/16"),
    ("i0", "fd00::2/64"),
    ("i1", "fd00:0:0:1::2/64"),
    ("i1", "fd00:0:0:1::3/64"),
    ("i2", "fd00:0:0:2::2/64"),
];

/// Links, addresses, settings, routes and rules.
pub fn build(random: &mut Random) {
    links();
    settings(random);
    let kernel = Kernel::open();
    for _ in 0..40 {
        let family = family(random);
        kernel.send(&route(random, family));
    }
    for _ in 0..14 {
        let family = family(random);
        kernel.send(&rule(random, family));
    }
}

/// The kernel installs what belongs to IPv6 addresses a little later.
pub fn settled(surveyor: &mut Surveyor) -> Stack {
    loop {
        let stack = surveyor.routing().unwrap();
        let has_route =
            |ip: IpAddr| stack.routes.iter().any(|r| r.kind == FibKind::Local && r.dst == IpNet::from(ip));
        if stack.addresses.iter().all(|a| !a.fact.tentative && has_route(a.fact.net.addr())) {
            return stack;
        }
        std::thread::yield_now();
    }
}

fn links() {
    // Link-local addresses would come at any time.
    fs::write("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1").unwrap();
    let mut door = RealDoor::default().open(None).unwrap();
    let mut apply = |change: Change| door.apply(&change).unwrap();
    apply(Change::up(Place::Host, &IfName::loopback()));
    for link in LINKS {
        let name = IfName::new(link).unwrap();
        apply(Change::create_link(Place::Host, Link::new(name.clone(), LinkKind::Ifb)));
        apply(Change::up(Place::Host, &name));
    }
    for (link, net) in ADDRESSES {
        let address = Address::new(&IfName::new(link).unwrap(), net.parse().unwrap());
        apply(Change::add_address(Place::Host, Address { nodad: true, ..address }));
    }
}

fn settings(random: &mut Random) {
    let set = |family: &str, key: &str, value: u64| {
        fs::write(format!("/proc/sys/net/{family}/conf/{key}"), value.to_string()).unwrap();
    };
    let forwarding = [random.below(4).min(1), random.below(2)];
    set("ipv4", "all/forwarding", forwarding[0]);
    set("ipv6", "all/forwarding", forwarding[1]);
    set("ipv4", "all/src_valid_mark", random.below(2));
    set("ipv4", "all/rp_filter", u64::from(random.one_in(6)) * random.below(3));
    for link in LINKS {
        set("ipv4", &format!("{link}/rp_filter"), random.below(3));
        set("ipv4", &format!("{link}/accept_local"), u64::from(random.one_in(4)));
        set("ipv4", &format!("{link}/send_redirects"), random.below(2));
    }
    set("ipv4", "all/send_redirects", random.below(2));
}

fn family(random: &mut Random) -> Family {
    random.pick(&[Family::V4, Family::V6])
}

/// A small universe, so that things meet.
fn address(random: &mut Random, family: Family) -> IpAddr {
    let part = |random: &mut Random| random.below(4) as u8;
    let (a, b, c) = (part(random), part(random), 1 + random.below(6) as u8);
    match family {
        Family::V4 => Ipv4Addr::new(10, a, b, c).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0, u16::from(a), u16::from(b), 0, 0, 0, u16::from(c)).into(),
    }
}

fn net(random: &mut Random, family: Family) -> IpNet {
    let ip = address(random, family);
    let length = match family {
        Family::V4 => random.pick(&[0, 8, 14, 16, 22, 24, 30, 32]),
        Family::V6 => random.pick(&[0, 16, 46, 48, 62, 64, 126, 128]),
    };
    IpNet::new(ip, length).unwrap().trunc()
}

fn own(random: &mut Random, family: Family) -> IpAddr {
    let of_family = ADDRESSES.iter().map(|(_, net)| net.parse::<IpNet>().unwrap().addr());
    let of_family: Vec<IpAddr> = of_family.filter(|ip| Family::of(*ip) == family).collect();
    random.pick(&of_family)
}

fn number(family: Family) -> u8 {
    if family == Family::V4 { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn index(link: usize) -> u32 {
    let text = fs::read_to_string("/proc/thread-self/net/dev_snmp6/".to_owned() + LINKS[link]).unwrap();
    text.lines().next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A gateway that can be reached by the link.
fn gateway(random: &mut Random, family: Family, link: usize) -> IpAddr {
    let last = 4 + random.below(3) as u8;
    match (family, link) {
        (Family::V4, 2) => Ipv4Addr::new(10, 1, 0, last).into(),
        (Family::V4, link) => Ipv4Addr::new(10, 0, link as u8, last).into(),
        (Family::V6, link) => Ipv6Addr::new(0xfd00, 0, 0, link as u16, 0, 0, 0, u16::from(last)).into(),
    }
}

fn route(random: &mut Random, family: Family) -> Message {
    let dst = net(random, family);
    let table = random.pick(&TABLES);
    let kind = match random.below(12) {
        0 => libc::RTN_BLACKHOLE,
        1 => libc::RTN_UNREACHABLE,
        2 => libc::RTN_PROHIBIT,
        3 => libc::RTN_THROW,
        _ => libc::RTN_UNICAST,
    };
    let flags = CREATE | random.pick(&[EXCL, APPEND, 0]);
    let short = u8::try_from(table).unwrap_or_default();
    let mut header = [number(family), dst.prefix_len(), 0, 0, short, 4, 0, kind, 0, 0, 0, 0];
    let through_gateway = !random.one_in(3);
    if kind == libc::RTN_UNICAST && !through_gateway && family == Family::V4 {
        header[6] = libc::RT_SCOPE_LINK;
    }
    let mut message = Message::new(libc::RTM_NEWROUTE, flags, header);
    message.ip(libc::RTA_DST, dst.addr());
    message.number(libc::RTA_TABLE, table);
    let metric = random.pick(&[0, 0, 10, 20]);
    if metric > 0 {
        message.number(libc::RTA_PRIORITY, metric);
    }
    if kind == libc::RTN_UNICAST {
        hops(random, family, through_gateway, &mut message);
        if random.one_in(5) {
            message.ip(libc::RTA_PREFSRC, own(random, family));
        }
    }
    message
}

fn hops(random: &mut Random, family: Family, through_gateway: bool, message: &mut Message) {
    let link = random.below(3) as usize;
    if !through_gateway {
        message.number(libc::RTA_OIF, index(link));
        return;
    }
    if !random.one_in(4) {
        message.number(libc::RTA_OIF, index(link));
        message.ip(libc::RTA_GATEWAY, gateway(random, family, link));
        return;
    }
    let mut all = Vec::new();
    for link in [link, (link + 1) % 3] {
        let mut attributes = Vec::new();
        talk::append(&mut attributes, libc::RTA_GATEWAY, &talk::octets(gateway(random, family, link)));
        all.extend((8 + attributes.len() as u16).to_ne_bytes());
        all.extend([0, 0]);
        all.extend(index(link).to_ne_bytes());
        all.extend(attributes);
    }
    message.put(libc::RTA_MULTIPATH, &all);
}

fn rule(random: &mut Random, family: Family) -> Message {
    let (table, priority) = (random.pick(&TABLES), 1 + random.below(20) as u32 * 5);
    let action = match random.below(14) {
        0 => 2,
        1 => 3,
        2 => 6,
        3 => 7,
        4 => 8,
        _ => 1,
    };
    let invert = u8::from(random.one_in(10)) * 2;
    let mut header = [number(family), 0, 0, 0, 0, 0, 0, action, invert, 0, 0, 0];
    let (from, to) = (net(random, family), net(random, family));
    let (with_from, with_to) = (random.one_in(3), random.one_in(3));
    header[1] = if with_to { to.prefix_len() } else { 0 };
    header[2] = if with_from { from.prefix_len() } else { 0 };
    let mut message = Message::new(libc::RTM_NEWRULE, CREATE | EXCL, header);
    message.number(6, priority);
    message.number(15, if action == 1 { table } else { 0 });
    if with_to && to.prefix_len() > 0 {
        message.ip(1, to.addr());
    }
    if with_from && from.prefix_len() > 0 {
        message.ip(2, from.addr());
    }
    if action == 2 {
        message.number(4, priority + random.below(8) as u32 * 5 + 5);
    }
    selectors(random, action, &mut message);
    message
}

fn selectors(random: &mut Random, action: u8, message: &mut Message) {
    let name = |link: &str| [link.as_bytes(), &[0]].concat();
    if random.one_in(5) {
        message.put(3, &name(random.pick(&["i0", "i1", "lo", "none"])));
    }
    if random.one_in(7) {
        message.put(17, &name(random.pick(&["i0", "i1", "none"])));
    }
    if random.one_in(3) {
        message.number(10, random.below(4) as u32);
        message.number(16, random.pick(&[1, 3, u32::MAX]));
    }
    if random.one_in(7) {
        message.put(22, &[random.pick(&[TCP, UDP])]);
    }
    if random.one_in(8) {
        let first = 80 + random.below(3) as u16;
        message.put(24, &[first.to_ne_bytes(), (first + 1).to_ne_bytes()].concat());
    }
    if action == 1 && random.one_in(3) {
        message.number(14, random.pick(&[0, 8, 16, 24, 48]));
    }
}

/// A packet of this host, or one that comes in.
pub fn packet(random: &mut Random, stack: &Stack) -> Flow {
    let family = family(random);
    let dst = if random.one_in(8) { own(random, family) } else { address(random, family) };
    let mut flow = Flow::to(dst, Some(80 + random.below(4) as u16));
    flow.protocol = random.pick(&[TCP, UDP]);
    flow.source_port = Some(1000);
    flow.mark = random.below(4) as u32;
    let link = stack.link_named(random.pick(&LINKS)).unwrap().fact.index;
    match random.below(6) {
        0 => flow.src = Some(own(random, family)),
        1 => flow.oif = Some(link),
        2 => (flow.oif, flow.src) = (Some(link), Some(own(random, family))),
        3 | 4 => {
            flow.iif = Some(link);
            flow.src = Some(if random.one_in(8) { own(random, family) } else { address(random, family) });
        }
        _ => {}
    }
    flow
}
