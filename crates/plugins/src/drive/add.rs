//! ADD.

use std::collections::BTreeMap;

use polynic_cni::{Error, Success, Verb, Version};
use polynic_kernel::{ApplyError, Kernel, KernelError, NetnsId, transaction};
use polynic_net::check::{holds, needs, promises_of, violations};
use polynic_net::{Entropy, Facts, Needs, Place, Plan, Stake};

use super::lock::{ContainerLock, SharedLock};
use super::replaced::Replaced;
use super::{Job, renamed};
use crate::record::{self, Earlier, RECORD_FORMAT, Record, Slot};
use crate::{Call, Ledger, Planned, Role};

mod on_link;

/// How often a look may show what else to look at.
const LOOKS: u32 = 3;

/// How often a plan is made anew because the kernel had moved on.
const ATTEMPTS: u32 = 3;

pub(super) fn add(job: &Job<'_>) -> Result<Success, Error> {
    let mut kernel = job.open()?;
    let call = job.call;
    let lock = ContainerLock::take(job.context.state, call.container_id());
    let lock = lock.map_err(|e| job.unlockable(&e))?;
    let slot = job.slot(&lock.directory);
    let ledger = job.ledger(Verb::Add)?;
    let kernel = kernel.as_mut();
    let mut attempt = Attempt { job, kernel, lock: &lock, ledger, slot, dirty: false, replaces: false };
    match attempt.slot.load() {
        Earlier::Nothing => {}
        Earlier::Applied(record) if Some(record.netns) == attempt.kernel.pod_id() => {
            return if record.given == job.given() {
                attempt.converge(&record)
            } else {
                attempt.replace(&record)
            };
        }
        earlier => attempt.clear(&earlier)?,
    }
    attempt.run()
}

struct Attempt<'a> {
    job: &'a Job<'a>,
    kernel: &'a mut dyn Kernel,
    lock: &'a ContainerLock,
    /// The replaced plugin's files, if the plugin keeps some.
    ledger: Option<Box<dyn Ledger>>,
    slot: Slot,
    /// The kernel refused to take something back. The record and the addresses then stay for DEL or the next ADD.
    dirty: bool,
    /// A failure leaves the record of what this attempt was to replace.
    replaces: bool,
}

impl<'a> Attempt<'a> {
    fn call(&self) -> &'a Call<'a> {
        self.job.call
    }

    fn observe(&mut self, ipam: Option<&Success>) -> Result<Facts, Error> {
        let needs = self.job.attachment.needs(self.call(), ipam);
        let mut facts = self.kernel.observe(&needs).map_err(|e| self.call().error(e))?;
        let mut asked = Needs::default();
        for _ in 0..LOOKS {
            let further = self.job.attachment.further_needs(self.call(), &facts);
            if further == asked {
                break;
            }
            facts.absorb(self.kernel.observe(&further).map_err(|e| self.call().error(e))?);
            asked = further;
        }
        Ok(facts)
    }

    /// The same attachment again: what is missing of the recorded plan is made, the recorded result answered.
    fn converge(&mut self, record: &Record) -> Result<Success, Error> {
        let result =
            Success::parse_as(Version::NEWEST, &record.result).map_err(|e| self.call().explain(e))?;
        // The version may be another one than the first time. Found out now, an answer that cannot be given changes nothing.
        result.check_convertible(self.call().conf.cni_version)?;
        if self.follows(&result)? {
            // Whatever the interface's name stands in the way of is refused as it would be without the record.
            let facts = self.observe(None)?;
            self.job.attachment.preflight(self.call(), &facts)?;
        }
        // What plugins after this one have moved or changed stays as they left it.
        let later = record::later(&self.lock.directory, record);
        let later: Vec<&Plan> = later.iter().map(|r| &r.plan).collect();
        let promised = promises_of(std::iter::once(&record.plan).chain(later.iter().copied()), |at| at == 0);
        let facts = self.kernel.observe(&needs(&promised)).map_err(|e| self.call().error(e))?;
        if !violations(&promised, &facts).is_empty() {
            let _alone = self.alone()?;
            let mended = transaction::converge(self.kernel, &record.plan, &later);
            mended.map_err(|e| self.call().error(e))?;
        }
        Ok(result)
    }

