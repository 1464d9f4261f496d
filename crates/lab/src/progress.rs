//! How a lab that starts tells the waiting command how far it is: a line of JSON per step on a pipe.
//!
//! The pipe is also the cord between them. When its reader goes before the lab is ready, or at any time for a tied lab, the
//! supervisor ends, and with it everything.

use std::io::{self, BufRead, BufReader, Read, Write};

use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Something is done.
    Step(String),
    /// The lab can be used.
    Ready,
    /// The lab gave up.
    Failed {
        /// Why.
        why: String,
        /// What helps, if known.
        remedy: Option<String>,
    },
}

impl Progress {
    /// The line for an error.
    pub fn failed(error: &Error) -> Progress {
        Progress::Failed { why: error.to_string(), remedy: error.remedy() }
    }

    /// Writes the line to stdout. A reader that is gone is noticed by [`wait_for_reader_to_go`].
    pub fn report(&self) {
        let Ok(mut line) = serde_json::to_string(self) else { return };
        line.push('\n');
        let mut stdout = io::stdout();
        let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    }
}

/// Follows a starting lab: `show` gets each step.
///
/// # Errors
/// [`Error::Start`] or [`Error::Forbidden`] with what the lab said, or that it ended without a word.
pub fn follow(pipe: impl Read, mut show: impl FnMut(&str)) -> Result<()> {
    for line in BufReader::new(pipe).lines() {
        let line = line.map_err(Error::io("read the lab's progress"))?;
        match serde_json::from_str(&line) {
            Ok(Progress::Step(text)) => show(&text),
            Ok(Progress::Ready) => return Ok(()),
            Ok(Progress::Failed { why, remedy }) => return Err(failure(why, remedy)),
            Err(_) => return Err(Error::Start(format!("unexpected words: {line}"))),
        }
    }
    Err(Error::Start("it ended without a word (see: polynic-lab logs)".to_owned()))
}

fn failure(why: String, remedy: Option<String>) -> Error {
    match remedy {
        Some(remedy) => Error::Forbidden { what: "start the lab".to_owned(), why, remedy },
        None => Error::Start(why),
    }
}

/// Returns when nobody reads our stdout any more.
pub fn wait_for_reader_to_go() {
    let stdout = io::stdout();
    loop {
        // Asking for nothing: the kernel reports a closed pipe in any case.
        let mut descriptors = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut descriptors, None) {
            Ok(n) if n > 0 => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(all: &[Progress]) -> Vec<u8> {
        let texts = all.iter().map(|p| serde_json::to_string(p).unwrap() + "\n");
        texts.collect::<String>().into_bytes()
    }

    #[test]
    fn steps_are_shown_until_the_lab_is_ready() {
        let pipe = lines(&[Progress::Step("a".into()), Progress::Ready, Progress::Step("b".into())]);
        let mut seen = Vec::new();
        follow(&pipe[..], |step| seen.push(step.to_owned())).unwrap();
        assert_eq!(seen, ["a"]);
    }

    #[test]
    fn the_labs_own_words_become_the_error() {
        let error = Error::Forbidden { what: "mount".into(), why: "no".into(), remedy: "do this".into() };
        let pipe = lines(&[Progress::failed(&error)]);
        let told = follow(&pipe[..], |_| ()).unwrap_err();
        assert_eq!(told.remedy().as_deref(), Some("do this"));
        assert!(told.to_string().contains("mount: no"), "{told}");
    }

    #[test]
    fn a_silent_end_is_an_error() {
        assert!(matches!(follow(&b""[..], |_| ()), Err(Error::Start(_))));
        assert!(matches!(follow(&b"garbage\n"[..], |_| ()), Err(Error::Start(_))));
    }
}
