//! Printing a result as a version wants it (spec/cni.md 4.1 and 4.3).

use super::Success;
use crate::error::Error;
use crate::version::Version;

impl Success {
    /// Can this result be said in a version? Before 0.3.0 a result needs an address.
    pub fn check_convertible(&self, version: Version) -> Result<(), Error> {
        let shapeless =
            self.ips.is_empty() && version < Version::V0_3_0 && self.cni_version >= Version::V0_3_0;
        if shapeless { Err(Error::internal("cannot convert: no valid IP addresses")) } else { Ok(()) }
    }

    /// The exact text for a version: 4 spaces per level, no newline at the end.
    pub fn print(&self, version: Version) -> Result<String, Error> {
        Err(Error::internal(format!("printing a result as {version} is not written yet")))
    }
}
