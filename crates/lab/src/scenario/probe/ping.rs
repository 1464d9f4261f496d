//! Echo requests: a socket and a thread per namespace, family and source, which sends again what was not answered.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use polynic_kernel::netns::{Netns, Pod};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, SendFlags, recv, sendto};

use super::super::packet;
use super::{Answers, PATIENCE, Waiting};

/// How long answers are waited for before what is left is sent again.
const AGAIN: Duration = Duration::from_secs(1);

/// With which source, if it is given, and to whom.
type Ends = (Option<IpAddr>, IpAddr);

/// Sends an echo request for each of these numbers.
pub fn start(space: &Netns<Pod>, pings: &[(u16, Ends)]) -> Result<Vec<Waiting>, String> {
    let mut alike: BTreeMap<(bool, Option<IpAddr>), BTreeMap<u16, IpAddr>> = BTreeMap::new();
    for (number, (source, to)) in pings {
        alike.entry((to.is_ipv4(), *source)).or_default().insert(*number, *to);
    }
    let mut waiting = Vec::new();
    for ((_, source), pings) in alike {
        let Some(first) = pings.values().next().copied() else { continue };
        let socket = space.run(move || packet::open(source, first)).map_err(|why| why.to_string())?;
        let socket = socket.map_err(|why| format!("make an ICMP socket: {why}"))?;
        waiting.push(std::thread::spawn(move || ask(&socket, pings)));
    }
    Ok(waiting)
}

fn ask(socket: &OwnedFd, mut pings: BTreeMap<u16, IpAddr>) -> Answers {
    let mut answers = Answers::new();
    let mut refused = BTreeMap::new();
    let began = Instant::now();
    // A short wait, so that the socket is read until each second is over.
    let _ = set_socket_timeout(socket, Timeout::Recv, Some(Duration::from_millis(200)));
    for sequence in 1.. {
        if pings.is_empty() || began.elapsed() > PATIENCE {
            break;
        }
        for (number, to) in &pings {
            let request = packet::request(*to, *number, sequence);
            if let Err(why) = sendto(socket, &request, SendFlags::empty(), &SocketAddr::new(*to, 0)) {
                refused.insert(*number, why.to_string());
            }
        }
        answers.extend(hear(socket, &mut pings).into_iter().map(|number| (number, Ok(()))));
    }
    let why = |number: &u16| refused.get(number).cloned().unwrap_or_else(|| "no answer".to_owned());
    answers.extend(pings.keys().map(|number| (*number, Err(why(number)))));
    answers
}

/// Those that are answered before it is time to ask again.
fn hear(socket: &OwnedFd, open: &mut BTreeMap<u16, IpAddr>) -> Vec<u16> {
    let (began, mut buffer, mut heard) = (Instant::now(), [0; 2048], Vec::new());
    while began.elapsed() < AGAIN && !open.is_empty() {
        let Ok((length, _)) = recv(socket, &mut buffer, RecvFlags::empty()) else { continue };
        let packet = &buffer[..length.min(buffer.len())];
        // All of a socket are of one family.
        let number = open.values().next().and_then(|to| packet::answered(packet, *to));
        if let Some((number, _)) = number.filter(|(number, _)| open.contains_key(number)) {
            open.remove(&number);
            heard.push(number);
        }
    }
    heard
}
