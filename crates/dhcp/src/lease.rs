//! What a server gave, and what it means for the pod's interface.

use std::net::Ipv4Addr;

use polynic_cni::{Ip, Route, Success};
use polynic_net::{IpNet, Ipv4Net, Mac, scope};
use serde::{Deserialize, Serialize};

use crate::message::Message;
use crate::options::code;

/// How long a lease lasts if the server does not say: an hour.
const DEFAULT_SECONDS: u32 = 3600;
/// A lease that never ends.
const FOREVER: u32 = u32::MAX;

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address in its network.
    pub address: Ipv4Net,
    /// Who gave it.
    pub server: Ipv4Addr,
    /// The station that the answer came from: the server, or its relay.
    pub server_mac: Mac,
    /// How long it lasts in seconds; `u32::MAX`: for ever.
    pub seconds: u32,
    /// After how many seconds its server is asked for more (T1).
    pub renew_after: u32,
    /// After how many seconds any server is asked for more (T2).
    pub rebind_after: u32,
    /// The first router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// Routes, the default route among them.
    pub routes: Vec<LeasedRoute>,
}

/// A route that a server gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasedRoute {
    /// Destination.
    pub dst: Ipv4Net,
    /// Next hop; absent: the destination is on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<Ipv4Addr>,
}

/// Why an acknowledgement is no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The server names no network (text of the replaced daemon).
    #[error("DHCP option Subnet Mask not found in DHCPACK")]
    NoMask,
    /// The mask has holes, or everything is in the network.
    #[error("DHCP option Subnet Mask is no mask of a network: {0}")]
    BadMask(Ipv4Addr),
    /// The address is none that an interface can have.
    #[error("the server gives {0}, which is no address for an interface")]
    BadAddress(Ipv4Addr),
    /// The lease ends when it begins.
    #[error("the server gives a lease of 0 seconds")]
    NoTime,
    /// The server does not say who it is.
    #[error("DHCP option Server Identifier not found in DHCPACK")]
    NoServer,
}

impl Lease {
    /// What an acknowledgement says. What it leaves out of an earlier lease stays as it was.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn read(ack: &Message, from: Mac, earlier: Option<&Self>) -> Result<Self, LeaseError> {
        let known = earlier.map(|lease| lease.address.netmask());
        let mask = ack.options.ip(code::SUBNET_MASK).or(known).ok_or(LeaseError::NoMask)?;
        let address = Ipv4Net::with_netmask(ack.yiaddr, mask).ok().filter(|net| net.prefix_len() > 0);
        let address = address.ok_or(LeaseError::BadMask(mask))?;
        if !is_usable(ack.yiaddr) {
            return Err(LeaseError::BadAddress(ack.yiaddr));
        }
        let server = ack.options.ip(code::SERVER).or(earlier.map(|lease| lease.server));
        let seconds = ack.options.number(code::LEASE_TIME).unwrap_or(DEFAULT_SECONDS);
        if seconds == 0 {
            return Err(LeaseError::NoTime);
        }
        let (renew_after, rebind_after) = times(ack, seconds);
        let gateway = ack.options.ip(code::ROUTERS);
        Ok(Self {
            address,
            server: server.ok_or(LeaseError::NoServer)?,
            server_mac: from,
            seconds,
            renew_after,
            rebind_after,
            gateway,
            routes: routes(ack, gateway),
        })
    }

    /// Whether it lasts for ever.
    pub fn is_forever(&self) -> bool {
        self.seconds == FOREVER
    }

    /// The result of ADD. `priority` is the metric of all routes.
    pub fn result(&self, priority: Option<u32>) -> Success {
        let route = |route: &LeasedRoute| Route {
            priority,
            // Only a route without next hop has a scope of its own: that of the link.
            scope: route.gw.is_none().then_some(scope::LINK),
            ..Route::new(IpNet::V4(route.dst), route.gw.map(Into::into))
        };
        let address = Ip { gateway: self.gateway.map(Into::into), ..Ip::new(IpNet::V4(self.address)) };
        Success { ips: vec![address], routes: self.routes.iter().map(route).collect(), ..Success::default() }
    }
}

