//! Listening to all links of a namespace while probes run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use polynic_kernel::Capture;
use polynic_kernel::netns::{Netns, Pod};
use polynic_net::IfName;

use super::frame::{self, Sender};

/// The links by which the packets of one probe passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Those of whoever asked.
    pub asked: BTreeSet<String>,
    /// Those of whoever was asked.
    pub answered: BTreeSet<String>,
}

/// By the probes' numbers.
type Heard = BTreeMap<u16, Passed>;

/// A thread that listens.
pub struct Watch {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<Heard>>,
}

impl Watch {
    /// Listens to every link but the loopback, for probes of these numbers.
    pub fn start(space: &Netns<Pod>, numbers: BTreeSet<u16>) -> Result<Watch, String> {
        let mut captures = Vec::new();
        for link in links(space)? {
            let capture = Capture::open(space, &link).map_err(|why| format!("listen to {link}: {why}"))?;
            captures.push((link.to_string(), capture));
        }
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let thread = std::thread::spawn(move || listen(&captures, &numbers, &told));
        Ok(Watch { enough, thread })
    }

    /// What was heard up to now.
    pub fn stop(self) -> Result<Heard, String> {
        self.enough.store(true, Ordering::Release);
        let heard = self.thread.join().map_err(|_| "the listener failed")?;
        heard.map_err(|why| format!("listen to the links: {why}"))
    }
}

fn links(space: &Netns<Pod>) -> Result<Vec<IfName>, String> {
    let names = space.run(|| std::fs::read_to_string("/proc/thread-self/net/dev")).flatten();
    let names = names.map_err(|why| format!("list the links: {why}"))?;
    let names = names.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    names
        .filter(|name| *name != "lo")
        .map(|name| name.parse::<IfName>().map_err(|why| format!("{name}: {why}")))
        .collect()
}

fn listen(
    captures: &[(String, Capture)],
    numbers: &BTreeSet<u16>,
    enough: &AtomicBool,
) -> std::io::Result<Heard> {
    let mut heard = Heard::new();
    loop {
        // Asked before reading: what passed before the end was told is read after it.
        let last = enough.load(Ordering::Acquire);
        for (link, capture) in captures {
            for frame in capture.frames()? {
                let Some((number, sender)) = frame::read(&frame, numbers) else { continue };
                let passed = heard.entry(number).or_default();
                let links = match sender {
                    Sender::Asker => &mut passed.asked,
                    Sender::Asked => &mut passed.answered,
                };
                links.insert(link.clone());
            }
        }
        if last {
            return Ok(heard);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
