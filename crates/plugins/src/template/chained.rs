//! The template of chained plugins: they change what the plugins before them in a network's chain made.
//!
//! The driver treats them as it treats main plugins (lock, record, transaction, undo), with these differences. ADD insists on a
//! prevResult and hands it over. A record is kept for each configuration, so that one type may stand twice in a chain with
//! different configurations: a repeated ADD finds its own record, DEL takes the latest first. No IPAM plugin is called. What
//! DEL removes without a record never includes the interface, which somebody else made.

use polynic_cni::{Error, Success, Verb, Version};
use polynic_net::{Change, Entropy, Facts, Needs, Probe};

use super::{Attachment, Call, Context, Ledger, Leftovers, Planned, Role};

/// A chained plugin: it reads configurations.
pub trait ChainedPlugin: Send + Sync {
    /// Its type.
    fn plugin_type(&self) -> &'static str;

    /// The protocol versions it accepts.
    fn versions(&self) -> &'static [Version] {
        &Version::ALL
    }

    /// Reads and validates its configuration. Must need neither kernel nor files, so that DEL always gets past it.
    fn read(&self, call: &Call<'_>) -> Result<Box<dyn ChainedAttachment>, Error>;

    /// The log file that the configuration asks for.
    fn log(&self, _call: &Call<'_>) -> Result<Option<crate::log::Options>, Error> {
        Ok(None)
    }

    /// What DEL removes where the configuration cannot be read either.
    fn leftovers_unread(&self, _call: &Call<'_>) -> Leftovers {
        Leftovers::default()
    }
}

/// One change of an attachment, to be made, checked or taken back. `prev` is the prevResult.
pub trait ChainedAttachment {
    /// ADD only, before anything is observed: asks others for what the configuration leaves open.
    fn consult(&mut self, _call: &Call<'_>, _context: &Context<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// Why ADD cannot do without a prevResult.
    fn without_prev_result(&self) -> &'static str {
        "must be called as a chained plugin: there is no prevResult"
    }

    /// Whether its plans may contain changes that attachments of other pods share. Only then is the lock of shared objects taken.
    fn shares(&self) -> bool {
        false
    }

    /// What the replaced plugin keeps on disk, as for a main plugin.
    fn ledger(&self, _call: &Call<'_>) -> Option<Box<dyn Ledger>> {
        None
    }

    /// What to observe for [`ChainedAttachment::plan`].
    fn needs(&self, call: &Call<'_>, prev: &Success) -> Needs;

    /// What to observe besides, now that `facts` are known.
    fn further_needs(&self, _call: &Call<'_>, _prev: &Success, _facts: &Facts) -> Needs {
        Needs::default()
    }

    /// What to ask the network before anything is done, as of a main plugin.
    fn probes(&self, _call: &Call<'_>, _prev: &Success) -> Result<Vec<Probe>, Error> {
        Ok(Vec::new())
    }

    /// What to do, or why it cannot work. Pure: everything comes from the arguments.
    fn plan(
        &self,
        call: &Call<'_>,
        prev: &Success,
        facts: &Facts,
        entropy: &mut Entropy,
    ) -> Result<Planned, Error>;

    /// What to observe for [`ChainedAttachment::leftovers`].
    fn leftover_needs(&self, _call: &Call<'_>) -> Needs {
        Needs::default()
    }

    /// What DEL removes without a record. There may be no prevResult, no namespace and no agent.
    fn leftovers(&self, _call: &Call<'_>, _facts: &Facts) -> Leftovers {
        Leftovers::default()
    }

    /// What DEL removes of shared objects once nobody uses them, after its own are gone, from the facts of
    /// [`ChainedAttachment::leftover_needs`].
    fn sweep(&self, _call: &Call<'_>, _facts: &Facts) -> Vec<Change> {
        Vec::new()
    }

    /// What to observe for [`ChainedAttachment::check`].
    fn check_needs(&self, _call: &Call<'_>, _prev: &Success) -> Needs {
        Needs::default()
    }

    /// CHECK beyond what recorded plans promise.
    fn check(&self, _call: &Call<'_>, _prev: &Success, _facts: &Facts) -> Result<(), Error> {
        Ok(())
    }

    /// Which error ADD answers for a step that the kernel refused, where the plugin has words of its own.
    fn refused(&self, _call: &Call<'_>, _change: &polynic_net::Change, _cause: &str) -> Option<Error> {
        None
    }
}

/// A chained attachment as the driver sees it.
pub(crate) struct InChain {
    attachment: Box<dyn ChainedAttachment>,
    prev: Option<Success>,
}

impl InChain {
    /// For ADD: insists on a prevResult, and asks others.
    pub(crate) fn adding(
        mut attachment: Box<dyn ChainedAttachment>,
        call: &Call<'_>,
        context: &Context<'_>,
    ) -> Result<Self, Error> {
        let prev = call.conf.prev_result().map_err(|e| call.explain(e))?;
        let prev = prev.ok_or_else(|| call.error(attachment.without_prev_result()))?;
        attachment.consult(call, context).map_err(|e| call.explain(e))?;
        Ok(Self { attachment, prev: Some(prev) })
    }