/// Not every address is one of a station (RFC 1122 section 3.2.1.3).
fn is_usable(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && first < 240 && !address.is_loopback() && !address.is_multicast()
}

/// T1 and T2: as the server says if that makes sense, else one half and 85 % of the lease, as the replaced daemon has it. Never at once:
/// each answer would bring the next question.
fn times(ack: &Message, seconds: u32) -> (u32, u32) {
    let half = (seconds / 2).max(1);
    let late = ((u64::from(seconds) * 85 / 100) as u32).max(1);
    let given = |code, default| {
        let given = ack.options.number(code).filter(|t| (1..seconds).contains(t));
        given.unwrap_or(default)
    };
    let (renew, rebind) = (given(code::T1, half), given(code::T2, late));
    if renew <= rebind { (renew, rebind) } else { (half, late) }
}

/// Option 121 alone if it is there (RFC 3442), else option 33 and the default route.
fn routes(ack: &Message, gateway: Option<Ipv4Addr>) -> Vec<LeasedRoute> {
    let classless = ack.options.get(code::CLASSLESS_ROUTES).map(classless).unwrap_or_default();
    if !classless.is_empty() {
        return classless;
    }
    let mut routes = ack.options.get(code::STATIC_ROUTES).map(classful).unwrap_or_default();
    routes.extend(gateway.map(|gw| LeasedRoute { dst: Ipv4Net::default(), gw: Some(gw) }));
    routes
}

/// Prefix length, as many bytes of the destination as it takes, next hop. What does not end properly is not there.
fn classless(mut bytes: &[u8]) -> Vec<LeasedRoute> {
    let mut routes = Vec::new();
    while let Some((&length, rest)) = bytes.split_first() {
        let Some((given, rest)) = rest.split_at_checked(usize::from(length).div_ceil(8)) else { break };
        let Some((gw, rest)) = rest.split_first_chunk::<4>() else { break };
        let mut dst = [0; 4];
        dst.iter_mut().zip(given).for_each(|(to, from)| *to = *from);
        let Ok(dst) = Ipv4Net::new(dst.into(), length) else { break };
        let gw = Ipv4Addr::from(*gw);
        routes.push(LeasedRoute { dst: dst.trunc(), gw: (!gw.is_unspecified()).then_some(gw) });
        bytes = rest;
    }
    routes
}

