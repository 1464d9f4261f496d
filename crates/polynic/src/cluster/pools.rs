//! How full the pools are, and who holds what.

use std::fmt::Write as _;

use polynic_cluster::survey::{Holder, Survey, Usage};
use serde_json::{Value, json};

/// Cells of a bar.
const CELLS: usize = 20;

/// A line per pool, with a bar of how full it is.
pub(super) fn overview(survey: &Survey) -> String {
    let usages = survey.usages();
    if usages.is_empty() && survey.unknown.contains(&"SpiderIPPool") {
        return "there are no pools: this cluster does not know SpiderIPPool (no definitions installed)\n"
            .to_owned();
    }
    if usages.is_empty() && survey.unreadable.is_empty() {
        return "there are no pools\n".to_owned();
    }
    let wide =
        |of: fn(&Usage<'_>) -> usize, title: usize| usages.iter().map(of).max().unwrap_or(0).max(title);
    let name = wide(|u| u.pool.name.len(), 4);
    let subnet = wide(|u| u.pool.subnet.to_string().len(), 6);
    let counts = wide(|u| counts(u).len(), 10);
    let mut text = format!("{:name$}  {:subnet$}  {:>counts$}\n", "POOL", "SUBNET", "USED/TOTAL");
    for usage in &usages {
        let (pool, counted) = (&usage.pool.name, self::counts(usage));
        let net = usage.pool.subnet.to_string();
        // Writing to a String does not fail.
        let notes = notes(survey, usage);
        let _ = writeln!(text, "{pool:name$}  {net:subnet$}  {counted:>counts$}  {}{notes}", bar(usage));
    }
    for line in &survey.unreadable {
        let _ = writeln!(text, "unreadable: {line}");
    }
    text
}

/// What else there is to know of a pool.
fn notes(survey: &Survey, usage: &Usage<'_>) -> String {
    let known = survey.notes.get(&usage.pool.name).into_iter().flatten();
    let mut notes: Vec<String> = known.map(|note| (*note).to_owned()).collect();
    if usage.total == 0 {
        notes.push("offers no address".to_owned());
    } else if usage.free == 0 {
        notes.push("full".to_owned());
    }
    if usage.reserved > 0 {
        notes.push(format!("{} reserved", usage.reserved));
    }
    if notes.is_empty() { String::new() } else { format!("  {}", notes.join(", ")) }
}

fn counts(usage: &Usage<'_>) -> String {
    format!("{}/{}", usage.used, usage.total)
}

/// `█████░░░░░  25 %`: a cell is full once its share is; one address of many is not nothing.
fn bar(usage: &Usage<'_>) -> String {
    if usage.total == 0 && usage.used == 0 {
        return format!("{}     -", "░".repeat(CELLS));
    }
    let share = usage.share();
    let full = (share * CELLS as f64).floor() as usize;
    let full = if share > 0.0 { full.max(1) } else { full };
    format!("{}{} {:>3} %", "█".repeat(full), "░".repeat(CELLS - full), (share * 100.0).floor())
}

/// Who holds which address of a pool.
pub(super) fn holders(survey: &Survey, name: &str) -> Result<String, String> {
    let usage = named(survey, name)?;
    let (bar, notes) = (bar(&usage), notes(survey, &usage));
    let mut text = format!("{name}  {}  {}  {bar}{notes}\n", usage.pool.subnet, counts(&usage));
    let mut records: Vec<_> = usage.pool.records.iter().collect();
    records.sort_by_key(|record| record.ip);
    let row = |record: &polynic_checker::Record| {
        let nic = record.nic.as_deref().unwrap_or("-");
        let node = survey.nodes.get(&record.pod).map_or("-", String::as_str);
        let state = state(survey.holder(record)).to_owned();
        [record.ip.to_string(), nic.to_owned(), record.pod.clone(), node.to_owned(), state]
    };
    let mut rows: Vec<[String; 5]> = records.into_iter().map(row).collect();
    if !rows.is_empty() {
        rows.insert(0, ["ADDRESS", "NIC", "POD", "NODE", "STATE"].map(str::to_owned));
    }
    let wide = |at: usize| rows.iter().map(|row| row[at].len()).max().unwrap_or_default();
    let (ip, nic, pod, on) = (wide(0), wide(1), wide(2), wide(3));
    for [address, interface, holder, node, state] in &rows {
        let _ = writeln!(text, "{address:ip$}  {interface:nic$}  {holder:pod$}  {node:on$}  {state}");
    }
    text.push_str(&room(survey, &usage));
    Ok(text)
}

/// In a word, what has become of a holder.
fn state(holder: Holder) -> &'static str {
    match holder {
        Holder::There => "in use",
        Holder::Leaving => "being deleted",
        Holder::Ended => "ended",
        Holder::Awaited => "kept for its pod",
        Holder::Gone => "pod is gone",
    }
}

