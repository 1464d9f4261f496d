//! What stands in for an attachment whose configuration is refused, so that DEL gets past it: a runtime calls DEL after an ADD
//! that failed for the same reason, and again until it succeeds.

use polynic_cni::{Error, Success};
use polynic_net::{Entropy, Facts, Needs};

use crate::{Attachment, Call, Leftovers, Planned, Role};

/// Holds why the configuration is refused, and what DEL removes all the same.
pub(super) struct Unreadable {
    refused: Error,
    role: Role,
    leftovers: Leftovers,
}

impl Unreadable {
    /// For a main plugin, which made the interface.
    pub(super) fn main(refused: Error, call: &Call<'_>) -> Self {
        Self { refused, role: Role::Main, leftovers: Leftovers::interface(call) }
    }

    /// For a chained plugin.
    pub(super) fn chained(refused: Error, leftovers: Leftovers) -> Self {
        Self { refused, role: Role::Chained, leftovers }
    }
}

impl Attachment for Unreadable {
    fn role(&self) -> Role {
        self.role
    }

    fn ipam_type<'a>(&self, call: &Call<'a>) -> &'a str {
        match self.role {
            Role::Main => &call.conf.ipam_type,
            Role::Chained => "",
        }
    }

    fn needs(&self, _: &Call<'_>, _: Option<&Success>) -> Needs {
        Needs::default()
    }

    fn preflight(&self, _: &Call<'_>, _: &Facts) -> Result<(), Error> {
        Err(self.refused.clone())
    }

    fn plan(&self, _: &Call<'_>, _: &Facts, _: Option<&Success>, _: &mut Entropy) -> Result<Planned, Error> {
        Err(self.refused.clone())
    }

    fn leftovers(&self, _: &Call<'_>, _: &Facts) -> Leftovers {
        self.leftovers.clone()
    }

    fn check(&self, _: &Call<'_>, _: &Success, _: &Facts) -> Result<(), Error> {
        Err(self.refused.clone())
    }

    fn status(&self, _: &Call<'_>, _: &Facts) -> Result<(), Error> {
        Err(self.refused.clone())
    }
}
