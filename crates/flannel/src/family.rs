//! One value for each address family that is on.

use polynic_net::Family;

/// A value per family; absent where the family is off or the value is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PerFamily<T> {
    /// IPv4.
    pub v4: Option<T>,
    /// IPv6.
    pub v6: Option<T>,
}

impl<T> Default for PerFamily<T> {
    fn default() -> Self {
        Self { v4: None, v6: None }
    }
}

/// Both families, IPv4 first.
pub(crate) const BOTH: [Family; 2] = [Family::V4, Family::V6];

impl<T> PerFamily<T> {
    /// The value of a family.
    pub fn get(&self, family: Family) -> Option<&T> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// Sets the value of a family.
    pub fn set(&mut self, family: Family, value: Option<T>) {
        match family {
            Family::V4 => self.v4 = value,
            Family::V6 => self.v6 = value,
        }
    }

    /// The values that are there with their families, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = (Family, &T)> {
        BOTH.into_iter().filter_map(|family| Some((family, self.get(family)?)))
    }

    /// The families that have a value.
    pub fn families(&self) -> impl Iterator<Item = Family> + '_ {
        self.iter().map(|(family, _)| family)
    }

    /// Whether no family has a value.
    pub fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }
}

impl<T> FromIterator<(Family, T)> for PerFamily<T> {
    /// The first value of a family stays.
    fn from_iter<I: IntoIterator<Item = (Family, T)>>(pairs: I) -> Self {
        let mut found = Self::default();
        for (family, value) in pairs {
            if found.get(family).is_none() {
                found.set(family, Some(value));
            }
        }
        found
    }
}
