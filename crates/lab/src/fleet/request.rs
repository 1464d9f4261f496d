//! Requests to the supervisor, as files in the lab's directory: whoever may write there may ask.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Fleet;
use crate::error::{Error, Result};
use crate::state::{State, read_json, write_json};

/// How often either side looks.
const GLANCE: Duration = Duration::from_millis(50);
/// How long an answer may take: longer than the supervisor waits for anything.
const PATIENCE: Duration = Duration::from_secs(300);

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "do")]
pub enum Request {
    /// One more node, with the next number.
    Add,
    /// A node that was killed boots again.
    Start {
        /// Its name.
        node: String,
    },
    /// A node loses its power.
    Kill {
        /// Its name.
        node: String,
    },
    /// A node loses its power, and its object is deleted.
    Remove {
        /// Its name.
        node: String,
    },
}

/// What became of a request.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// Done.
    Done(String),
    /// Not done, and why.
    Failed(String),
}

fn directory(state: &State) -> PathBuf {
    state.directory().join("requests")
}

/// Asks the supervisor of a running lab, and waits for the answer.
pub fn ask(state: &State, request: &Request) -> Result<String> {
    let name = crate::random::hex(8)?;
    let (asked, answered) = paths(state, &name);
    fs::create_dir_all(directory(state)).map_err(Error::io("ask the lab"))?;
    write_json(&asked, request)?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Ok(answer) = read_json::<Answer>(&answered) {
            let _ = fs::remove_file(&answered);
            return match answer {
                Answer::Done(words) => Ok(words),
                Answer::Failed(why) => Err(Error::Waited(why)),
            };
        }
        std::thread::sleep(GLANCE);
    }
    let _ = fs::remove_file(&asked);
    Err(Error::Waited(format!("the lab did not answer within {PATIENCE:?}")))
}

fn paths(state: &State, name: &str) -> (PathBuf, PathBuf) {
    (directory(state).join(format!("{name}.request")), directory(state).join(format!("{name}.answer")))
}

/// Answers requests, one at a time, for as long as the lab's directory is there.
pub async fn serve(mut fleet: Fleet) {
    let state = fleet.state.clone();
    while state.directory().exists() {
        for name in waiting(&state) {
            let (asked, answered) = paths(&state, &name);
            let request = read_json::<Request>(&asked);
            let _ = fs::remove_file(&asked);
            let done = match request {
                Ok(request) => fleet.perform(&request).await,
                Err(why) => Err(why),
            };
            let answer = match done {
                Ok(words) => Answer::Done(words),
                Err(why) => Answer::Failed(why.to_string()),
            };
            tracing::info!(?answer, "asked for");
            if let Err(why) = write_json(&answered, &answer) {
                tracing::warn!(%why, "cannot answer");
            }
        }
        tokio::time::sleep(GLANCE).await;
    }
}

fn waiting(state: &State) -> Vec<String> {
    let entries = fs::read_dir(directory(state)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.strip_suffix(".request").map(str::to_owned)).collect()
}
