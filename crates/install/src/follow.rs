//! Which file is the primary configuration now: a decision from what is in the directory, and from what was before.
//!
//! A file that is missing or half-written for a moment changes nothing: another one must not become the default network of the pods that
//! start in that moment. One that is gone for good (an installer renamed it, as Cilium does with others' files) gives way to the first
//! that can be used. A file that comes first by name takes over when somebody begins to look, and not while he looks (spec/multus.md 13.4).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::primary::{Primary, PrimaryError};

/// How long a primary may be missing before another one takes its place. Installers write by remove and create within milliseconds.
pub const MOMENT: Duration = Duration::from_secs(5);

/// The candidates in a directory, by file name, in the order in which a runtime takes them.
pub type Candidates = BTreeMap<String, Result<Primary, PrimaryError>>;

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Verdict<'c> {
    /// This is the primary.
    Use(&'c str, &'c Primary),
    /// Leave everything as it is.
    Keep(Why),
}

/// Why nothing changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// There is no candidate at all.
    #[error("there is no configuration")]
    Nothing,
    /// The primary is gone, perhaps for a moment only.
    #[error("{0} is missing")]
    Missing(String),
    /// The primary cannot be used, perhaps for a moment only.
    #[error("{name} cannot be used: {why}")]
    Unusable {
        /// Its file name.
        name: String,
        /// What is wrong.
        why: PrimaryError,
    },
}

/// Follows the primary.
#[derive(Debug)]
pub struct Follow {
    /// The only file that counts, if the user named one.
    named: Option<String>,
    /// What is or was the primary.
    current: Option<String>,
    /// Since when the primary cannot be found.
    lost: Option<Instant>,
    /// How long it may be lost.
    moment: Duration,
    /// The first look is still to come.
    is_new: bool,
}

impl Follow {
    /// `named` is the user's choice; `previous` what was the primary when somebody last looked, such as before a restart; `moment` how long
    /// it may be missing.
    pub fn new(named: Option<String>, previous: Option<String>, moment: Duration) -> Self {
        Self { named, current: previous, lost: None, moment, is_new: true }
    }

