//! What `explain` claims, beside what is seen: it looks at every namespace of the lab, and must say of each burst and connection what the
//! packets did.

use std::net::IpAddr;
use std::rc::Rc;

use polynic_explain::{Asker, Explanation, Leg, Question, Scene, Works, explain};

use super::Finding;
use super::packet;
use super::world::{Place, World};

/// What explain says of an echo request, or of a connection to a port.
pub fn ask(
    world: &World,
    from: Place<'_>,
    source: Option<IpAddr>,
    to: IpAddr,
    port: Option<u16>,
) -> Result<Explanation, String> {
    let scene = world.scene()?;
    let site = scene.find(&World::site_name(from)).ok_or_else(|| format!("{from:?} is not in the scene"))?;
    Ok(explain(&scene, &Question { asker: Asker::Site(site), to, port, from: source, link: None }))
}

/// What was seen to work is said to work, from one end to the other: all namespaces of the lab are looked at.
fn works(answer: &Explanation) -> Result<(), String> {
    match answer.works {
        Works::Yes => Ok(()),
        Works::No | Works::AsFarAsSeen => Err(format!("packets get through, and explain says:\n{answer}")),
    }
}

/// Daemons change the kernel behind the scene's back: a claim that does not fit is asked for once more, after another look.
fn looking_again(world: &World, claim: impl Fn() -> Finding) -> Finding {
    claim().or_else(|_| {
        world.forget();
        claim()
    })
}

/// A packet was seen to leave a pod by `nic`, and explain says so.
pub fn says_leaves_by(
    world: &World,
    pod: &str,
    source: Option<IpAddr>,
    to: (IpAddr, Option<u16>),
    nic: &str,
) -> Finding {
    looking_again(world, || {
        let answer = ask(world, Place::Pod(pod), source, to.0, to.1)?;
        works(&answer)?;
        is_first(&answer, &answer.request, nic)
    })
}

/// A pod was seen to answer by `nic`, and explain says so.
pub fn says_answered_by(world: &World, from: Place<'_>, to: IpAddr, nic: &str) -> Finding {
    looking_again(world, || {
        let answer = ask(world, from, None, to, None)?;
        works(&answer)?;
        match &answer.reply {
            Some(reply) => is_first(&answer, reply, nic),
            None => Err(format!("an answer was seen, and explain knows of none:\n{answer}")),
        }
    })
}

/// Both directions were seen to work, and explain says so.
pub fn says_both_ways(world: &World, place: Place<'_>, own: IpAddr, pod: &str, to: IpAddr) -> Finding {
    looking_again(world, || {
        works(&ask(world, place, None, to, None)?)?;
        works(&ask(world, place, None, to, Some(80))?)?;
        works(&ask(world, Place::Pod(pod), None, own, None)?)?;
        works(&ask(world, Place::Pod(pod), None, own, Some(80))?)?;
        Ok("explained".to_owned())
    })
}

fn is_first(answer: &Explanation, leg: &Leg, nic: &str) -> Finding {
    match leg.left_by.first() {
        Some(first) if first.link == nic => Ok(format!("by {nic}, and explain says so")),
        _ => Err(format!("packets leave by {nic}, and explain says:\n{answer}")),
    }
}

/// For stories: each ping gets through if and only if explain says so.
pub fn agrees(world: &World, pairs: &[(Place<'_>, IpAddr)]) -> Finding {
    let mut through = 0;
    for (from, to) in pairs {
        // Who is said to answer is given time; for the others a glimpse has to do.
        let hopeful = ask(world, *from, None, *to, None)?.works == Works::Yes;
        let network = world.network(*from)?;
        let seen = if hopeful { packet::ping(&network, None, *to) } else { packet::glimpse(&network, *to) };
        through += usize::from(seen.is_ok());
        looking_again(world, || {
            let answer = ask(world, *from, None, *to, None)?;
            match (&seen, answer.works) {
                (Ok(_), Works::Yes) | (Err(_), Works::No) => Ok(String::new()),
                _ => Err(format!("{from:?} -> {to}: a ping ends with {seen:?}, and explain says:\n{answer}")),
            }
        })?;
    }
    Ok(format!("{} pings, {through} get through, and explain says so of each", pairs.len()))
}

/// A scene that was looked at once, and for which processes it holds.
#[derive(Default)]
pub struct Memory {
    seen: Option<(Vec<u32>, Rc<Scene>)>,
}

impl Memory {
    /// The scene, if it is one of these processes.
    pub fn get(&self, processes: &[u32]) -> Option<Rc<Scene>> {
        self.seen.as_ref().filter(|(of, _)| of == processes).map(|(_, scene)| Rc::clone(scene))
    }

    /// Keeps a scene.
    pub fn keep(&mut self, processes: Vec<u32>, scene: &Rc<Scene>) {
        self.seen = Some((processes, Rc::clone(scene)));
    }

    /// Something may have changed.
    pub fn forget(&mut self) {
        self.seen = None;
    }
}
