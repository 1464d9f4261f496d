//! The scale sub-resource: reading it shows three fields of the object as a Scale, writing it changes one.

use std::sync::Arc;

use serde_json::Value;

use super::admit;
use super::update::Part;
use super::{Api, Target, WriteOptions};
use crate::admission::Operation;
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
        let wanted = match self.is_watched(&admit::place(target, Operation::Update, "scale")) {
            true => self.admit_scale(target, &|_| Ok(wanted.clone()), &options).await?,
            false => wanted,
        };
        self.write_scale(target, wanted, options).await
    }

    /// The same for a patch of the Scale.
    pub async fn patch_scale(
        &self,
        target: &Target,
        (patch_type, patch): (PatchType, Value),
        options: WriteOptions,
    ) -> Result<Value, Status> {
        let scale = scale_of(target)?;
        let patched = move |view: &Value| Ok(patch::apply(patch_type, None, view, &patch)?);
        if self.is_watched(&admit::place(target, Operation::Update, "scale")) {
            let wanted = self.admit_scale(target, &patched, &options).await?;
            return self.write_scale(target, wanted, options).await;
        }
        let edit = scale.clone();
        let edit = move |old: &Value| edit.apply(old, &patched(&edit.view(old)?.0)?);
        let changed = self.edit_directly((target, Part::Main), options, Arc::new(edit)).await?;
        Ok(scale.view(&changed)?.0)
    }

    async fn write_scale(
        &self,
        target: &Target,
        wanted: Value,
        options: WriteOptions,
    ) -> Result<Value, Status> {
        let scale = scale_of(target)?;
        let edit = scale.clone();
        let edit = move |old: &Value| edit.apply(old, &wanted);
        let changed = self.edit_directly((target, Part::Main), options, Arc::new(edit)).await?;
        Ok(scale.view(&changed)?.0)
    }

    /// The Scale that webhooks make of what `change` makes of the present one.
    async fn admit_scale(
        &self,
        target: &Target,
        change: &(dyn Fn(&Value) -> Result<Value, Status> + Send + Sync),
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let scale = scale_of(target)?;
        let stored = self.store.get(&target.key())?.ok_or_else(|| target.not_found())?;
        let object = target.resource.present(&stored.body)?;
        let (old, _) = scale.view(&object)?;
        let (new, _) = scale.view(&scale.apply(&object, &change(&old)?)?)?;
        self.admit_below(target, (Operation::Update, "scale"), (new, old), options).await
    }
}

fn scale_of(target: &Target) -> Result<Scale, Status> {
    target.resource.scale().ok_or_else(Status::no_such_path)
}
