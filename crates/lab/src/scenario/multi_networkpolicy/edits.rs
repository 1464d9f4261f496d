//! A policy that is edited again and again while packets flow.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use polynic_kernel::netns::{self, Netns};
use serde_json::{Value, json};

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
    allow(world, &version(GUEST))?;
    let all = targets(world, WEB)?;
    wait_for_quiet(world, &all)?;
    let before = received(world, Pod(WEB))?;
    let pings = Pings::start(&world.network(Pod(NEAR))?, &all);
    let forbidden = all.map(|ip| SocketAddr::new(ip, 5005)).to_vec();
    let flood = Flood::start(world, Pod(STRANGER), forbidden)?;
    let edits = std::env::var("POLYNIC_POLICY_EDITS").ok().and_then(|n| n.parse().ok()).unwrap_or(EDITS);
    let edited = (0..edits).try_for_each(|number| {
        let seen = pings.sent();
        allow(world, &version(if number % 2 == 0 { ODD } else { GUEST }))?;
        pings.wait_for_more(&seen)
    });
    let last = allow(world, &version(ODD));
    let some = flood.wait_for(100);
    note(&LOST, pings.stop());
    let sent = flood.sent();
    drop(flood);
    note(&PASSED, none_passed(received(world, Pod(WEB))? - before, sent));
    edited?;
    last?;
    some?;
    Ok(format!("{edits} edits"))
}

fn version(who: &str) -> Value {
    match who {
        GUEST => json!([{"from": [role(NEAR), {"namespaceSelector": {"matchLabels": {"team": "partner"}}}]}]),
        other => json!([{"from": [role(NEAR), role(other)]}]),
    }
}

/// near is let in, and the ports that the chapter before opened are shut by now.
fn wait_for_quiet(world: &World, all: &[IpAddr]) -> Result<(), String> {
    let here = world.network(Pod(NEAR))?;
    for to in all {
        eventually(PATIENCE, || packet::ping(&here, None, *to).map(|_| String::new()))?;
    }
    let stranger = world.network(Pod(STRANGER))?;
    all.first().map_or(Ok(()), |to| eventually(PATIENCE, || packet::silence(&stranger, *to)).map(drop))
}

fn none_passed(passed: u64, sent: u64) -> Finding {
    if passed == 0 { Ok(format!("none of {sent}")) } else { Err(format!("{passed} of {sent}")) }
}

/// Streams of pings to several addresses.
struct Pings {
    stop: Arc<AtomicBool>,
    counts: Vec<Arc<AtomicU64>>,
    streams: Vec<JoinHandle<Finding>>,
}

impl Pings {
    fn start(here: &Netns<netns::Pod>, all: &[IpAddr]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let counts: Vec<Arc<AtomicU64>> = all.iter().map(|_| Arc::default()).collect();
        let stream = |(to, count): (&IpAddr, &Arc<AtomicU64>)| {
            let (here, to, stop, count) = (here.clone(), *to, stop.clone(), count.clone());
            let go_on = move |sent: u16| {
                count.store(sent.into(), Ordering::Relaxed);
                !stop.load(Ordering::Relaxed)
            };
            std::thread::spawn(move || packet::stream(&here, to, Duration::from_millis(5), go_on))
        };
        let streams = all.iter().zip(&counts).map(stream).collect();
        Self { stop, counts, streams }
    }

    /// How many were sent so far, by stream.
    fn sent(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Packets flow between any two edits, by each way.
    fn wait_for_more(&self, than: &[u64]) -> Result<(), String> {
        let all_flow = || self.sent().iter().zip(than).all(|(now, then)| now > then);
        let look = || if all_flow() { Ok(String::new()) } else { Err("no ping is sent".to_owned()) };
        eventually(PATIENCE, look).map(drop)
    }

    /// Ends them; what became of the pings.
    fn stop(self) -> Finding {
        self.stop.store(true, Ordering::Relaxed);
        let failed = |_| Err("a stream failed".to_owned());
        let answers = self.streams.into_iter().map(|stream| stream.join().unwrap_or_else(failed));
        Ok(answers.collect::<Result<Vec<_>, _>>()?.join(", "))
    }
}

pub fn nothing_lost() -> Finding {
    noted(&LOST)
}

pub fn nothing_passed() -> Finding {
    noted(&PASSED)
}
