//! SpiderReservedIP (spec/spiderpool.md 3.3). Addresses that are in use already may be reserved: that counts when they are free again.

use super::addresses::{check_immutable, check_ranges, check_version, coalesce, version_of};
use super::{Denial, Rules};
use crate::spider::SpiderReservedIP;

/// Fills in what can be derived.
pub fn mutate(reserved: &mut SpiderReservedIP) {
    if reserved.metadata.is_terminating() {
        return;
    }
    let spec = &mut reserved.spec;
    spec.ip_version = spec.ip_version.or_else(|| spec.ips.first().and_then(|first| version_of(first)));
    coalesce(spec.ip_version, &mut spec.ips);
}

/// The rules for a new object.
///
/// # Errors
/// The rules that it breaks.
pub fn validate_create(reserved: &SpiderReservedIP, rules: Rules) -> Result<(), Denial> {
    let family = check_version(reserved.spec.ip_version, rules)?;
    match check_ranges(family, None, "spec.ips", &reserved.spec.ips) {
        Ok(_) => Ok(()),
        Err(errors) => Err(Denial::Invalid(errors)),
    }
}

/// The rules for a changed object.
///
/// # Errors
/// The rules that the change breaks.
pub fn validate_update(old: &SpiderReservedIP, new: &SpiderReservedIP, rules: Rules) -> Result<(), Denial> {
    let changed =
        check_immutable("spec.ipVersion", old.spec.ip_version.as_ref(), new.spec.ip_version.as_ref());
    Denial::unless_empty(changed.into_iter().collect())?;
    validate_create(new, rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spider::ReservedIPSpec;

    const RULES: Rules = Rules { ipv4: true, ipv6: false, subnets: true, protect_in_use: false };

    fn reserved(version: Option<i64>, ips: &[&str]) -> SpiderReservedIP {
        let ips = ips.iter().map(|ip| (*ip).to_owned()).collect();
        SpiderReservedIP::new("r", ReservedIPSpec { ip_version: version, ips })
    }

    #[test]
    fn the_version_follows_from_the_first_address_and_ranges_are_joined() {
        let mut object = reserved(None, &["10.0.0.3-10.0.0.9", "10.0.0.1", "10.0.0.2"]);
        mutate(&mut object);
        assert_eq!(object.spec.ip_version, Some(4));
        assert_eq!(object.spec.ips, ["10.0.0.1-10.0.0.9"]);
        assert!(object.metadata.finalizers.is_empty(), "this kind has no finalizer");
    }

    #[test]
    fn what_is_wrong_is_left_to_validation() {
        let mut object = reserved(None, &["10.0.0.9-10.0.0.1", "x"]);
        mutate(&mut object);
        assert_eq!(object.spec.ips, ["10.0.0.9-10.0.0.1", "x"]);
        let Err(Denial::Invalid(errors)) = validate_create(&object, RULES) else { panic!("refused") };
        assert_eq!(
            errors.iter().map(|e| e.field.as_str()).collect::<Vec<_>>(),
            ["spec.ips[0]", "spec.ips[1]"]
        );
    }

    #[test]
    fn the_version_is_known_in_use_and_stays() {
        for (object, field) in [
            (reserved(None, &[]), "spec.ipVersion"),
            (reserved(Some(5), &[]), "spec.ipVersion"),
            (reserved(Some(6), &["fd00::1"]), "spec.ipVersion"),
            (reserved(Some(4), &["fd00::1"]), "spec.ips[0]"),
            (reserved(Some(4), &["10.0.0.0/24"]), "spec.ips[0]"),
        ] {
            let Err(Denial::Invalid(errors)) = validate_create(&object, RULES) else { panic!("{object:?}") };
            assert_eq!(errors[0].field, field);
        }
        assert_eq!(validate_create(&reserved(Some(4), &[]), RULES), Ok(()));
        let both = Rules { ipv6: true, ..RULES };
        let old = reserved(Some(4), &["10.0.0.1"]);
        assert!(validate_update(&old, &reserved(Some(6), &["fd00::1"]), both).is_err());
        assert_eq!(validate_update(&old, &reserved(Some(4), &["10.0.0.2"]), both), Ok(()));
        assert_eq!(validate_update(&reserved(None, &[]), &old, both), Ok(()));
    }
}
