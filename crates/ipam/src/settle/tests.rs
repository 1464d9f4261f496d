use super::*;
use crate::PoolSpec;

fn pool(ips: &[&str], change: impl FnOnce(&mut PoolSpec)) -> Pool {
    let ips = ips.iter().map(|text| text.parse().unwrap()).collect();
    let mut spec = PoolSpec::new("10.9.0.0/16".parse().unwrap(), ips);
    change(&mut spec);
    Pool::new("p", spec)
}

fn want(pod: &str, uid: &str, nic: &str, ask: Ask) -> Want {
    let nic = Some(nic.to_owned()).filter(|nic| !nic.is_empty());
    Want { pod: PodKey::new("a", pod), uid: uid.to_owned(), nic, ask }
}

fn allocate(stale: &[&str]) -> Ask {
    let stale = stale.iter().map(|uid| (*uid).to_owned()).collect();
    Ask::Allocate(Arc::new(Claims { others: BTreeSet::new(), stale }))
}

fn settled(pool: &mut Pool, wants: &[Want]) -> Vec<String> {
    avoiding(pool, wants, &Avoid::nothing(Family::V4))
}

fn avoiding(pool: &mut Pool, wants: &[Want], avoid: &Avoid) -> Vec<String> {
    let wants: Vec<&Want> = wants.iter().collect();
    let settlement = settle(pool, &wants, avoid, 5000);
    assert_eq!(settlement.changed, settlement.records != pool.records);
    pool.records = settlement.records;
    let text = |outcome: Outcome| match outcome {
        Outcome::Has { ip, .. } => ip.to_string(),
        other => format!("{other:?}"),
    };
    settlement.outcomes.into_iter().map(text).collect()
}

#[test]
fn the_lowest_address_of_the_first_range_comes_first() {
    let mut pool = pool(&["10.9.0.8-10.9.0.9", "10.9.0.1-10.9.0.3"], |spec| {
        spec.exclude_ips = vec!["10.9.0.2".parse().unwrap()];
    });
    let wants: Vec<Want> = (0..5).map(|n| want("w", &format!("u{n}"), "eth0", allocate(&[]))).collect();
    assert_eq!(settled(&mut pool, &wants), ["10.9.0.8", "10.9.0.9", "10.9.0.1", "10.9.0.3", "UsedOut"]);
}

#[test]
fn reserved_addresses_are_never_and_suspect_ones_last() {
    let mut pool = pool(&["10.9.0.1-10.9.0.3"], |_| {});
    let ip = |text: &str| text.parse().unwrap();
    let avoid = Avoid {
        reserved: IntervalSet::of_addresses(Family::V4, [ip("10.9.0.1")]),
        suspect: BTreeSet::from([ip("10.9.0.2")]),
    };
    let wants: Vec<Want> = (0..3).map(|n| want("w", &format!("u{n}"), "eth0", allocate(&[]))).collect();
    assert_eq!(avoiding(&mut pool, &wants, &avoid), ["10.9.0.3", "10.9.0.2", "UsedOut"]);
}

#[test]
fn a_vast_pool_is_as_quick_as_a_small_one() {
    let mut vast = Pool::new(
        "six",
        PoolSpec::new(
            "fd00::/48".parse().unwrap(),
            vec!["fd00::1-fd00::ffff:ffff:ffff:ffff".parse().unwrap()],
        ),
    );
    let wants: Vec<Want> = (0..1000).map(|n| want("w", &format!("u{n}"), "eth0", allocate(&[]))).collect();
    let got = avoiding(&mut vast, &wants, &Avoid::nothing(Family::V6));
    assert_eq!((got[0].as_str(), got[999].as_str()), ("fd00::1", "fd00::3e8"));
}

#[test]
fn an_interface_keeps_its_address_and_two_have_two() {
    let mut pool = pool(&["10.9.0.1-10.9.0.9"], |_| {});
    let both = [want("w", "u", "eth0", allocate(&[])), want("w", "u", "net1", allocate(&[]))];
    assert_eq!(settled(&mut pool, &both), ["10.9.0.1", "10.9.0.2"]);
    let (reversed, repeated) = ([both[1].clone(), both[0].clone()], [both[0].clone(), both[0].clone()]);
    assert_eq!(settled(&mut pool, &reversed), ["10.9.0.2", "10.9.0.1"]);
    assert_eq!(settled(&mut pool, &repeated), ["10.9.0.1", "10.9.0.1"]);
}

