//! What replaced plugins left in the tables of iptables, where its nf_tables variant keeps them: a chain for each container, a jump
//! to it with a comment that names network and container (spec/plugins.md 0.5).

use polynic_net::{Change, Diff, FwFamily, FwObject, FwTable, Needs, NsFacts, Object, Place};

use crate::{Call, comment};

/// The longest name that iptables gives a chain.
const MAX_CHAIN: usize = 28;

/// The tables for address translation.
fn nat_tables() -> [FwTable; 2] {
    [FwFamily::Ip, FwFamily::Ip6].map(|family| FwTable::new(family, "nat"))
}

/// What [`leftovers`] must know.
pub(crate) fn needs(needs: &mut Needs) {
    needs.host.firewall.extend(nat_tables());
}

/// A container's chain and the jumps to it.
pub(crate) struct Chain<'a> {
    /// What its name begins with.
    pub(crate) prefix: &'a str,
    /// Where the jumps are.
    pub(crate) from: &'a str,
    /// What their comment begins with.
    pub(crate) comment: &'a str,
}

impl Chain<'_> {
    fn name(&self, call: &Call<'_>) -> String {
        let hash = comment::hash(&format!("{}{}", call.network(), call.container_id()));
        let mut name = format!("{}{hash}", self.prefix);
        name.truncate(MAX_CHAIN);
        name
    }

    fn comment(&self, call: &Call<'_>) -> String {
        let text = format!("{}name: {:?} id: {:?}", self.comment, call.network(), call.container_id());
        match text.get(..253) {
            Some(start) if text.len() > 256 => format!("{start}..."),
            _ => text,
        }
    }

    /// What is there of it: the jumps, the chain's rules, the chain. It knows no interface, so it is all attachments' of a network
    /// in a container.
    pub(crate) fn leftovers(&self, call: &Call<'_>, host: &NsFacts) -> Vec<Change> {
        let (name, comment) = (self.name(call), self.comment(call));
        let ours = |object: &&FwObject| {
            nat_tables().contains(object.table())
                && match object {
                    FwObject::Rule(r) => r.chain == name || r.chain == self.from && r.comment == comment,
                    FwObject::Chain(chain) => chain.name == name,
                    FwObject::Table(_) => false,
                }
        };
        let is_rule = |object: &&FwObject| matches!(object, FwObject::Rule(_));
        let found: Vec<&FwObject> = host.firewall.iter().filter(ours).collect();
        let rules = found.iter().copied().filter(is_rule);
        let chains = found.iter().copied().filter(|object| !is_rule(object));
        let delete =
            |o: &FwObject| Change { place: Place::Host, object: Object::Firewall(Diff::delete(o.clone())) };
        rules.chain(chains).map(delete).collect()
    }
}
