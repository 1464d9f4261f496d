//! Building a namespace for a test, outside the count of operations.

use polynic_net::{
    Address, Attr, AttrChange, Change, IfName, IpNet, Mac, Object, Place, Route, Sysctl, SysctlKey, VfFact,
    VfLinkState, VfRate, VfVlan,
};

use super::link::{End, Wire};
use super::world::{HOST, Refusal, World};

/// Builds in one namespace. Everything obeys the fake kernel's rules.
///
/// # Panics
/// Every method panics where the kernel would refuse, or where a name or address is none: the test is wrong, and it is
/// best told so at that line.
#[derive(Debug)]
pub struct Setup<'a> {
    world: &'a mut World,
    space: u32,
}

impl<'a> Setup<'a> {
    pub(super) fn new(world: &'a mut World, space: u32) -> Self {
        Self { world, space }
    }

    /// A hardware link with MTU 1500 that is up and has a carrier.
    #[track_caller]
    pub fn physical(&mut self, name: &str) -> &mut Self {
        let end = End { space: self.space, name: parsed(name) };
        self.must(name, |world, _| world.insert_link(end, Wire::Physical, None, 1500));
        self.up(name)
    }

    /// A physical function with `count` virtual functions in their initial state.
    #[track_caller]
    pub fn functions(&mut self, name: &str, count: u32) -> &mut Self {
        self.physical(name);
        let link: IfName = parsed(name);
        self.must(name, |world, space| {
            world.space_mut(space)?.link_mut(&link)?.vfs = (0..count).map(|at| new_vf(&link, at)).collect();
            Ok(())
        })
    }

    /// Starts firewalld, whose zones have no sources yet.
    pub fn firewalld(&mut self) -> &mut Self {
        self.must("firewalld", |world, space| {
            world.space_mut(space)?.zone_sources = Some(Vec::new());
            Ok(())
        })
    }

    /// Somebody calls `nft flush ruleset`.
    pub fn flush_firewall(&mut self) -> &mut Self {
        self.must("flush ruleset", |world, space| {
            world.space_mut(space)?.firewall = Default::default();
            Ok(())
        })
    }

    /// Brings a link up.
    #[track_caller]
    pub fn up(&mut self, link: &str) -> &mut Self {
        self.attr(link, Attr::Up(false), Attr::Up(true))
    }

    /// Changes the MTU of a link.
    #[track_caller]
    pub fn mtu(&mut self, link: &str, from: u32, to: u32) -> &mut Self {
        self.attr(link, Attr::Mtu(from), Attr::Mtu(to))
    }

    /// Gives a link another name besides its own.
    #[track_caller]
    pub fn other_name(&mut self, link: &str, other: &str) -> &mut Self {
        let name: IfName = parsed(link);
        self.must(link, |world, space| {
            world.space_mut(space)?.link_mut(&name)?.other_names.push(other.to_owned());
            Ok(())
        })
    }

    /// Sets the VLAN in which ports of a bridge start; 0: none.
    #[track_caller]
    pub fn vlan_default(&mut self, bridge: &str, vid: u16) -> &mut Self {
        let name: IfName = parsed(bridge);
        self.must(bridge, |world, space| {
            world.space_mut(space)?.link_mut(&name)?.vlan_default = vid;
            Ok(())
        })
    }

    /// Sets the hardware address of a link.
    #[track_caller]
    pub fn mac(&mut self, link: &str, mac: &str) -> &mut Self {
        let (name, mac): (IfName, Mac) = (parsed(link), parsed(mac));
        self.must(link, |world, space| {
            let link = world.space_mut(space)?.link_mut(&name)?;
            (link.mac, link.mac_chosen) = (mac, true);
            Ok(())
        })
    }

    /// Puts an address like `10.0.0.5/24` on a link.
    #[track_caller]
    pub fn address(&mut self, link: &str, net: &str) -> &mut Self {
        let address = Address::new(&parsed(link), parsed(net));
        self.must(net, |world, space| world.space_mut(space)?.add_address(&address))
    }

    /// Adds a route to `dst` (`default` = 0.0.0.0/0) through `gw` on a link.
    #[track_caller]
    pub fn route(&mut self, dst: &str, gw: Option<&str>, link: &str) -> &mut Self {
        let dst: IpNet = parsed(if dst == "default" { "0.0.0.0/0" } else { dst });
        let route = Route::new(dst, &parsed(link));
        let route = match gw {
            Some(gw) => route.via(parsed(gw)),
            None => route.link_scope(),
        };
        self.exact_route(route)
    }

    /// Adds a route as it is.
    #[track_caller]
    pub fn exact_route(&mut self, route: Route) -> &mut Self {
        self.must(&route.to_string(), |world, space| world.space_mut(space)?.add_route(&route))
    }

    /// Writes a setting, whatever its value was.
    #[track_caller]
    pub fn sysctl(&mut self, key: &str, value: &str) -> &mut Self {
        let key: SysctlKey = match SysctlKey::new(key) {
            Ok(key) => key,
            Err(e) => panic!("{e}"),
        };
        self.must(key.as_str(), |world, space| {
            let space = world.space_mut(space)?;
            let before = space.sysctls.get(&key).cloned().ok_or(crate::Errno::ENOENT)?;
            let before = Sysctl { key: key.clone(), value: before };
            let after = Sysctl { key: key.clone(), value: value.to_owned() };
            space.change_sysctl(&polynic_net::Diff::replace(before, after))
        })
    }

    /// Applies any change in this namespace; [`Place::Host`] in it is the host, [`Place::Pod`] this namespace.
    #[track_caller]
    pub fn change(&mut self, change: &Change) -> &mut Self {
        let pod = Some(self.space).filter(|s| *s != HOST);
        self.must(&change.to_string(), |world, _| world.change(pod, change))
    }

    #[track_caller]
    fn attr(&mut self, link: &str, before: Attr, after: Attr) -> &mut Self {
        let change = AttrChange { link: parsed(link), before, after, unsteady: false };
        let what = Change { place: Place::Host, object: Object::Attr(change.clone()) }.to_string();
        self.must(&what, |world, space| world.set_attr(space, &change))
    }

    #[track_caller]
    fn must(&mut self, what: &str, run: impl FnOnce(&mut World, u32) -> Result<(), Refusal>) -> &mut Self {
        if let Err(refusal) = run(self.world, self.space) {
            panic!("{}", refusal.explain(what.to_owned()));
        }
        self.world.settle();
        self
    }
}

/// As most drivers begin: no address, no tag, no bounds, spoof check on.
fn new_vf(link: &IfName, index: u32) -> VfFact {
    VfFact {
        mac: Some(Mac([0; 6])),
        vlan: Some(VfVlan::default()),
        rate: Some(VfRate::default()),
        spoof_check: Some(true),
        trust: Some(false),
        link_state: Some(VfLinkState::Auto),
        ..VfFact::new(link, index)
    }
}

#[track_caller]
fn parsed<T>(text: &str) -> T
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    match text.parse() {
        Ok(value) => value,
        Err(e) => panic!("{text:?}: {e}"),
    }
}
