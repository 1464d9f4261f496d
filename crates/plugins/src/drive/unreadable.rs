//! What stands in for an attachment whose configuration is refused, so that DEL gets past it: a runtime calls DEL after an ADD
//! that failed for the same reason, and again until it succeeds.

use polynic_cni::{Error, Success};
use polynic_net::{Entropy, Facts, Needs};

use crate::{Attachment, Call, Leftovers, Planned};

/// Holds why the configuration is refused.
pub(super) struct Unreadable(pub(super) Error);

impl Attachment for Unreadable {
    fn needs(&self, _: &Call<'_>, _: Option<&Success>) -> Needs {
        Needs::default()
    }

    fn preflight(&self, _: &Call<'_>, _: &Facts) -> Result<(), Error> {
        Err(self.0.clone())
    }

    fn plan(&self, _: &Call<'_>, _: &Facts, _: Option<&Success>, _: &mut Entropy) -> Result<Planned, Error> {
        Err(self.0.clone())
    }

    fn leftovers(&self, call: &Call<'_>, _: &Facts) -> Leftovers {
        Leftovers::interface(call)
    }

    fn check(&self, _: &Call<'_>, _: &Success, _: &Facts) -> Result<(), Error> {
        Err(self.0.clone())
    }

    fn status(&self, _: &Call<'_>, _: &Facts) -> Result<(), Error> {
        Err(self.0.clone())
    }
}
