//! One interface and its client: effects become frames, changes of the interface, files and answers.
//!
//! What an error that may pass keeps from being done is owed, and done at a later wake-up.

use std::time::Duration;

use polynic_cni::Success;
use polynic_kernel::UdpFrames;
use polynic_net::Change;

use super::trouble::Trouble;
use super::{Reply, Tools, event_of};
use crate::Time;
use crate::apply::Remains;
use crate::client::{Client, Effect, Event, Loss};
use crate::frame::{self, Destination};
use crate::lease::Lease;
use crate::message::Message;
use crate::site::{Failed, Seen, Site, SiteError, may_pass};
use crate::store::Kept;

/// A socket that broke is opened again after this: its link may have been down for a moment.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

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
    /// Whether the interface was not looked at yet: it is that of an earlier daemon.
    is_unseen: bool,
    /// What the interface lost with its last address.
    missed: Remains,
    owed: Owed,
    trouble: Trouble,
}

/// What is still to be done.
#[derive(Default)]
struct Owed {
    message: Option<(Message, Destination)>,
    /// The interface is not as leased.
    interface: bool,
    /// Single changes of the interface.
    changes: Vec<Change>,
    /// The file is not that of the lease.
    file: bool,
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
            is_unseen: false,
            missed: Remains::default(),
            owed: Owed::default(),
            trouble: Trouble::default(),
        }
    }

    /// Takes up a lease of before, whose interface is looked at next; none if it is from another boot, as a file from the future is.
    pub(super) fn restore(tools: &Tools, kept: &Kept, now: Time, seed: u64) -> Option<Self> {
        let held = kept.held();
        if held.since > now {
            return None;
        }
        let mut client = Client::new(kept.identity(), tools.settings.timing, seed);
        client.resume(now, held);
        let mut trouble = Trouble::default();
        trouble.look_at(now);
        Some(Self {
            client,
            site: Site::kept(kept),
            frames: None,
            waiting: Vec::new(),
            handed_out: true,
            applied: None,
            is_unseen: true,
            missed: Remains::default(),
            owed: Owed::default(),
            trouble,
        })
    }

    /// When there is something to do. While an error lasts, that is the next try.
    pub(super) fn wake(&self) -> Option<Time> {
        self.trouble.again().or_else(|| self.client.wake())
    }

    /// The lease, unless its time is over and nobody has noticed yet.
    pub(super) fn lease(&self, now: Time) -> Option<&Lease> {
        let held = self.client.held()?;
        held.ends_at().is_none_or(|end| end > now).then_some(&held.lease)
    }

    /// Answers with the lease that there is, or when there is one.
    pub(super) fn answer_or_wait(&mut self, now: Time, reply: Reply<Success>) {
        match self.lease(now) {
            Some(lease) => {
                let _ = reply.send(Ok(lease.result(self.priority())));
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
                // The link is gone, or down.
                Err(_) => {
                    self.frames = None;
                    self.trouble.look_at(now + REOPEN_AFTER);
                    break;
                }
            };
            let Some(event) = event else { continue };
            let effects = self.client.handle(now, event);
            if self.perform(tools, now, effects) == Fate::Ends {
                return Fate::Ends;
            }
        }
        Fate::Lives
    }

    /// It is time to do something. An interface that is gone needs nothing more (spec/plugins.md 2.3: silently); one that cannot be
    /// looked at just now keeps its lease.
    pub(super) fn wake_up(&mut self, tools: &Tools, now: Time) -> Fate {
        self.trouble.begin();
        let seen = match self.site.look(tools.door.as_ref()) {
            Ok(seen) => seen,
            Err(why) if why.is_gone() => {
                tools.forget(&self.client.identity().client_id);
                self.answer(&Err("the interface is gone".to_owned()));
                return Fate::Ends;
            }
            Err(why) => {
                self.put_off(now, &why);
                return Fate::Lives;
            }
        };
        self.take_in(seen);
        self.catch_up(tools, now);
        let effects = self.client.handle(now, Event::Woken);
        let fate = self.perform(tools, now, effects);
        self.hear_again(now);
        if self.trouble.end() {
            tracing::info!(of = self.name(), "the lease is looked after again");
        }
        fate
    }

    /// Gives the lease back and ends. That the server does not hear of it is no failure.
    pub(super) fn release(&mut self, tools: &Tools) {
        let there = self.site.look(tools.door.as_ref());
        if let (Some((message, to)), Ok(seen)) = (self.client.release(), &there) {
            self.site = seen.site.clone();
            let sent = self.try_send(&message, to);
            sent.unwrap_or_else(|why| self.say_untold(&why));
        }
        if let Err(why) = there.as_ref()
            && !why.is_gone()
        {
            self.say_untold(why);
        }
        tools.forget(&self.client.identity().client_id);
        self.answer(&Err("the lease was released while it was waited for".to_owned()));
    }

    fn say_untold(&self, why: &SiteError) {
        tracing::warn!(of = self.name(), %why, "the server is not told of a release");
    }

    /// Does what the client wants.
    pub(super) fn perform(&mut self, tools: &Tools, now: Time, effects: Vec<Effect>) -> Fate {
        for effect in effects {
            match effect {
                Effect::Send(message, to) => self.send(now, message, to),
                Effect::Leased(lease) => self.take(tools, now, lease),
                Effect::Lost { lease, why } => {
                    let why = match why {
                        Loss::Expired => "its time is over",
                        Loss::Refused => "a server refused it",
                    };
                    tracing::warn!(of = self.name(), address = %lease.address, why, "a lease is lost");
                    self.change(tools, now);
                }
                Effect::GaveUp(why) => {
                    tracing::warn!(of = self.name(), why, "no lease");
                    self.answer(&Err(why));
                    return Fate::Ends;
                }
            }
        }
        if !self.client.is_listening() {
            (self.frames, self.owed.message) = (None, None);
        }
        Fate::Lives
    }

    fn name(&self) -> &str {
        &self.client.identity().client_id
    }

    fn priority(&self) -> Option<u32> {
        self.client.identity().wishes.priority
    }

    /// Goes on with the interface as it is now.
    fn take_in(&mut self, seen: Seen) {
        if std::mem::take(&mut self.is_unseen) {
            let lease = self.client.held().map(|held| &held.lease);
            self.applied = lease.filter(|lease| seen.has(lease)).cloned();
        }
        if seen.site.mac != self.site.mac {
            self.client.readdress(seen.site.mac);
        }
        self.site = seen.site;
    }

    /// Does what is owed.
    fn catch_up(&mut self, tools: &Tools, now: Time) {
        if self.owed.interface {
            self.change(tools, now);
        }
        let changes = std::mem::take(&mut self.owed.changes);
        if !changes.is_empty() {
            match self.site.make(tools.door.as_ref(), changes.clone()) {
                Ok(failed) => self.put_off_changes(now, failed),
                Err(why) => {
                    self.owed.changes = changes;
                    self.put_off(now, &why);
                }
            }
        }
        if self.owed.file {
            self.keep(tools, now);
        }
        if let Some((message, to)) = self.owed.message.take() {
            self.send(now, message, to);
        }
    }

    /// An error keeps something from being done: it is done later. An interface that is gone shows at the next look.
    fn put_off(&mut self, now: Time, why: &SiteError) {
        if why.is_gone() {
            self.trouble.look_at(now);
        } else {
            self.say_put_off(now, why);
        }
    }

    fn say_put_off(&mut self, now: Time, why: &dyn std::fmt::Display) {
        if self.trouble.fail(now) {
            tracing::warn!(of = self.name(), %why, "a lease cannot be looked after just now: it is kept, and this is tried again");
        }
    }

    fn put_off_changes(&mut self, now: Time, failed: Failed) {
        if let Some((_, why)) = failed.iter().find(|(_, why)| may_pass(why)) {
            // What failed for another reason may have failed for want of this one.
            self.say_put_off(now, why);
            self.owed.changes = failed.into_iter().map(|(change, _)| change).collect();
            return;
        }
        for (_, why) in failed {
            tracing::warn!(of = self.name(), %why, "the interface is not as leased");
        }
    }

    /// What is lost on its way is sent again in its time.
    fn send(&mut self, now: Time, message: Message, to: Destination) {
        self.owed.message = None;
        if let Err(why) = self.try_send(&message, to) {
            self.frames = None;
            self.put_off(now, &why);
            self.owed.message = Some((message, to));
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

    /// Opens the socket again if it broke while an answer was waited for.
    fn hear_again(&mut self, now: Time) {
        if self.frames.is_none() && self.client.is_listening() && self.owed.message.is_none() {
            match self.site.frames() {
                Ok(frames) => self.frames = Some(frames),
                Err(why) => self.put_off(now, &why),
            }
        }
    }

    /// A lease: the first goes to whoever asked, later ones to the interface.
    fn take(&mut self, tools: &Tools, now: Time, lease: Lease) {
        let answer = Ok(lease.result(self.priority()));
        if self.handed_out {
            self.change(tools, now);
        } else {
            tracing::info!(of = self.name(), address = %lease.address, seconds = lease.seconds, "a lease");
            (self.handed_out, self.applied) = (true, Some(lease));
        }
        self.keep(tools, now);
        self.answer(&answer);
    }

    /// Writes down what is held.
    fn keep(&mut self, tools: &Tools, now: Time) {
        let Some(held) = self.client.held() else { return };
        let kept = tools.store.keep(&Kept::new(self.client.identity(), held, &self.site));
        self.owed.file = kept.is_err();
        if let Err(why) = kept {
            self.say_put_off(now, &format_args!("its file cannot be written: {why}"));
        }
    }

    /// Makes the interface as the lease says that is held, if one is.
    fn change(&mut self, tools: &Tools, now: Time) {
        let to = self.client.held().map(|held| held.lease.clone());
        self.owed.interface = false;
        if same_on_link(self.applied.as_ref(), to.as_ref()) {
            self.applied = to;
            return;
        }
        self.owed.changes.clear();
        let (door, leases) = (tools.door.as_ref(), (self.applied.as_ref(), to.as_ref()));
        match self.site.change(door, self.client.identity().wishes.priority, leases, &mut self.missed) {
            Ok(failed) => {
                let before = self.applied.take().map(|lease| lease.address);
                if let Some(lease) = to.as_ref().filter(|lease| Some(lease.address) != before) {
                    tracing::warn!(of = self.name(), address = %lease.address, "the interface has another address");
                }
                self.applied = to;
                self.put_off_changes(now, failed);
            }
            Err(why) => {
                self.owed.interface = true;
                self.put_off(now, &why);
            }
        }
    }

    fn answer(&mut self, answer: &Result<Success, String>) {
        for reply in self.waiting.drain(..) {
            let _ = reply.send(answer.clone());
        }
    }
}

/// Whether an interface is the same with both.
fn same_on_link(one: Option<&Lease>, other: Option<&Lease>) -> bool {
    let seen = |lease: Option<&Lease>| lease.map(|lease| (lease.address, lease.routes.clone()));
    seen(one) == seen(other)
}
