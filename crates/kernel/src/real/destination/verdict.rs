//! What a look-up's answer says about one table: pure.

use polynic_net::{Family, IpNet, Rule};

/// A rule of the kernel; its content, unless it is one that [`Rule`] cannot express.
#[derive(Clone, Debug)]
pub(in super::super) struct Seen {
    pub(in super::super) family: Family,
    pub(in super::super) priority: u32,
    pub(in super::super) rule: Option<Rule>,
}

/// What the look-up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// An entry of this table, for this network.
    Entry { table: u32, net: IpNet },
    /// No table had any.
    Nothing,
    /// Something else.
    Unclear,
}

/// The table and the destination in question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) number: u32,
    pub(super) net: IpNet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The table has no route to exactly the destination.
    Absent,
    /// It has one, or the answer does not tell.
    Unsaid,
}

/// Judges an answer by the rules: tables are looked into in the order of the rules' priorities, and the first that has any
/// entry for the address answers with its narrowest.
pub(super) fn verdict(rules: &[Seen], of: Table, answer: Answer) -> Verdict {
    let rules: Vec<&Seen> = rules.iter().filter(|seen| seen.family == Family::of(of.net.addr())).collect();
    let plain =
        |seen: &&&Seen| seen.rule.as_ref().is_some_and(|rule| rule.table == of.number && is_plain(rule));
    let Some(at) = rules.iter().filter(plain).map(|seen| seen.priority).min() else { return Verdict::Unsaid };
    // What stands before and cannot be read may have ended the look-up.
    if rules.iter().any(|seen| seen.priority <= at && seen.rule.is_none()) {
        return Verdict::Unsaid;
    }
    match answer {
        Answer::Nothing => Verdict::Absent,
        Answer::Unclear => Verdict::Unsaid,
        Answer::Entry { table, net } if table == of.number => absent_if(net != of.net),
        Answer::Entry { table, .. } => absent_if(comes_later(&rules, table, at)),
    }
}

fn absent_if(absent: bool) -> Verdict {
    if absent { Verdict::Absent } else { Verdict::Unsaid }
}

/// Whether only rules after `at` lead to a table.
fn comes_later(rules: &[&Seen], table: u32, at: u32) -> bool {
    let leads = |seen: &&&Seen| seen.rule.as_ref().is_some_and(|rule| rule.table == table);
    rules.iter().filter(leads).all(|seen| seen.priority > at)
}

/// Whether a rule is about every packet.
fn is_plain(rule: &Rule) -> bool {
    rule.from.is_none() && rule.to.is_none() && rule.iif.is_none() && rule.mark.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: u32 = 500;

    fn seen(priority: u32, table: u32) -> Seen {
        let (from, to, iif, mark) = (None, None, None, None);
        let rule = Rule { family: Family::V4, priority, from, to, iif, mark, table };
        Seen { family: Family::V4, priority, rule: Some(rule) }
    }

    fn usual() -> Vec<Seen> {
        vec![seen(0, 255), seen(1000, OURS), seen(32766, 254), seen(32767, 253)]
    }

    fn judge(rules: &[Seen], answer: Answer) -> Verdict {
        verdict(rules, Table { number: OURS, net: "10.0.0.9/32".parse().unwrap() }, answer)
    }

    fn entry(table: u32, net: &str) -> Answer {
        Answer::Entry { table, net: net.parse().unwrap() }
    }

    #[test]
    fn a_look_up_that_went_past_the_table_says_that_nothing_is_there() {
        for answer in [entry(254, "0.0.0.0/0"), entry(253, "10.0.0.9/32"), Answer::Nothing] {
            assert_eq!(judge(&usual(), answer), Verdict::Absent, "{answer:?}");
        }
        assert_eq!(judge(&usual(), entry(OURS, "10.0.0.0/24")), Verdict::Absent);
    }

    #[test]
    fn what_is_there_or_ended_before_the_table_is_to_be_listed() {
        for answer in [entry(OURS, "10.0.0.9/32"), entry(255, "10.0.0.9/32"), Answer::Unclear] {
            assert_eq!(judge(&usual(), answer), Verdict::Unsaid, "{answer:?}");
        }
        let earlier = [usual(), vec![seen(999, 254)]].concat();
        assert_eq!(judge(&earlier, entry(254, "10.0.0.0/24")), Verdict::Unsaid);
        assert_eq!(judge(&[seen(0, 255), seen(32766, 254)], entry(254, "10.0.0.0/24")), Verdict::Unsaid);
    }

    #[test]
    fn a_rule_that_cannot_be_read_spoils_what_comes_after_it() {
        let unread = |priority| Seen { family: Family::V4, priority, rule: None };
        let before = [usual(), vec![unread(1000)]].concat();
        assert_eq!(judge(&before, Answer::Nothing), Verdict::Unsaid);
        let after = [usual(), vec![unread(1001)]].concat();
        assert_eq!(judge(&after, entry(254, "0.0.0.0/0")), Verdict::Absent);
    }

    #[test]
    fn a_rule_for_some_packets_does_not_count() {
        let mut rules = usual();
        rules[1].rule.as_mut().unwrap().mark = Some((1, 1));
        assert_eq!(judge(&rules, entry(254, "0.0.0.0/0")), Verdict::Unsaid);
    }
}