    /// Whether the recorded result is what this call builds on: then it is no repetition, but a second plugin of this type in the chain.
    fn follows(&self, result: &Success) -> Result<bool, Error> {
        let conf = self.call().conf;
        if self.job.attachment.role() == Role::Chained {
            return Ok(false);
        }
        let Some(prev) = conf.prev_result()? else { return Ok(false) };
        let recorded = Success::parse_as(conf.cni_version, &result.to_value(conf.cni_version)?)?;
        Ok(prev == recorded)
    }

    /// A chained plugin that is given something else now starts anew: what it did then built on what is no more. If it cannot
    /// do what is wanted now, what it did then is put back.
    fn replace(&mut self, record: &Record) -> Result<Success, Error> {
        let later = record::later(&self.lock.directory, record);
        let replaced = Replaced::observe(self.kernel, &record.plan, later);
        let replaced = replaced.map_err(|e| self.call().error(e))?;
        self.replaces = true;
        let outcome = self.take_back(record).and_then(|()| self.run());
        outcome.inspect_err(|_| {
            if self.dirty {
                return;
            }
            if let Err(e) = replaced.put_back(self.kernel) {
                (self.job.context.warn)(&format!("cannot put back what a failed ADD was to replace: {e}"));
            }
        })
    }

    fn take_back(&mut self, record: &Record) -> Result<(), Error> {
        let errors = super::del::remove_recorded(self.job, self.kernel, std::iter::once(record))?;
        let error = errors.into_iter().next();
        error.map_or(Ok(()), |e| Err(self.call().error(format!("cannot take an earlier ADD back: {e}"))))
    }

    /// Removes what an attempt left that never came to its end (a crash), or that was made in another namespace.
    fn clear(&mut self, earlier: &Earlier) -> Result<(), Error> {
        let errors = super::del::remove_recorded(self.job, self.kernel, earlier.records())?;
        if let Some(error) = errors.into_iter().next() {
            return Err(self.call().error(format!("cannot remove what an interrupted ADD left: {error}")));
        }
        self.job.ipam(Verb::Del)?;
        self.strike()?;
        self.slot.clear().map_err(|e| self.call().error(describe(&e)))
    }

    fn run(&mut self) -> Result<Success, Error> {
        // A chained plugin's plan says what cannot work, and no address is reserved before it.
        if self.job.attachment.role() == Role::Main {
            let facts = self.observe(None)?;
            self.job.attachment.preflight(self.call(), &facts)?;
            self.slot.reserve().map_err(|e| self.call().error(describe(&e)))?;
        }
        let outcome = match crate::ipam::works_on_link(self.job.attachment.ipam_type(self.call())) {
            true => self.reserve_on_link(),
            false => self.reserve_and_apply(),
        };
        outcome.inspect_err(|_| self.release())
    }

    /// What is missing may be shared, and nobody must build on it before it is known that it stays.
    fn alone(&self) -> Result<Option<SharedLock>, Error> {
        let mut lock = self.take_shared()?;
        lock.as_mut().map_or(Ok(()), SharedLock::make_exclusive).map_err(|e| self.call().error(e))?;
        Ok(lock)
    }

    fn take_shared(&self) -> Result<Option<SharedLock>, Error> {
        if !self.job.attachment.shares() {
            return Ok(None);
        }
        let lock = SharedLock::take(self.job.context.state);
        lock.map(Some).map_err(|e| self.call().error(format!("cannot take the lock of shared objects: {e}")))
    }