/// Pairs of destination and next hop, of networks of classes A, B and C. The default route is not allowed here (RFC 2132, 5.8).
fn classful(bytes: &[u8]) -> Vec<LeasedRoute> {
    let pairs = bytes.chunks_exact(8).filter_map(|pair| {
        let dst = Ipv4Addr::from(*pair.first_chunk::<4>()?);
        let gw = Ipv4Addr::from(*pair.get(4..)?.first_chunk::<4>()?);
        let length = match dst.octets()[0] {
            0 => return None,
            1..128 => 8,
            128..192 => 16,
            192..224 => 24,
            _ => return None,
        };
        Some(LeasedRoute { dst: Ipv4Net::new(dst, length).ok()?.trunc(), gw: Some(gw) })
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Kind;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn ack(options: &[(u8, &[u8])]) -> Message {
        let asked = Message::request(Kind::Request, 1, MAC);
        let mut ack = Message::reply(Kind::Ack, &asked, Ipv4Addr::new(10, 0, 0, 9));
        ack.options.set(code::SERVER, vec![10, 0, 0, 1]);
        ack.options.set(code::SUBNET_MASK, vec![255, 255, 255, 0]);
        options.iter().for_each(|(code, value)| ack.options.set(*code, value.to_vec()));
        ack
    }

    fn lease(options: &[(u8, &[u8])]) -> Lease {
        Lease::read(&ack(options), MAC, None).unwrap()
    }

    fn routes(lease: &Lease) -> Vec<String> {
        let text =
            |r: &LeasedRoute| format!("{} via {}", r.dst, r.gw.map_or("link".into(), |gw| gw.to_string()));
        lease.routes.iter().map(text).collect()
    }

    #[test]
    fn without_further_options_there_is_a_default_route_and_an_hour() {
        let lease = lease(&[(code::ROUTERS, &[10, 0, 0, 1, 10, 0, 0, 2])]);
        assert_eq!(lease.address.to_string(), "10.0.0.9/24");
        assert_eq!(routes(&lease), ["0.0.0.0/0 via 10.0.0.1"]);
        assert_eq!((lease.seconds, lease.renew_after, lease.rebind_after), (3600, 1800, 3060));
    }

    #[test]
    fn option_33_stands_beside_the_default_route_and_121_alone() {
        let static_routes: &[u8] =
            &[192, 168, 7, 0, 10, 0, 0, 3, 172, 16, 0, 0, 10, 0, 0, 4, 0, 0, 0, 0, 1, 1, 1, 1];
        let router: &[u8] = &[10, 0, 0, 1];
        let both = [(code::ROUTERS, router), (code::STATIC_ROUTES, static_routes)];
        let expected =
            ["192.168.7.0/24 via 10.0.0.3", "172.16.0.0/16 via 10.0.0.4", "0.0.0.0/0 via 10.0.0.1"];
        assert_eq!(routes(&lease(&both)), expected);
        let classless: &[u8] =
            &[0, 10, 0, 0, 2, 20, 172, 20, 16, 10, 0, 0, 5, 32, 10, 9, 9, 9, 0, 0, 0, 0, 24, 1];
        let all = [both[0], both[1], (code::CLASSLESS_ROUTES, classless)];
        let lease = lease(&all);
        let expected = ["0.0.0.0/0 via 10.0.0.2", "172.20.16.0/20 via 10.0.0.5", "10.9.9.9/32 via link"];
        assert_eq!(routes(&lease), expected);
        let result = lease.result(Some(50));
        assert_eq!(result.routes[2].scope, Some(scope::LINK));
        assert!(result.routes.iter().all(|r| r.priority == Some(50)));
        assert_eq!(result.ips[0].gateway, Some("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn times_that_make_no_sense_are_replaced() {
        let seconds = |n: u32| n.to_be_bytes();
        let lease = |t1: u32, t2: u32| {
            lease(&[(51, &seconds(100)), (code::T1, &seconds(t1)), (code::T2, &seconds(t2))])
        };
        let times = |lease: Lease| (lease.renew_after, lease.rebind_after);
        assert_eq!(times(lease(10, 20)), (10, 20));
        assert_eq!(times(lease(30, 20)), (50, 85));
        assert_eq!(times(lease(100, 4000)), (50, 85));
        assert_eq!(times(lease(0, 0)), (50, 85));
    }

    #[test]
    fn what_no_interface_can_have_is_no_lease() {
        let given = |address: [u8; 4], options: &[(u8, &[u8])]| {
            let ack = Message { yiaddr: address.into(), ..ack(options) };
            Lease::read(&ack, MAC, None)
        };
        for address in [[0, 0, 0, 0], [0, 0, 0, 9], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255]] {
            assert_eq!(given(address, &[]), Err(LeaseError::BadAddress(address.into())));
        }
        assert!(given([169, 254, 7, 7], &[]).is_ok());
        assert!(matches!(given([10, 0, 0, 9], &[(1, &[0; 4])]), Err(LeaseError::BadMask(_))));
        assert_eq!(given([10, 0, 0, 9], &[(51, &[0; 4])]), Err(LeaseError::NoTime));
        let shortest = given([10, 0, 0, 9], &[(51, &[0, 0, 0, 1])]).unwrap();
        assert_eq!((shortest.renew_after, shortest.rebind_after), (1, 1));
        // Too short to be a number: as if it were not there.
        assert_eq!(given([10, 0, 0, 9], &[(51, &[0, 1])]).unwrap().seconds, 3600);
    }

    #[test]
    fn an_acknowledgement_needs_a_mask_unless_there_was_one() {
        let mut bare = ack(&[]);
        bare.options = crate::options::Options::default();
        assert_eq!(Lease::read(&bare, MAC, None), Err(LeaseError::NoMask));
        let earlier = lease(&[]);
        assert_eq!(Lease::read(&bare, MAC, Some(&earlier)).unwrap().address, earlier.address);
        let hole = ack(&[(code::SUBNET_MASK, &[255, 0, 255, 0])]);
        assert!(matches!(Lease::read(&hole, MAC, None), Err(LeaseError::BadMask(_))));
    }
}