/// Of a full pool: which addresses will be free again.
fn room(survey: &Survey, usage: &Usage<'_>) -> String {
    if usage.free > 0 || usage.total == 0 {
        return String::new();
    }
    let count = |wanted: Holder| {
        let holders = usage.pool.records.iter().map(|record| survey.holder(record));
        (holders.filter(|holder| *holder == wanted).count(), state(wanted))
    };
    let kinds = [Holder::There, Holder::Leaving, Holder::Ended, Holder::Awaited, Holder::Gone];
    let counted = kinds.map(count).into_iter().filter(|(count, _)| *count > 0);
    let mut parts: Vec<String> = counted.map(|(count, state)| format!("{count} {state}")).collect();
    if usage.reserved > 0 {
        parts.push(format!("{} reserved", usage.reserved));
    }
    format!("full, new pods get no address from it: {}\n", parts.join(", "))
}

fn named<'s>(survey: &'s Survey, name: &str) -> Result<Usage<'s>, String> {
    let unreadable =
        || survey.unreadable.iter().find(|line| line.starts_with(&format!("SpiderIPPool {name}: ")));
    let found = survey.usages().into_iter().find(|usage| usage.pool.name == name);
    found.ok_or_else(|| unreadable().cloned().unwrap_or_else(|| format!("there is no pool {name:?}")))
}

/// One pool for programs.
pub(super) fn one_json(survey: &Survey, name: &str) -> Result<String, String> {
    Ok(format!("{:#}\n", pool_json(survey, &named(survey, name)?)))
}

fn pool_json(survey: &Survey, usage: &Usage<'_>) -> Value {
    let holder = |r: &polynic_checker::Record| {
        json!({"ip": r.ip, "pod": r.pod, "podUid": r.uid, "interface": r.nic, "node": survey.nodes.get(&r.pod),
               "state": state(survey.holder(r))})
    };
    let holders: Vec<Value> = usage.pool.records.iter().map(holder).collect();
    // JSON numbers end at 2^64, a /48 does not.
    let number = |n: u128| u64::try_from(n).map_or_else(|_| json!(n.to_string()), Value::from);
    json!({"name": usage.pool.name, "subnet": usage.pool.subnet.to_string(), "used": usage.used, "total": number(usage.total),
           "free": number(usage.free), "reserved": number(usage.reserved),
           "notes": survey.notes.get(&usage.pool.name).cloned().unwrap_or_default(), "holders": holders})
}

