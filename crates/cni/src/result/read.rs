//! Reading a result or a prevResult (spec/cni.md 4.2).

use serde_json::Value;

use super::Success;
use crate::error::Error;
use crate::version::Version;

impl Success {
    /// Reads what a plugin printed. Its version is its own `cniVersion`, else `default_version`: that of the request.
    pub fn parse(_bytes: &[u8], _default_version: Version) -> Result<Success, Error> {
        Err(Error::internal("reading a result is not written yet"))
    }

    /// As [`Success::parse`], with the request's version as written.
    pub fn parse_reply(bytes: &[u8], _requested: &str) -> Result<Success, Error> {
        Success::parse(bytes, Version::V0_1_0)
    }

    /// Reads a prevResult, which has to be of the config's version or of one with the same shape.
    pub fn parse_as(_version: Version, _value: &Value) -> Result<Success, Error> {
        Err(Error::internal("reading a prevResult is not written yet"))
    }
}
