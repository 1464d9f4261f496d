//! What the independent checker says of a cluster.

use std::fmt::Write as _;

use polynic_checker::{Severity, Violation, check_cluster};
use polynic_cluster::survey::Survey;
use serde_json::{Value, json};

/// The findings, worst first.
pub(super) struct Report {
    looked_at: String,
    violations: Vec<Violation>,
    unreadable: Vec<String>,
    unknown: Vec<&'static str>,
    /// Pools without a free address: nothing is wrong with them, but new pods do not start.
    full: Vec<String>,
}

/// Checks what was read.
pub(super) fn examine(survey: &Survey) -> Report {
    let cluster = &survey.cluster;
    let looked_at = format!(
        "{} pools, {} subnets, {} endpoints, {} pods",
        cluster.pools.len(),
        cluster.subnets.len(),
        cluster.endpoints.len(),
        cluster.pods.len()
    );
    Report {
        looked_at,
        violations: check_cluster(cluster),
        unreadable: survey.unreadable.clone(),
        unknown: survey.unknown.clone(),
        full: full(survey),
    }
}

fn full(survey: &Survey) -> Vec<String> {
    let full = survey.usages().into_iter().filter(|usage| usage.free == 0 && usage.total > 0);
    full.map(|usage| usage.pool.name.clone()).collect()
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Danger => "danger",
        Severity::Wrong => "wrong",
        Severity::Leftover => "leftover",
    }
}

impl Report {
    /// Whether nothing was found.
    pub(super) fn is_well(&self) -> bool {
        self.violations.is_empty() && self.unreadable.is_empty()
    }

    /// Without what an earlier look did not see: that was a moment's.
    pub(super) fn confirming(mut self, earlier: &Self) -> Self {
        self.violations.retain(|one| {
            earlier.violations.iter().any(|other| other.rule == one.rule && other.object == one.object)
        });
        self
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!("looked at {}\n", self.looked_at);
        for violation in &self.violations {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{:<9}{violation}", name(violation.rule.severity()));
        }
        for line in &self.unreadable {
            let _ = writeln!(text, "{:<9}{line}; it serves nobody. Remedy: correct it.", "wrong");
        }
        for pool in &self.full {
            let _ = writeln!(
                text,
                "{:<9}pool {pool}: it is full, and new pods get no address from it; polynic pools {pool} shows who has them.",
                "note"
            );
        }
        if !self.unknown.is_empty() {
            let kinds = self.unknown.join(", ");
            let _ =
                writeln!(text, "not checked: this cluster does not know {kinds} (no definitions installed)");
        } else if self.is_well() {
            text.push_str("all is well\n");
        }
        text
    }

    /// For programs.
    pub(super) fn json(&self) -> String {
        let violation = |v: &Violation| {
            json!({"severity": name(v.rule.severity()), "rule": format!("{:?}", v.rule), "object": v.object, "what": v.what,
                   "why": v.rule.why(), "remedy": v.rule.remedy()})
        };
        let violations: Vec<Value> = self.violations.iter().map(violation).collect();
        format!(
            "{:#}\n",
            json!({"lookedAt": self.looked_at, "violations": violations, "unreadable": self.unreadable, "unknownKinds": self.unknown, "fullPools": self.full})
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_checker::{Pool, Record};

    fn survey() -> Survey {
        let record =
            Record { ip: "10.6.0.9".parse().unwrap(), pod: "team/gone".into(), uid: "u1".into(), nic: None };
        let pool = Pool {
            name: "blue".into(),
            subnet: "10.6.0.0/16".parse().unwrap(),
            ips: vec!["10.6.0.9".parse().unwrap()],
            exclude_ips: Vec::new(),
            owner: None,
            records: vec![record],
            total: Some(1),
            allocated: Some(1),
        };
        let mut survey = Survey::default();
        survey.cluster.pools = vec![pool];
        survey
    }

    #[test]
    fn a_finding_has_its_object_its_reason_and_a_remedy() {
        let report = examine(&survey());
        assert!(!report.is_well());
        let text = report.text();
        assert!(
            text.contains("leftover") && text.contains("10.6.0.9") && text.contains("Remedy: "),
            "{text}"
        );
        let value: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(value["violations"][0]["severity"], "leftover");
    }

    #[test]
    fn a_full_pool_is_told_of_and_is_no_fault() {
        let mut full = survey();
        full.cluster.pods.push(polynic_checker::Pod {
            key: "team/gone".into(),
            uid: "u1".into(),
            ..Default::default()
        });
        let address = polynic_checker::EndpointAddress {
            nic: String::new(),
            pool: "blue".into(),
            ip: "10.6.0.9".parse().unwrap(),
        };
        let endpoint = polynic_checker::Endpoint {
            key: "team/gone".into(),
            uid: "u1".into(),
            fixed: false,
            addresses: vec![address],
        };
        full.cluster.endpoints.push(endpoint);
        let report = examine(&full);
        assert!(report.is_well(), "{}", report.text());
        assert!(report.text().contains("note     pool blue: it is full"), "{}", report.text());
    }

    #[test]
    fn a_healthy_cluster_is_said_to_be_so() {
        let report = examine(&Survey::default());
        assert!(report.is_well());
        assert!(report.text().ends_with("all is well\n"));
    }

    #[test]
    fn what_is_seen_only_once_was_a_moments() {
        let (first, well) = (examine(&survey()), examine(&Survey::default()));
        assert!(examine(&survey()).confirming(&well).is_well());
        assert!(!examine(&survey()).confirming(&first).is_well());
    }

    #[test]
    fn kinds_that_are_not_installed_are_named() {
        let survey = Survey { unknown: vec!["SpiderIPPool", "SpiderEndpoint"], ..Survey::default() };
        let text = examine(&survey).text();
        assert!(
            text.contains("does not know SpiderIPPool, SpiderEndpoint") && !text.contains("well"),
            "{text}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_a_finding() {
        let survey = Survey { unreadable: vec!["SpiderIPPool x: no".into()], ..Survey::default() };
        assert!(!examine(&survey).is_well());
        assert!(examine(&survey).text().contains("SpiderIPPool x: no"));
    }
}
