//! One interface and its client: effects become frames, changes of the interface, files and answers.

use polynic_cni::Success;
use polynic_kernel::UdpFrames;

use super::{Reply, Tools, event_of};
use crate::Time;
use crate::apply::Remains;
use crate::client::{Client, Effect, Event, Loss};
use crate::frame::{self, Destination};
use crate::lease::Lease;
use crate::message::Message;
use crate::site::{Site, SiteError};
use crate::store::Kept;

/// Whether a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    Ends,
}

/// One interface.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) site: Site,
    /// Open while answers are waited for.
    pub(super) frames: Option<UdpFrames>,
    waiting: Vec<Reply<Success>>,
    /// Whether somebody was given a lease for the interface: from then on it is ours to keep it up to date.
    handed_out: bool,
    /// The lease whose address the interface has.
    applied: Option<Lease>,
    /// What the interface lost with its last address.
    missed: Remains,
}

impl Session {
    pub(super) fn new(client: Client, site: Site, reply: Reply<Success>) -> Self {
        Self {
            client,
            site,
            frames: None,
            waiting: vec![reply],
            handed_out: false,
            applied: None,
            missed: Remains::default(),
        }
    }

    /// Takes up a lease of before; none if its interface is gone.
    pub(super) fn restore(tools: &Tools, kept: &Kept, now: Time, seed: u64) -> Option<Self> {
        let (door, held) = (tools.door.as_ref(), kept.held());
        let site = Site::find(door, &kept.netns, &kept.ifname).ok()?;
        // A file from the future is from another boot.
        if site.id != kept.netns_id || held.since > now {
            return None;
        }
        let has_address = site.has(door, &held.lease).unwrap_or_default();
        let applied = has_address.then(|| held.lease.clone());
        let mut client = Client::new(kept.identity(), tools.settings.timing, seed);
        client.resume(now, held);
        Some(Self {
            client,
            site,
            frames: None,
            waiting: Vec::new(),
            handed_out: true,
            applied,
            missed: Remains::default(),
        })
    }

    /// Answers with the lease that there is, or when there is one.
    pub(super) fn answer_or_wait(&mut self, reply: Reply<Success>) {
        match self.client.held() {
            Some(held) => {
                let _ = reply.send(Ok(held.lease.result(self.priority())));
            }
            None => self.waiting.push(reply),
        }
    }

    /// Reads what has come.
    pub(super) fn listen(&mut self, tools: &Tools, now: Time, buffer: &mut [u8]) -> Fate {
        while let Some(frames) = &self.frames {
            let event = match frames.receive(buffer) {
                Ok(Some(frame)) => event_of(frame),
                Ok(None) => break,
                // The link is gone; the next time to do something shows it.
                Err(_) => {
                    self.frames = None;
                    break;
                }
            };
            let Some(event) = event else { continue };
            let effects = self.client.handle(now, event);
            if self.perform(tools, effects) == Fate::Ends {
                return Fate::Ends;
            }
        }
        Fate::Lives
    }

    /// It is time to do something. An interface that is gone needs nothing more (spec/plugins.md 2.3: silently).
    pub(super) fn wake_up(&mut self, tools: &Tools, now: Time) -> Fate {
        let Some(site) = self.site.again(tools.door.as_ref()) else {
            tools.forget(&self.client.identity().client_id);
            self.answer(&Err("the interface is gone".to_owned()));
            return Fate::Ends;
        };
        if site.mac != self.site.mac {
            self.client.readdress(site.mac);
        }
        self.site = site;
        let effects = self.client.handle(now, Event::Woken);
        self.perform(tools, effects)
    }

    /// Gives the lease back and ends. That the server does not hear of it is no failure.
    pub(super) fn release(&mut self, tools: &Tools) {
        let there = self.site.again(tools.door.as_ref()).is_some();
        if let (Some((message, to)), true) = (self.client.release(), there) {
            self.send(&message, to);
        }
        tools.forget(&self.client.identity().client_id);
        self.answer(&Err("the lease was released while it was waited for".to_owned()));
    }

    /// Does what the client wants.
    pub(super) fn perform(&mut self, tools: &Tools, effects: Vec<Effect>) -> Fate {
        for effect in effects {
            match effect {
                Effect::Send(message, to) => self.send(&message, to),
                Effect::Leased(lease) => self.take(tools, lease),
                Effect::Lost { lease, why } => {
                    let why = match why {
                        Loss::Expired => "its time is over",
                        Loss::Refused => "a server refused it",
                    };
                    tracing::warn!(of = self.name(), address = %lease.address, why, "a lease is lost");
                    self.change(tools, None);
                }
                Effect::GaveUp(why) => {
                    tracing::warn!(of = self.name(), why, "no lease");
                    self.answer(&Err(why));
                    return Fate::Ends;
                }
            }
        }
        if !self.client.is_listening() {
            self.frames = None;
        }
        Fate::Lives
    }

    fn name(&self) -> &str {
        &self.client.identity().client_id
    }

    fn priority(&self) -> Option<u32> {
        self.client.identity().wishes.priority
    }

    /// What is not sent is sent again in its time.
    fn send(&mut self, message: &Message, to: Destination) {
        if let Err(why) = self.try_send(message, to) {
            tracing::warn!(of = self.name(), %why, "a message to DHCP servers is not sent");
            self.frames = None;
        }
    }

    fn try_send(&mut self, message: &Message, to: Destination) -> Result<(), SiteError> {
        let frames = match self.frames.take() {
            Some(frames) => frames,
            None => self.site.frames()?,
        };
        let frames = self.frames.insert(frames);
        let sent = frames.send(&frame::build(message, to));
        sent.map_err(|e| SiteError::Socket(self.site.ifname.clone(), e))
    }

    /// A lease: the first goes to whoever asked, later ones to the interface.
    fn take(&mut self, tools: &Tools, lease: Lease) {
        if self.handed_out {
            self.change(tools, Some(lease.clone()));
        } else {
            tracing::info!(of = self.name(), address = %lease.address, seconds = lease.seconds, "a lease");
        }
        (self.handed_out, self.applied) = (true, Some(lease.clone()));
        if let Some(held) = self.client.held() {
            let kept =
                Kept::new(self.client.identity(), held, (&self.site.netns, self.site.id), &self.site.ifname);
            if let Err(why) = tools.store.keep(&kept) {
                tracing::warn!(of = self.name(), %why, "a lease cannot be kept on disk and will not survive a restart");
            }
        }
        self.answer(&Ok(lease.result(self.priority())));
    }

    fn change(&mut self, tools: &Tools, to: Option<Lease>) {
        let before = self.applied.take();
        let (door, priority) = (tools.door.as_ref(), self.priority());
        let leases = (before.as_ref(), to.as_ref());
        let changed = self.site.change(door, priority, leases, &mut self.missed);
        let moved = before.as_ref().map(|l| l.address) != to.as_ref().map(|l| l.address);
        match (changed, &to) {
            (Ok(failed), to) => {
                failed
                    .iter()
                    .for_each(|why| tracing::warn!(of = self.name(), %why, "the interface is not as leased"));
                if let (Some(lease), true) = (to, moved) {
                    tracing::warn!(of = self.name(), address = %lease.address, "the interface has another address");
                }
            }
            (Err(why), _) => tracing::warn!(of = self.name(), %why, "the interface is not as leased"),
        }
        self.applied = to;
    }

    fn answer(&mut self, answer: &Result<Success, String>) {
        for reply in self.waiting.drain(..) {
            let _ = reply.send(answer.clone());
        }
    }
}
