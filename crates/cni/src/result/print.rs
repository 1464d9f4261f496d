//! Printing a result as a version wants it (spec/cni.md 4.1 and 4.3).

use serde::Serialize;
use serde_json::Value;

use super::Success;
use crate::error::Error;
use crate::json;
use crate::version::Version;

mod forms;

use forms::{MiddleForm, NewForm, OldForm};

impl Success {
    /// Can this result be said in a version? Before 0.3.0 a result needs an address, unless it was read as
    /// such.
    pub fn check_convertible(&self, version: Version) -> Result<(), Error> {
        let shapeless =
            self.ips.is_empty() && version < Version::V0_3_0 && self.cni_version >= Version::V0_3_0;
        if shapeless { Err(Error::internal("cannot convert: no valid IP addresses")) } else { Ok(()) }
    }

    /// The exact text for a version: 4 spaces per level, no newline at the end. What the version cannot say
    /// is dropped; see [`Success::check_convertible`] for the error.
    pub fn print(&self, version: Version) -> Result<String, Error> {
        self.check_convertible(version)?;
        Ok(match Form::of(self, version) {
            Form::Old(form) => json::print_indented(&form),
            Form::Middle(form) => json::print_indented(&form),
            Form::New(form) => json::print_indented(&form),
        })
    }

    /// The same as a value, to be put into a request or a file.
    pub fn to_value(&self, version: Version) -> Result<Value, Error> {
        self.check_convertible(version)?;
        Ok(json::to_value(&Form::of(self, version)))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Form<'a> {
    Old(OldForm<'a>),
    Middle(MiddleForm<'a>),
    New(NewForm<'a>),
}

impl<'a> Form<'a> {
    fn of(success: &'a Success, version: Version) -> Form<'a> {
        match version {
            Version::V0_1_0 | Version::V0_2_0 => Form::Old(OldForm::of(success, version)),
            Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => {
                Form::Middle(MiddleForm::of(success, version))
            }
            Version::V1_0_0 | Version::V1_1_0 => Form::New(NewForm::of(success, version)),
        }
    }
}