    /// Gives back what a failed attempt reserved. The failure that led here is the one to report.
    fn release(&mut self) {
        if self.dirty {
            return;
        }
        if let Err(e) = self.job.ipam(Verb::Del) {
            (self.job.context.warn)(&format!("cannot release addresses after a failed ADD: {e}"));
        }
        if let Err(e) = self.strike() {
            (self.job.context.warn)(&format!("{}: {e}", self.call().whom()));
        }
        let given_up = if self.replaces { self.slot.abandon() } else { self.slot.forget() };
        if let Err(e) = given_up {
            (self.job.context.warn)(&describe(&e));
        }
    }

    /// The lock of shared objects comes after the IPAM plugin, which may take its time: nobody else is to wait for it.
    fn reserve_and_apply(&mut self) -> Result<Success, Error> {
        let ipam = self.job.ipam(Verb::Add)?;
        self.ask()?;
        let mut shared = self.take_shared()?;
        let mut entropy = Entropy::new((self.job.context.seed)());
        let mut left = ATTEMPTS;
        loop {
            let facts = self.observe(ipam.as_ref())?;
            let mut planned = self.job.attachment.plan(self.call(), &facts, ipam.as_ref(), &mut entropy)?;
            super::ways::promise_only_ours(&mut planned.plan, || record::applied(&self.lock.directory));
            if let Some(lock) = shared.as_mut()
                && changes_shared(&planned.plan, &facts)
                && !lock.is_exclusive()
            {
                lock.make_exclusive().map_err(|e| self.call().error(e))?;
                continue;
            }
            // Found out now, an answer that cannot be given leaves nothing to clean up.
            planned.result.check_convertible(self.call().conf.cni_version)?;
            left -= 1;
            match self.apply(&facts, &planned, &mut shared)? {
                None => return Ok(planned.result),
                Some(stale) if left == 0 => return Err(stale),
                Some(_) => {}
            }
        }
    }

    /// Asks the network what decides whether anything is done at all.
    fn ask(&mut self) -> Result<(), Error> {
        let probes = self.job.attachment.probes(self.call())?;
        if probes.is_empty() {
            return Ok(());
        }
        self.kernel.probe(Place::Pod, &probes).map_err(|cause| {
            if cause.is_conflict() {
                self.report_conflict();
            }
            self.call().error(cause)
        })
    }

    /// Notes, applies, notes. `Some` is an error that fresh facts may mend; everything is taken back by then.
    ///
    /// The lock is given up for an IPAM plugin that has yet to ask the network about the addresses: nobody else is to wait for the
    /// answers. What is shared stays then, whatever they are.
    fn apply(
        &mut self,
        facts: &Facts,
        planned: &Planned,
        shared: &mut Option<SharedLock>,
    ) -> Result<Option<Error>, Error> {
        let record = self.record(planned)?;
        self.slot.intend(&record).map_err(|e| self.call().error(describe(&e)))?;
        let mut applied = match transaction::apply_from(self.kernel, &planned.plan, facts) {
            Ok(applied) => applied,
            Err(e) => {
                self.note_remains(&e.undo);
                let error = self.explain(planned, &e);
                if e.cause.is_conflict() {
                    self.report_conflict();
                }
                return if e.is_stale() && !self.dirty { Ok(Some(error)) } else { Err(error) };
            }
        };
        if self.has_to_settle() {
            applied.keep_shared(&planned.plan);
            *shared = None;
        }
        if let Err(error) = self.finish(facts, &planned.result) {
            let remains = applied.undo(self.kernel, &planned.plan);
            self.note_remains(&remains);
            return Err(error);
        }
        self.note_indexes(record);
        Ok(None)
    }

