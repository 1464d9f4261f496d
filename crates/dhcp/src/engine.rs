//! All leases of a node on one thread: it waits for packets, times and commands, and does what the state machines say.
//!
//! A bound interface costs nothing: no socket, no thread, no descriptor that would keep its namespace alive.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use polynic_cni::Success;
use polynic_kernel::Door;
use polynic_net::{Entropy, IfName};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Time;
use crate::bell::Bell;
use crate::client::{Client, Event, Identity};
use crate::clock::Clock;
use crate::frame;
use crate::retry::Timing;
use crate::site::{Site, SiteError};
use crate::store::{Kept, Store};
use crate::wishes::Wishes;

mod session;
mod trouble;

use session::{Fate, Session};
use trouble::Trouble;

/// How long the engine rests when it cannot wait.
const REST: Duration = Duration::from_millis(200);

/// Room for one frame; clients say that they take messages of 1500 bytes.
const BUFFER: usize = 2048;

/// What the daemon was told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) timing: Timing,
    /// Always ask for answers by broadcast.
    pub(crate) broadcast: bool,
    /// Where leases are kept.
    pub(crate) state: PathBuf,
}

/// For which interface something is asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) client_id: String,
    pub(crate) netns: String,
    pub(crate) ifname: IfName,
    pub(crate) wishes: Wishes,
}

pub(crate) type Reply<T> = SyncSender<Result<T, String>>;

/// What the engine can be told.
pub(crate) enum Command {
    Allocate(Asked, Reply<Success>),
    Release(String, Reply<()>),
    Check(String, Reply<()>),
    Stop,
}

/// What sessions work with.
pub(crate) struct Tools {
    pub(crate) settings: Settings,
    pub(crate) door: Box<dyn Door>,
    pub(crate) store: Store,
}

/// The engine.
pub(crate) struct Engine {
    tools: Tools,
    clock: Clock,
    entropy: Entropy,
    sessions: BTreeMap<String, Session>,
    commands: Receiver<Command>,
    bell: Arc<Bell>,
    /// Leases on disk could not be read.
    reading: Trouble,
    /// Packets could not be waited for.
    waiting: Trouble,
}

impl Engine {
    pub(crate) fn new(
        tools: Tools,
        clock: Clock,
        seed: u64,
        commands: Receiver<Command>,
        bell: Arc<Bell>,
    ) -> Self {
        let (reading, waiting) = (Trouble::default(), Trouble::default());
        let (entropy, sessions) = (Entropy::new(seed), BTreeMap::new());
        Self { tools, clock, entropy, sessions, commands, bell, reading, waiting }
    }

    /// Takes up the leases of the daemon before. What cannot be read just now is read later.
    pub(crate) fn restore(&mut self) {
        let now = self.clock.now();
        self.reading.begin();
        let (leases, failed) = self.tools.store.load();
        for kept in leases {
            if self.sessions.contains_key(&kept.client_id) {
                continue;
            }
            match Session::restore(&self.tools, &kept, now, self.entropy.bits()) {
                Some(session) => drop(self.sessions.insert(kept.client_id.clone(), session)),
                None => self.tools.forget(&kept.client_id),
            }
        }
        if let Some(why) = failed
            && self.reading.fail(now)
        {
            tracing::warn!(%why, "leases of before cannot be read just now: this is tried again");
        }
        self.reading.end();
        tracing::info!(leases = self.sessions.len(), "leases of before are taken up");
    }

    /// Works until it is told to stop.
    pub(crate) fn run(mut self) {
        let mut buffer = vec![0; BUFFER];
        loop {
            while let Ok(command) = self.commands.try_recv() {
                if matches!(command, Command::Stop) {
                    return;
                }
                self.obey(command);
            }
            for client_id in self.readable() {
                self.with(&client_id, |session, tools, now| session.listen(tools, now, &mut buffer));
            }
            let now = self.clock.now();
            if self.reading.again().is_some_and(|at| at <= now) {
                self.restore();
            }
            let due = self.sessions.iter().filter(|(_, s)| s.wake().is_some_and(|at| at <= now));
            let due: Vec<String> = due.map(|(client_id, _)| client_id.clone()).collect();
            for client_id in due {
                self.with(&client_id, Session::wake_up);
            }
        }
    }

    /// Waits, and says who has packets. Where waiting fails, leases are looked after without it.
    fn readable(&mut self) -> Vec<String> {
        self.waiting.begin();
        match self.wait() {
            Ok(readable) => {
                self.waiting.end();
                readable
            }
            Err(why) => {
                if self.waiting.fail(self.clock.now()) {
                    tracing::warn!(%why, "the DHCP daemon cannot wait for packets just now, and tries again");
                }
                std::thread::sleep(REST);
                Vec::new()
            }
        }
    }

