//! The scale sub-resource: reading it shows three fields of the object as a Scale, writing it changes one.

use std::sync::Arc;

use serde_json::Value;

use super::update::Part;
use super::{Api, Target, WriteOptions};
use crate::crd::Scale;
use crate::patch::{self, PatchType};
use crate::status::Status;

impl Api {
    /// The object as a Scale.
    pub fn get_scale(&self, target: &Target) -> Result<Value, Status> {
        let stored = self.store.get(&target.key())?.ok_or_else(|| target.not_found())?;
        let scale = scale_of(target)?;
        let (view, found) = scale.view(&target.resource.present(&stored.body)?)?;
        if found { Ok(view) } else { Err(scale.missing()) }
    }

    /// Writes what the Scale `wanted` says to the object.
    pub async fn update_scale(
        &self,
        target: &Target,
        wanted: Value,
        options: WriteOptions,
    ) -> Result<Value, Status> {
        let scale = scale_of(target)?;
        let edit = scale.clone();
        let edit = move |old: &Value| edit.apply(old, &wanted);
        let changed = self.edit(target, Part::Main, options, Arc::new(edit)).await?;
        Ok(scale.view(&changed)?.0)
    }

    /// The same for a patch of the Scale.
    pub async fn patch_scale(
        &self,
        target: &Target,
        (patch_type, patch): (PatchType, Value),
        options: WriteOptions,
    ) -> Result<Value, Status> {
        let scale = scale_of(target)?;
        let edit = scale.clone();
        let edit = move |old: &Value| {
            let (view, _) = edit.view(old)?;
            edit.apply(old, &patch::apply(patch_type, None, &view, &patch)?)
        };
        let changed = self.edit(target, Part::Main, options, Arc::new(edit)).await?;
        Ok(scale.view(&changed)?.0)
    }
}

fn scale_of(target: &Target) -> Result<Scale, Status> {
    target.resource.scale().ok_or_else(Status::no_such_path)
}