    /// Decides. Remembers the choice.
    pub fn decide<'c>(&mut self, now: Instant, candidates: &'c Candidates) -> Verdict<'c> {
        if let Some(named) = &self.named {
            return Self::only(named, candidates);
        }
        if std::mem::take(&mut self.is_new) {
            self.begin(candidates);
        }
        let expected = self.current.clone().or_else(|| candidates.keys().next().cloned());
        let Some(expected) = expected else { return Verdict::Keep(Why::Nothing) };
        let found = Self::only(&expected, candidates);
        // What exists and was the primary stays it, however broken: its owner is at work on it.
        let stays = match &found {
            Verdict::Use(..) => true,
            Verdict::Keep(_) => self.current.is_some() && candidates.contains_key(&expected),
        };
        if stays {
            self.lost = None;
            self.choose(&found);
            return found;
        }
        let lost = *self.lost.get_or_insert(now);
        if now.saturating_duration_since(lost) < self.moment {
            return found;
        }
        self.first_usable(candidates).unwrap_or(found)
    }

    /// What came since somebody looked last, and comes first by name, is the primary now; a half-written file is not.
    fn begin(&mut self, candidates: &Candidates) {
        let first = candidates.iter().find(|(_, read)| read.is_ok()).map(|(name, _)| name);
        if let Some(previous) = &mut self.current
            && let Some(first) = first.filter(|first| *first < previous)
        {
            previous.clone_from(first);
        }
    }

    fn first_usable<'c>(&mut self, candidates: &'c Candidates) -> Option<Verdict<'c>> {
        let mut usable = candidates.iter().filter_map(|(name, read)| Some((name, read.as_ref().ok()?)));
        let (name, primary) = usable.next()?;
        let found = Verdict::Use(name, primary);
        self.lost = None;
        self.choose(&found);
        Some(found)
    }

    fn choose(&mut self, found: &Verdict<'_>) {
        if let Verdict::Use(name, _) = found {
            self.current = Some((*name).to_owned());
        }
    }

    fn only<'c>(name: &str, candidates: &'c Candidates) -> Verdict<'c> {
        match candidates.get_key_value(name) {
            Some((name, Ok(primary))) => Verdict::Use(name, primary),
            Some((name, Err(why))) => Verdict::Keep(Why::Unusable { name: name.clone(), why: why.clone() }),
            None => Verdict::Keep(Why::Missing(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory: `+name` is a whole file, `-name` a half-written one.
    fn seen(files: &[&str]) -> Candidates {
        let read = |file: &&str| {
            let (sign, name) = file.split_at(1);
            let text = if sign == "+" { r#"{"type":"ptp"}"# } else { r#"{"ty"# };
            (name.to_owned(), Primary::parse(text.as_bytes()))
        };
        files.iter().map(read).collect()
    }

    /// What is decided at each second, as the file name or the reason.
    fn story(mut follow: Follow, moments: &[(u64, &[&str])]) -> Vec<String> {
        let start = Instant::now();
        let decide = |(second, files): &(u64, &[&str])| {
            let candidates = seen(files);
            match follow.decide(start + Duration::from_secs(*second), &candidates) {
                Verdict::Use(name, _) => name.to_owned(),
                Verdict::Keep(why) => format!("({why})"),
            }
        };
        moments.iter().map(decide).collect()
    }

    fn free() -> Follow {
        Follow::new(None, None, MOMENT)
    }

    #[test]
    fn the_first_by_name_is_taken_and_kept() {
        let told = story(free(), &[(0, &["+10-b", "+20-c"]), (9, &["+05-a", "+10-b"])]);
        assert_eq!(told, ["10-b", "10-b"]);
        assert_eq!(story(free(), &[(0, &[])]), ["(there is no configuration)"]);
    }

    #[test]
    fn a_primary_that_is_gone_for_a_moment_changes_nothing() {
        let told = story(
            free(),
            &[(0, &["+10-b", "+87-c"]), (1, &["+87-c"]), (5, &["+87-c"]), (5, &["+10-b", "+87-c"])],
        );
        assert_eq!(told, ["10-b", "(10-b is missing)", "(10-b is missing)", "10-b"]);
        // The moment starts anew after each return.
        let gone: &[&str] = &["+87-c"];
        let there: &[&str] = &["+10-b", "+87-c"];
        let told = story(free(), &[(0, there), (1, gone), (4, there), (5, gone), (9, gone), (10, gone)]);
        assert_eq!(told[3..], ["(10-b is missing)", "(10-b is missing)", "87-c"]);
    }

    #[test]
    fn renamed_by_another_installer_the_new_one_is_picked_up() {
        let told = story(
            free(),
            &[(0, &["+10-calico"]), (1, &["+05-cilium"]), (6, &["+05-cilium"]), (7, &["+05-cilium"])],
        );
        assert_eq!(told, ["10-calico", "(10-calico is missing)", "05-cilium", "05-cilium"]);
    }

    #[test]
    fn a_half_written_primary_changes_nothing_however_long() {
        let told =
            story(free(), &[(0, &["+10-b", "+20-c"]), (1, &["-10-b", "+20-c"]), (99, &["-10-b", "+20-c"])]);
        assert!(told[1..].iter().all(|why| why.starts_with("(10-b cannot be used")), "{told:?}");
    }

    #[test]
    fn at_the_start_a_broken_first_file_gets_a_moment() {
        let told =
            story(free(), &[(0, &["-10-b", "+20-c"]), (4, &["-10-b", "+20-c"]), (5, &["-10-b", "+20-c"])]);
        assert!(told[..2].iter().all(|why| why.starts_with("(10-b cannot be used")), "{told:?}");
        assert_eq!(told[2], "20-c");
        let told = story(free(), &[(0, &["-10-b", "+20-c"]), (1, &["+10-b", "+20-c"])]);
        assert_eq!(told[1], "10-b");
    }

    #[test]
    fn after_a_restart_the_previous_primary_gets_a_moment_too() {
        let follow = Follow::new(None, Some("10-b".into()), MOMENT);
        let told = story(follow, &[(0, &["+87-c"]), (1, &["+10-b", "+87-c"])]);
        assert_eq!(told, ["(10-b is missing)", "10-b"]);
    }

    #[test]
    fn after_a_restart_an_earlier_file_that_came_meanwhile_is_the_primary() {
        let before = || Follow::new(None, Some("10-b".into()), MOMENT);
        let told = story(before(), &[(0, &["+05-a", "+10-b"]), (1, &["+01-z", "+05-a", "+10-b"])]);
        assert_eq!(told, ["05-a", "05-a"], "and later ones wait for the next start");
        assert_eq!(story(before(), &[(0, &["+05-a"])]), ["05-a"], "whether the previous one is there or not");
        let told = story(before(), &[(0, &["-05-a", "+10-b"]), (1, &["+05-a", "+10-b"])]);
        assert_eq!(told, ["10-b", "10-b"], "a half-written file changes nothing");
    }

    #[test]
    fn a_named_primary_is_the_only_one() {
        let follow = Follow::new(Some("20-c".into()), None, MOMENT);
        let told = story(follow, &[(0, &["+10-b", "+20-c"]), (1, &["+10-b"]), (99, &["+10-b", "-20-c"])]);
        assert_eq!(told[..2], ["20-c", "(20-c is missing)"]);
        assert!(told[2].starts_with("(20-c cannot be used"));
    }
}