    /// Waits for a packet, the next time, or the bell; says who has packets.
    fn wait(&self) -> io::Result<Vec<String>> {
        let listening: Vec<_> =
            self.sessions.iter().filter_map(|(id, s)| Some((id, s.frames.as_ref()?))).collect();
        let mut fds = vec![PollFd::new(self.bell.as_ref(), PollFlags::IN)];
        fds.extend(listening.iter().map(|(_, frames)| PollFd::new(*frames, PollFlags::IN)));
        let times = self.sessions.values().filter_map(Session::wake);
        let next: Option<Time> = times.chain(self.reading.again()).min();
        // Rounded up, so that the next look is not too early by a fraction.
        let left = next.map(|at| at.saturating_sub(self.clock.now()) + Duration::from_micros(50));
        let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        self.bell.silence();
        let ready = fds.iter().skip(1).zip(&listening).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, (id, _))| (*id).clone()).collect())
    }

    /// Lets a session do something, and lets it go if that was its end.
    fn with(&mut self, client_id: &str, work: impl FnOnce(&mut Session, &Tools, Time) -> Fate) {
        let now = self.clock.now();
        let Some(session) = self.sessions.get_mut(client_id) else { return };
        if work(session, &self.tools, now) == Fate::Ends {
            self.sessions.remove(client_id);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Allocate(asked, reply) => self.allocate(&asked, reply),
            Command::Release(client_id, reply) => {
                match self.sessions.remove(&client_id) {
                    Some(mut session) => session.release(&self.tools),
                    None => release_kept(self.tools.door.as_ref(), &self.tools.store, &client_id),
                }
                // A caller that has gone needs no answer, here and below.
                let _ = reply.send(Ok(()));
            }
            Command::Check(client_id, reply) => {
                let now = self.clock.now();
                let held = self.sessions.get(&client_id).is_some_and(|s| s.lease(now).is_some());
                let missing = || Err(format!("there is no lease for {client_id}"));
                let _ = reply.send(if held { Ok(()) } else { missing() });
            }
            Command::Stop => {}
        }
    }

    fn allocate(&mut self, asked: &Asked, reply: Reply<Success>) {
        let site = match Site::prepare(self.tools.door.as_ref(), &asked.netns, &asked.ifname) {
            Ok(site) => site,
            Err(why) => {
                let _ = reply.send(Err(why.to_string()));
                return;
            }
        };
        let known = self.sessions.get_mut(&asked.client_id);
        if let Some(session) = known.filter(|s| s.site.is_same(&site)) {
            return session.answer_or_wait(self.clock.now(), reply);
        }
        // The same attachment on an interface that was made anew: its address will do again.
        let before = self.sessions.remove(&asked.client_id).and_then(|s| s.client.held().cloned());
        let kept = || self.tools.store.find(&asked.client_id).ok().flatten();
        let before = before.or_else(|| kept().map(|kept| kept.held()));
        let who = Identity {
            mac: site.mac,
            client_id: asked.client_id.clone(),
            broadcast: self.tools.settings.broadcast || site.shares_mac,
            wishes: asked.wishes.clone(),
        };
        let client = Client::new(who, self.tools.settings.timing, self.entropy.bits());
        let session = Session::new(client, site, reply);
        self.sessions.insert(asked.client_id.clone(), session);
        self.with(&asked.client_id, |session, tools, now| {
            let effects = match before {
                Some(held) => session.client.reboot(now, held.lease.address.addr()),
                None => session.client.start(now),
            };
            session.perform(tools, now, effects)
        });
    }
}

impl Tools {
    /// Forgets a lease; one that stays on disk is found out when its interface is looked for.
    pub(crate) fn forget(&self, client_id: &str) {
        if let Err(why) = self.store.forget(client_id) {
            tracing::warn!(client_id, %why, "a lease that ended cannot be removed from disk");
        }
    }
}

/// Gives a lease back that nobody looks after. That the server does not hear of it is no failure: the lease ends by itself.
pub(crate) fn release_kept(door: &dyn Door, store: &Store, client_id: &str) {
    match store.find(client_id) {
        Ok(Some(kept)) => tell_server(door, &kept),
        Ok(None) => return,
        Err(why) => tracing::warn!(client_id, %why, "the server is not told of a release: the lease's file"),
    }
    if let Err(why) = store.forget(client_id) {
        tracing::warn!(client_id, %why, "a lease that ended cannot be removed from disk");
    }
}

fn tell_server(door: &dyn Door, kept: &Kept) {
    let mut client = Client::new(kept.identity(), Timing::default(), 0);
    client.resume(Time::ZERO, kept.held());
    let Some((message, to)) = client.release() else { return };
    let told = Site::kept(kept).look(door).and_then(|seen| {
        let frames = seen.site.frames()?;
        let sent = frames.send(&frame::build(&message, to));
        sent.map_err(|e| SiteError::Socket(seen.site.ifname.clone(), e))
    });
    if let Err(why) = told.or_else(|why| if why.is_gone() { Ok(()) } else { Err(why) }) {
        tracing::warn!(client_id = kept.client_id, %why, "the server is not told of a release");
    }
}

/// An event that a frame is, if it is one.
fn event_of(frame: &[u8]) -> Option<Event> {
    frame::parse(frame).map(|(message, from)| Event::Received(Box::new(message), from))
}