#[test]
fn a_record_without_interface_is_taken_unless_the_endpoint_names_it_for_another() {
    let mut pool = pool(&["10.9.0.1-10.9.0.9"], |_| {});
    let ip: IpAddr = "10.9.0.5".parse().unwrap();
    let mut record = Record::new(PodKey::new("a", "w"), "u", "x");
    record.nic = None;
    pool.records.insert(ip, record);
    let mut claimed = pool.clone();
    assert_eq!(settled(&mut pool, &[want("w", "u", "net1", allocate(&[]))]), ["10.9.0.5"]);
    let others = Ask::Allocate(Arc::new(Claims { others: BTreeSet::from([ip]), stale: BTreeSet::new() }));
    assert_eq!(settled(&mut claimed, &[want("w", "u", "net1", others)]), ["10.9.0.1"]);
}

#[test]
fn a_namesake_is_succeeded_only_if_it_is_known_to_be_gone() {
    let mut pool = pool(&["10.9.0.1"], |_| {});
    settled(&mut pool, &[want("w", "old", "eth0", allocate(&[]))]);
    assert_eq!(settled(&mut pool.clone(), &[want("w", "new", "eth0", allocate(&[]))]), ["UsedOut"]);
    assert_eq!(settled(&mut pool.clone(), &[want("other", "new", "eth0", allocate(&["old"]))]), ["UsedOut"]);
    // The pool is full: another interface of the old pod will do.
    assert_eq!(settled(&mut pool, &[want("w", "new", "net1", allocate(&["old"]))]), ["10.9.0.1"]);
    let keep = |stale: &[&str]| {
        let Ask::Allocate(claims) = allocate(stale) else { unreachable!() };
        Ask::Keep("10.9.0.1".parse().unwrap(), claims)
    };
    let late = settled(&mut pool.clone(), &[want("w", "old", "net1", keep(&[]))]);
    assert!(late[0].contains("later pod"), "{late:?}");
    assert_eq!(settled(&mut pool, &[want("w", "newer", "net1", keep(&["new"]))]), ["10.9.0.1"]);
}

#[test]
fn a_release_serves_its_own_batch_and_needs_pod_and_uid() {
    let mut pool = pool(&["10.9.0.1"], |_| {});
    settled(&mut pool, &[want("w", "u", "eth0", allocate(&[]))]);
    for other in [want("w", "v", "", Ask::Release(None)), want("x", "u", "", Ask::Release(None))] {
        assert_eq!(settled(&mut pool, &[other]), ["Released"]);
        assert_eq!(pool.records.count(), 1);
    }
    let batch = [want("next", "n", "eth0", allocate(&[])), want("w", "u", "", Ask::Release(None))];
    assert_eq!(settled(&mut pool, &batch), ["10.9.0.1", "Released"]);
}

#[test]
fn a_closed_pool_gives_nothing_new_but_keeps_what_it_gave() {
    let mut pool = pool(&["10.9.0.1-10.9.0.9"], |_| {});
    settled(&mut pool, &[want("w", "u", "eth0", allocate(&[]))]);
    pool.terminating = true;
    let both = [want("w", "u", "eth0", allocate(&[])), want("x", "v", "eth0", allocate(&[]))];
    assert_eq!(settled(&mut pool, &both), ["10.9.0.1", "Closed(\"it is being deleted\")"]);
}

#[test]
fn a_pool_with_as_many_records_as_allowed_is_used_out() {
    let pool = pool(&["10.9.0.1-10.9.0.9"], |_| {});
    let wants = [want("w", "u", "eth0", allocate(&[])), want("x", "v", "eth0", allocate(&[]))];
    let settlement = settle(&pool, &wants.iter().collect::<Vec<_>>(), &Avoid::nothing(Family::V4), 1);
    assert_eq!(settlement.outcomes[1], Outcome::UsedOut);
}