    /// For all else: a prevResult that is missing or broken is nobody's business here.
    pub(crate) fn attached(attachment: Box<dyn ChainedAttachment>, call: &Call<'_>) -> Self {
        let prev = call.conf.prev_result().ok().flatten();
        Self { attachment, prev }
    }
}

impl Attachment for InChain {
    fn role(&self) -> Role {
        Role::Chained
    }

    fn ipam_type<'a>(&self, _call: &Call<'a>) -> &'a str {
        ""
    }

    fn shares(&self) -> bool {
        self.attachment.shares()
    }

    fn ledger(&self, call: &Call<'_>, _: Verb, _: &Context<'_>) -> Result<Option<Box<dyn Ledger>>, Error> {
        Ok(self.attachment.ledger(call))
    }

    /// The driver hands a result over for CHECK only: there is no IPAM plugin.
    fn needs(&self, call: &Call<'_>, given: Option<&Success>) -> Needs {
        match (given, &self.prev) {
            (Some(prev), _) => self.attachment.check_needs(call, prev),
            (None, Some(prev)) => self.attachment.needs(call, prev),
            (None, None) => Needs::default(),
        }
    }

    fn further_needs(&self, call: &Call<'_>, facts: &Facts) -> Needs {
        let prev = self.prev.as_ref();
        prev.map(|prev| self.attachment.further_needs(call, prev, facts)).unwrap_or_default()
    }

    fn probes(&self, call: &Call<'_>) -> Result<Vec<Probe>, Error> {
        let probes = self.prev.as_ref().map(|prev| self.attachment.probes(call, prev));
        probes.transpose().map(Option::unwrap_or_default).map_err(|e| call.explain(e))
    }

    /// The plan says so.
    fn preflight(&self, _call: &Call<'_>, _facts: &Facts) -> Result<(), Error> {
        Ok(())
    }

    fn plan(
        &self,
        call: &Call<'_>,
        facts: &Facts,
        _ipam: Option<&Success>,
        entropy: &mut Entropy,
    ) -> Result<Planned, Error> {
        let prev = self.prev.as_ref().ok_or_else(|| call.error(self.attachment.without_prev_result()))?;
        self.attachment.plan(call, prev, facts, entropy).map_err(|e| call.explain(e))
    }

    fn leftovers(&self, call: &Call<'_>, facts: &Facts) -> Leftovers {
        self.attachment.leftovers(call, facts)
    }

    fn leftover_needs(&self, call: &Call<'_>) -> Needs {
        self.attachment.leftover_needs(call)
    }

    fn sweep(&self, call: &Call<'_>, facts: &Facts) -> Vec<Change> {
        self.attachment.sweep(call, facts)
    }

    fn check(&self, call: &Call<'_>, prev: &Success, facts: &Facts) -> Result<(), Error> {
        self.attachment.check(call, prev, facts)
    }

    fn status(&self, _call: &Call<'_>, _facts: &Facts) -> Result<(), Error> {
        Ok(())
    }

    fn refused(&self, call: &Call<'_>, change: &polynic_net::Change, cause: &str) -> Option<Error> {
        self.attachment.refused(call, change, cause)
    }
}
