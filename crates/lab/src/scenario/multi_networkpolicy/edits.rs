//! A policy that is edited again and again while packets flow.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::super::world::{PATIENCE, Place::Pod, World};
use super::super::{Finding, eventually, packet};
use super::flood::{Flood, received};
use super::{GUEST, NEAR, ODD, STRANGER, WEB, allow, role, targets};

/// How often it is edited, by `POLYNIC_POLICY_EDITS` otherwise.
const EDITS: u32 = 60;

/// What became of the pings, and of the datagrams.
static LOST: Mutex<Option<Finding>> = Mutex::new(None);
static PASSED: Mutex<Option<Finding>> = Mutex::new(None);

fn note(place: &Mutex<Option<Finding>>, finding: Finding) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(finding);
}

fn noted(place: &Mutex<Option<Finding>>) -> Finding {
    place.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or("nothing was noted")?
}

/// near is allowed by every version of the policy, stranger by none, guest and odd by every other one.
pub fn edit(world: &World) -> Finding {
    let version = |who: &str| match who {
        GUEST => json!([{"from": [role(NEAR), {"namespaceSelector": {"matchLabels": {"team": "partner"}}}]}]),
        other => json!([{"from": [role(NEAR), role(other)]}]),
    };
    allow(world, &version(GUEST))?;
    let all = targets(world, WEB)?;
    let here = world.network(Pod(NEAR))?;
    for to in all {
        eventually(PATIENCE, || packet::ping(&here, None, to).map(|_| String::new()))?;
    }
    // The ports that the chapter before opened are shut by now.
    super::super::eventually(PATIENCE, || packet::silence(&world.network(Pod(STRANGER))?, all[0]))?;
    let before = received(world, Pod(WEB))?;
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Vec<Arc<AtomicU64>> = all.iter().map(|_| Arc::default()).collect();
    let streams = all.into_iter().zip(counts.clone()).map(|(to, count)| {
        let (network, stop) = (here.clone(), stop.clone());
        let go_on = move |sent: u16| {
            count.store(sent.into(), Ordering::Relaxed);
            !stop.load(Ordering::Relaxed)
        };
        std::thread::spawn(move || packet::stream(&network, to, Duration::from_millis(5), go_on))
    });
    let streams: Vec<_> = streams.collect();
    let forbidden = all.map(|ip| SocketAddr::new(ip, 5005)).to_vec();
    let flood = Flood::start(world, Pod(STRANGER), forbidden)?;
    let edits = std::env::var("POLYNIC_POLICY_EDITS").ok().and_then(|n| n.parse().ok()).unwrap_or(EDITS);
    let edited = (0..edits).try_for_each(|number| {
        let seen: Vec<u64> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        allow(world, &version(if number % 2 == 0 { ODD } else { GUEST }))?;
        // Packets flow between any two edits, by each way.
        let flows =
            |seen: &[u64]| counts.iter().zip(seen).all(|(now, then)| now.load(Ordering::Relaxed) > *then);
        eventually(
            PATIENCE,
            || if flows(&seen) { Ok(String::new()) } else { Err("no ping is sent".to_owned()) },
        )
        .map(drop)
    });
    let last = allow(world, &version(ODD));
    let some = flood.wait_for(100);
    stop.store(true, Ordering::Relaxed);
    let answers: Vec<Finding> =
        streams.into_iter().map(|s| s.join().unwrap_or_else(|_| Err("a stream failed".to_owned()))).collect();
    let sent = flood.sent();
    drop(flood);
    note(&LOST, answers.into_iter().collect::<Result<Vec<_>, _>>().map(|all| all.join(", ")));
    let passed = received(world, Pod(WEB))? - before;
    note(
        &PASSED,
        if passed == 0 { Ok(format!("none of {sent}")) } else { Err(format!("{passed} of {sent}")) },
    );
    edited?;
    last?;
    some?;
    Ok(format!("{edits} edits"))
}

pub fn nothing_lost() -> Finding {
    noted(&LOST)
}

pub fn nothing_passed() -> Finding {
    noted(&PASSED)
}
