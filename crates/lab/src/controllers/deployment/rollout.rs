//! How many pods each set of a Deployment gets next.

use k8s_openapi::api::apps::v1::{DeploymentSpec, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::action::Action;
use super::{Case, available, create, present, scale, size};

/// What a rolling update may do at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pods above the wanted number.
    pub surge: i32,
    /// Pods of the wanted number that need not serve.
    pub unavailable: i32,
}

impl Limits {
    /// The limits of a Deployment: a quarter each if it does not say. Both zero would be no rollout at all.
    pub fn of(spec: &DeploymentSpec) -> Limits {
        let strategy = spec.strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
            return Limits { surge: 0, unavailable: 0 };
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let replicas = spec.replicas.unwrap_or(1);
        let surge = resolve(rolling.and_then(|r| r.max_surge.as_ref()), replicas, Round::Up);
        let unavailable = resolve(rolling.and_then(|r| r.max_unavailable.as_ref()), replicas, Round::Down);
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Limits { surge, unavailable: unavailable.min(replicas.max(1)) }
    }
}

/// Which way a percentage is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// To the next larger number.
    Up,
    /// To the next smaller number.
    Down,
}

/// A number, or a percentage of `total`; a quarter if there is neither.
pub fn resolve(value: Option<&IntOrString>, total: i32, round: Round) -> i32 {
    let percent = match value {
        Some(IntOrString::Int(number)) => return *number,
        Some(IntOrString::String(text)) => text.trim_end_matches('%').parse().unwrap_or(25),
        None => 25,
    };
    let hundredths = i64::from(total) * i64::from(percent);
    let whole = if round == Round::Up { (hundredths + 99) / 100 } else { hundredths / 100 };
    i32::try_from(whole).unwrap_or(i32::MAX)
}

/// The next step.
pub fn decide(case: &Case<'_>) -> Vec<Action> {
    if case.spec.paused == Some(true) {
        return scale_only(case);
    }
    let strategy = case.spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
    if strategy == Some("Recreate") { recreate(case) } else { rolling(case) }
}

/// A paused Deployment keeps the mixture it has; only one that is all of one set is scaled.
fn scale_only(case: &Case<'_>) -> Vec<Action> {
    let mut active = case.all().filter(|set| size(set) > 0);
    match (active.next(), active.next(), case.new) {
        (Some(only), None, _) => scale(case, only, case.replicas()),
        (None, _, Some(new)) => scale(case, new, case.replicas()),
        _ => Vec::new(),
    }
}

/// First all old pods go, then the new ones come.
fn recreate(case: &Case<'_>) -> Vec<Action> {
    let down: Vec<Action> = case.old.iter().flat_map(|set| scale(case, set, 0)).collect();
    if !down.is_empty() || case.old_pods().next().is_some() {
        return down;
    }
    match case.new {
        Some(new) => scale(case, new, case.replicas()),
        None => create(case, case.replicas()),
    }
}

/// New pods come as far as the surge allows, old ones go as far as enough pods serve.
fn rolling(case: &Case<'_>) -> Vec<Action> {
    let limits = Limits::of(case.spec);
    let total: i32 = case.all().map(size).sum();
    let room = (case.replicas() + limits.surge - total).max(0);
    let Some(new) = case.new else {
        return create(case, room.min(case.replicas()));
    };
    if size(new) > case.replicas() {
        return scale(case, new, case.replicas());
    }
    let grown = (size(new) + room).min(case.replicas());
    if grown > size(new) {
        return scale(case, new, grown);
    }
    shrink(case, new, limits)
}

fn shrink(case: &Case<'_>, new: &ReplicaSet, limits: Limits) -> Vec<Action> {
    let old: i32 = case.old.iter().map(|set| size(set)).sum();
    if old == 0 {
        return Vec::new();
    }
    let needed = case.replicas() - limits.unavailable;
    let not_serving_yet = size(new) - available(new);
    let spare = old + size(new) - needed - not_serving_yet;
    let mut sizes: Vec<i32> = case.old.iter().map(|set| size(set)).collect();
    // Pods that do not serve are no loss, so they go first.
    let mut left = spare.max(0);
    for (set, size) in case.old.iter().zip(&mut sizes) {
        let idle = (*size - available(set).min(present(set))).clamp(0, left);
        *size -= idle;
        left -= idle;
    }
    let serving: i32 = case.all().map(available).sum();
    let mut left = (serving - needed).max(0).min(left);
    for size in &mut sizes {
        let less = (*size).min(left);
        *size -= less;
        left -= less;
    }
    case.old.iter().zip(sizes).flat_map(|(set, size)| scale(case, set, size)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn limits(replicas: i32, surge: serde_json::Value, unavailable: serde_json::Value) -> Limits {
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        let spec = json!({"replicas": replicas, "strategy": strategy, "selector": {}, "template": {}});
        Limits::of(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn percentages_round_in_favour_of_service() {
        assert_eq!(limits(10, json!(null), json!(null)), Limits { surge: 3, unavailable: 2 });
        assert_eq!(limits(1, json!("25%"), json!("25%")), Limits { surge: 1, unavailable: 0 });
        assert_eq!(limits(4, json!(2), json!("50%")), Limits { surge: 2, unavailable: 2 });
    }

    #[test]
    fn limits_that_allow_nothing_allow_one() {
        assert_eq!(limits(3, json!(0), json!(0)), Limits { surge: 0, unavailable: 1 });
    }
}
