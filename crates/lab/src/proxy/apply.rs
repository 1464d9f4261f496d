//! Replacing a node's rules, through the one door to the kernel.

use polynic_kernel::{Door, Kernel, RealDoor};
use polynic_net::{Change, Diff, FwObject, FwTable, Needs, Object, Place};

use super::plan::Rules;

/// Makes the rules of both families what they should be. The calling thread is in the node's network.
pub fn apply(rules: &Rules) -> Result<(), String> {
    let mut kernel = RealDoor::default().open(None).map_err(|why| why.to_string())?;
    for (table, objects) in rules.tables() {
        replace(kernel.as_mut(), table, objects).map_err(|why| format!("table {}: {why}", table.name))?;
    }
    Ok(())
}

/// One batch: packets meet either the old rules or the new ones.
fn replace(kernel: &mut dyn Kernel, table: &FwTable, objects: &[FwObject]) -> Result<(), String> {
    let mut needs = Needs::default();
    needs.host.firewall.push(table.clone());
    let facts = kernel.observe(&needs).map_err(|why| why.to_string())?;
    let mut changes: Vec<Change> = removal_order(&facts.host.firewall).into_iter().map(remove).collect();
    changes.extend(objects.iter().cloned().map(|object| Change::add_firewall(Place::Host, object)));
    kernel.apply_firewall(&changes).map_err(|why| why.to_string())
}

/// Rules hold chains, and chains hold their table.
fn removal_order(present: &[FwObject]) -> Vec<FwObject> {
    let rank = |object: &FwObject| match object {
        FwObject::Rule(_) => 0,
        FwObject::Chain(_) => 1,
        FwObject::Table(_) => 2,
    };
    let mut all = present.to_vec();
    all.sort_by_key(rank);
    all
}

fn remove(object: FwObject) -> Change {
    Change { place: Place::Host, object: Object::Firewall(Diff { before: Some(object), after: None }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_kernel::FakeDoor;
    use polynic_net::FwFamily;

    use super::super::plan::tests::{config, service, slice};
    use super::super::plan::{self};

    #[test]
    fn rules_replace_those_before_them() {
        let mut kernel = FakeDoor::new().open(None).unwrap();
        for ready in [true, false, true] {
            let rules = plan::rules(&[service(serde_json::json!({}))], &[slice(ready)], &config());
            for (table, objects) in rules.tables() {
                replace(kernel.as_mut(), table, objects).unwrap();
            }
            let mut needs = Needs::default();
            needs.host.firewall.push(FwTable::new(FwFamily::Ip, plan::TABLE));
            let present = kernel.observe(&needs).unwrap().host.firewall;
            let (_, wanted) = rules.tables().next().unwrap();
            assert_eq!(present.len(), wanted.len());
        }
    }
}
