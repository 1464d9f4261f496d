//! Sources of firewalld's zones, as its service keeps them.

use polynic_net::ZoneSource;

use super::space::Space;
use super::world::Refusal;
use crate::Errno;

impl Space {
    /// Adding what is there is no error.
    pub(super) fn add_zone_source(&mut self, source: &ZoneSource) -> Result<(), Refusal> {
        let sources = self.zone_sources.as_mut().ok_or(Errno::ENOENT)?;
        if !sources.contains(source) {
            sources.push(source.clone());
        }
        Ok(())
    }

    /// Removing what is not there is none either, nor from a firewalld that does not run.
    pub(super) fn delete_zone_source(&mut self, source: &ZoneSource) -> Result<(), Refusal> {
        if let Some(sources) = &mut self.zone_sources {
            sources.retain(|known| known != source);
        }
        Ok(())
    }

    pub(super) fn zone_sources_of(&self, asked: Option<&[ZoneSource]>) -> Option<Vec<ZoneSource>> {
        let has = |source: &&ZoneSource| self.zone_sources.iter().flatten().any(|known| known == *source);
        self.zone_sources.as_ref()?;
        Some(asked?.iter().filter(has).cloned().collect())
    }
}