/// All pools for programs.
pub(super) fn json(survey: &Survey) -> String {
    let pools: Vec<Value> = survey.usages().iter().map(|usage| pool_json(survey, usage)).collect();
    format!("{:#}\n", json!({"pools": pools, "unreadable": survey.unreadable}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_checker::{Pool, Record};

    fn survey() -> Survey {
        let record = Record {
            ip: "10.6.0.100".parse().unwrap(),
            pod: "team/web".into(),
            uid: "u1".into(),
            nic: Some("net1".into()),
        };
        let pool = |name: &str, subnet: &str, ips: &str, records| Pool {
            name: name.into(),
            subnet: subnet.parse().unwrap(),
            ips: vec![ips.parse().unwrap()],
            exclude_ips: Vec::new(),
            owner: None,
            records,
            total: None,
            allocated: None,
        };
        let mut survey = Survey::default();
        survey.cluster.pools = vec![
            pool("ten-6-v4", "10.6.0.0/16", "10.6.0.100-10.6.0.103", vec![record]),
            pool("big", "fd00::/48", "fd00::-fd00:0:0:ffff:ffff:ffff:ffff:ffff", Vec::new()),
        ];
        survey.nodes.insert("team/web".into(), "node1".into());
        survey
    }

    #[test]
    fn the_overview_shows_how_full_each_pool_is() {
        let text = overview(&survey());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("big ") && lines[1].ends_with("░   0 %"), "{text}");
        assert!(lines[2].contains("1/4  █████░░░░░░░░░░░░░░░  25 %"), "{text}");
        assert_eq!(overview(&Survey::default()), "there are no pools\n");
        let mut unknown = Survey::default();
        unknown.unknown.push("SpiderIPPool");
        assert!(overview(&unknown).contains("does not know SpiderIPPool"));
        let mut bare = survey();
        bare.cluster.pools[1].ips.clear();
        assert!(overview(&bare).lines().nth(1).unwrap().ends_with("░     -  offers no address"));
        let mut noted = survey();
        noted.notes.insert("big".into(), vec!["default", "disabled"]);
        assert!(overview(&noted).lines().nth(1).unwrap().ends_with("0 %  default, disabled"));
    }

    #[test]
    fn a_pool_names_its_holders() {
        let text = holders(&survey(), "ten-6-v4").unwrap();
        assert!(text.lines().nth(1).unwrap().starts_with("ADDRESS     NIC   POD"), "{text}");
        assert!(
            text.lines().nth(2).unwrap().ends_with("10.6.0.100  net1  team/web  node1  pod is gone"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 3, "three addresses are free");
        assert_eq!(holders(&survey(), "none").unwrap_err(), "there is no pool \"none\"");
        let value: Value = serde_json::from_str(&one_json(&survey(), "ten-6-v4").unwrap()).unwrap();
        assert_eq!((&value["name"], &value["holders"][0]["node"]), (&json!("ten-6-v4"), &json!("node1")));
        let mut broken = survey();
        broken.unreadable.push("SpiderIPPool torn: no".into());
        assert_eq!(holders(&broken, "torn").unwrap_err(), "SpiderIPPool torn: no");
    }

    /// Reserved addresses are no help, though the bar is not full.
    #[test]
    fn a_full_pool_says_what_keeps_it_full() {
        let mut full = survey();
        let pod = |name: &str, change: fn(&mut polynic_checker::Pod)| {
            let mut pod = polynic_checker::Pod {
                key: format!("team/{name}"),
                uid: name.to_owned(),
                ..Default::default()
            };
            change(&mut pod);
            pod
        };
        let record = |ip: &str, name: &str| Record {
            ip: ip.parse().unwrap(),
            pod: format!("team/{name}"),
            uid: name.to_owned(),
            nic: None,
        };
        full.cluster.pools[0].records =
            vec![record("10.6.0.100", "web"), record("10.6.0.101", "late"), record("10.6.0.102", "lost")];
        full.cluster.pods = vec![pod("web", |_| {}), pod("late", |pod| pod.leaving = true)];
        let ips = vec!["10.6.0.103".parse().unwrap()];
        full.cluster.reserved = vec![polynic_checker::Reserved { name: "r".into(), ips }];
        let text = holders(&full, "ten-6-v4").unwrap();
        let last =
            "full, new pods get no address from it: 1 in use, 1 being deleted, 1 pod is gone, 1 reserved";
        assert_eq!(text.lines().last(), Some(last), "{text}");
        assert!(
            overview(&full).lines().nth(2).unwrap().ends_with("75 %  full, 1 reserved"),
            "{}",
            overview(&full)
        );
        full.cluster.endpoints =
            vec![polynic_checker::Endpoint { key: "team/lost".into(), fixed: true, ..Default::default() }];
        assert!(holders(&full, "ten-6-v4").unwrap().contains("kept for its pod"));
        let value: Value = serde_json::from_str(&one_json(&full, "ten-6-v4").unwrap()).unwrap();
        assert_eq!((&value["free"], &value["holders"][1]["state"]), (&json!(0), &json!("being deleted")));
    }

    #[test]
    fn json_counts_more_than_fits_a_number() {
        let value: Value = serde_json::from_str(&json(&survey())).unwrap();
        assert_eq!(value["pools"][0]["total"], json!("1208925819614629174706176"));
        assert_eq!(value["pools"][1]["holders"][0]["interface"], "net1");
    }
}