    /// The attachment is made by now. Without the indexes DEL goes by names.
    fn note_indexes(&mut self, record: Record) {
        let noted =
            renamed::indexes(self.kernel, &record.plan).map_err(|e| e.to_string()).and_then(|indexes| {
                if indexes.is_empty() {
                    return Ok(());
                }
                self.slot.amend(&Record { indexes, ..record }).map_err(|e| describe(&e))
            });
        if let Err(e) = noted {
            (self.job.context.warn)(&format!("{}: cannot note indexes of links: {e}", self.call().whom()));
        }
    }

    /// What is left to do when the kernel has everything: from here on the attachment is made.
    fn finish(&mut self, facts: &Facts, result: &Success) -> Result<(), Error> {
        self.settle()?;
        if let Some(ledger) = &self.ledger {
            ledger.enter(self.call(), facts, result).map_err(|e| self.call().explain(e))?;
        }
        self.slot.commit().map_err(|e| self.call().error(describe(&e)))
    }

    fn strike(&self) -> Result<(), Error> {
        self.ledger.as_ref().map_or(Ok(()), |ledger| ledger.strike(self.call()))
    }

    /// A chained plugin does not know where the addresses are from; if not from the agent, nobody has to be told.
    fn report_conflict(&self) {
        let ipam = self.job.attachment.ipam_type(self.call());
        if ipam == crate::ipam::spiderpool::TYPE || ipam.is_empty() {
            crate::ipam::spiderpool::report_conflict(self.job.context, self.call());
        }
    }

    fn has_to_settle(&self) -> bool {
        let ipam_type = self.job.attachment.ipam_type(self.job.call);
        crate::ipam::has_to_settle(self.job.context, self.job.call, ipam_type)
    }

    /// Lets the IPAM plugin finish while the interface is there.
    fn settle(&mut self) -> Result<(), Error> {
        let ipam_type = self.job.attachment.ipam_type(self.job.call);
        crate::ipam::settle(self.job.context, self.job.call, ipam_type, self.kernel)
    }

    /// The plugin's own words for a refused step, the network's answer as it is, or the step with its cause.
    fn explain(&self, planned: &Planned, error: &ApplyError) -> Error {
        let call = self.call();
        let step = planned.plan.steps.get(error.step).map(|s| &s.change);
        let own = step.and_then(|s| self.job.attachment.refused(call, s, &error.cause.to_string()));
        let of_ipam = || match self.job.attachment.ipam_type(call) {
            crate::ipam::spiderpool::TYPE => crate::ipam::spiderpool::in_own_words(&error.cause),
            _ => None,
        };
        let own = own.or_else(of_ipam);
        match own {
            Some(own) => call.explain(own),
            None if error.cause.is_answer() => call.error(&error.cause),
            None => call.error(error),
        }
    }

    fn note_remains(&mut self, errors: &[KernelError]) {
        self.dirty |= !errors.is_empty();
        for error in errors {
            (self.job.context.warn)(&format!("cannot take back a step of a failed ADD: {error}"));
        }
    }

    fn record(&self, planned: &Planned) -> Result<Record, Error> {
        let call = self.call();
        let printed = planned.result.print(Version::NEWEST)?;
        Ok(Record {
            format: RECORD_FORMAT,
            position: record::next_position(&self.lock.directory),
            network: call.network().to_owned(),
            ifname: call.ifname.to_string(),
            plugin: call.plugin.to_owned(),
            netns: self.kernel.pod_id().unwrap_or(NetnsId { device: 0, inode: 0 }),
            netns_path: call.invocation.netns.clone(),
            plan: planned.plan.clone(),
            given: self.job.given(),
            result: serde_json::from_str(&printed).map_err(|e| call.error(e))?,
            indexes: BTreeMap::new(),
        })
    }
}

/// Whether the plan changes anything that others share, given what is there already.
fn changes_shared(plan: &Plan, facts: &Facts) -> bool {
    let shared = plan.steps.iter().filter(|s| s.stake != Stake::Owned && s.change.place == Place::Host);
    shared.into_iter().any(|s| !holds(&s.change, facts))
}

/// An error with its source: record errors end up in one line of text.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
