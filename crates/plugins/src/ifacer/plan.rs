//! From what is there to what is to be there: pure.

use polynic_net::{
    Attr, Bond, Change, IfName, Link, LinkFact, LinkKind, LinkRef, NsFacts, Place, Plan, Vlan,
};

use super::config::{BondConfig, Config};

/// What to do on a node with these links.
///
/// # Errors
/// An interface is missing or in use, or a link of a wanted name is something else.
pub(super) fn plan(config: &Config, node: &NsFacts) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let base = match (config.interfaces.as_slice(), &config.bond) {
        ([one], _) => Some(one.clone()),
        (_, Some(bond)) => Some(bond.name.clone()),
        _ => None,
    };
    let Some(base) = base else { return Ok(plan) };
    if let Some(id) = config.vlan {
        refuse_other_vlan(node, &vlan_name(&base, id)?, id)?;
    }
    match (config.interfaces.as_slice(), &config.bond) {
        ([one], _) if config.vlan.is_some() => set_up(&mut plan, known(node, one)?),
        ([_], _) | (_, None) => {}
        (ports, Some(bond)) => join(&mut plan, node, ports, bond)?,
    }
    if let Some(id) = config.vlan {
        tag(&mut plan, node, &base, id)?;
    }
    Ok(plan)
}

fn known<'n>(node: &'n NsFacts, name: &IfName) -> Result<&'n LinkFact, String> {
    node.link(name).ok_or_else(|| format!("the node has no interface {name}"))
}

fn set_up(plan: &mut Plan, link: &LinkFact) {
    if !link.up {
        plan.ensure(Change::up(Place::Host, &link.name));
    }
}

/// Packets of one VLAN belong to one network, whose links have one name.
fn refuse_other_vlan(node: &NsFacts, wanted: &IfName, id: u16) -> Result<(), String> {
    let other = node.links.iter().find(|link| link.vlan_id == Some(id) && link.name != *wanted);
    match other {
        Some(other) => {
            Err(format!("cannot make {wanted}: interface {} of the node has VLAN {id} already", other.name))
        }
        None => Ok(()),
    }
}

fn vlan_name(base: &IfName, id: u16) -> Result<IfName, String> {
    IfName::new(format!("{base}.{id}")).map_err(|why| why.to_string())
}

/// The bond of these ports; one that is there is used as it is.
fn join(plan: &mut Plan, node: &NsFacts, ports: &[IfName], bond: &BondConfig) -> Result<(), String> {
    if let Some(there) = node.link(&bond.name) {
        if there.kind != "bond" {
            return Err(format!("interface {} of the node is no bond", bond.name));
        }
        set_up(plan, there);
        return Ok(());
    }
    let free: Vec<&LinkFact> = ports.iter().map(|port| free(node, port)).collect::<Result<_, _>>()?;
    let kind = LinkKind::Bond(Bond { mode: bond.mode, options: bond.chosen.options.clone() });
    plan.ensure(Change::create_link(Place::Host, Link::new(bond.name.clone(), kind)));
    // The first port that joins carries the traffic, until a better one is there.
    let active = |port: &&&LinkFact| Some(&port.name) == bond.chosen.active.as_ref();
    for port in free.iter().filter(active).chain(free.iter().filter(|port| !active(port))) {
        if port.up {
            plan.ensure(Change::attr(Place::Host, &port.name, Attr::Up(true), Attr::Up(false)));
        }
        let master = Attr::Master(Some(bond.name.clone()));
        // The kernel sets it up as it joins.
        plan.ensure(Change::attr(Place::Host, &port.name, Attr::Master(None), master));
    }
    plan.ensure(Change::up(Place::Host, &bond.name));
    Ok(())
}

fn free<'n>(node: &'n NsFacts, port: &IfName) -> Result<&'n LinkFact, String> {
    let link = known(node, port)?;
    let Some(master) = link.master else { return Ok(link) };
    let master =
        node.link_by_index(master).map_or_else(|| "another link".to_owned(), |link| link.name.to_string());
    Err(format!("interface {port} of the node cannot join a bond: it is a port of {master}"))
}

/// The VLAN link on a base, which may be one that this plan makes.
fn tag(plan: &mut Plan, node: &NsFacts, base: &IfName, id: u16) -> Result<(), String> {
    let name = vlan_name(base, id)?;
    if let Some(there) = node.link(&name) {
        if there.kind != "vlan" || there.vlan_id.is_some_and(|own| own != id) {
            return Err(format!("interface {name} of the node does not have VLAN {id}"));
        }
        set_up(plan, there);
        return Ok(());
    }
    let parent = LinkRef { place: Place::Host, name: base.clone() };
    let link = Link::new(name.clone(), LinkKind::Vlan(Vlan { parent, id }));
    plan.ensure(Change::create_link(Place::Host, link));
    plan.ensure(Change::up(Place::Host, &name));
    Ok(())
}
