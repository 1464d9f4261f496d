//! Cases as files: `cases/AREA.yaml` is a list of cases, each a title and steps.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// The directory of this suite.
pub fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// A script of requests. Each case has a namespace of its own, `{ns}`, and `{id}` for names outside of namespaces.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// File it is from, without `.yaml`.
    #[serde(skip)]
    pub area: String,
    /// What must hold, as a sentence. Unique within the area.
    #[serde(rename = "case")]
    pub title: String,
    /// The requests.
    pub steps: Vec<Step>,
}

/// One request. In paths and bodies `{ns}`, `{id}`, `{N.field.field}` (from the answer of step N, from 1), `{hooks}` and `{ca}` (address and CA
/// of the suite's webhooks) are replaced.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// `METHOD /path?query`.
    #[serde(rename = "do")]
    pub request: String,
    /// The body, sent as JSON.
    pub body: Option<Value>,
    /// The body as it is, instead.
    pub raw: Option<String>,
    /// Content type; `merge`, `json`, `strategic` and `apply` stand for those of patches.
    #[serde(rename = "type")]
    pub content_type: Option<String>,
    /// Accept header; `table` stands for a table.
    pub accept: Option<String>,
    /// The token, instead of the administrator's; an empty one is none.
    pub token: Option<String>,
    /// Other headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Reads this many events (or all, where the stream ends before) instead of one answer.
    pub watch: Option<usize>,
    /// Repeats the request until it is answered with this status: for what a server does in its own time.
    pub until: Option<u16>,
    /// If not empty, only these fields of the answer are compared: `metadata.name`, `items.0.spec`.
    #[serde(default)]
    pub keep: Vec<String>,
}

impl Case {
    /// `area: title`, by which golden files and known differences name it.
    pub fn key(&self) -> String {
        format!("{}: {}", self.area, self.title)
    }

    /// A short name that is the same in each run and on each server.
    pub fn id(&self) -> String {
        let hash = self.key().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("c{:08x}", hash >> 32)
    }
}

/// All cases, by area.
pub fn load() -> Vec<Case> {
    let directory = fs::read_dir(home().join("cases")).unwrap();
    let mut files: Vec<PathBuf> = directory.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|file| read(file)).collect()
}

fn read(file: &Path) -> Vec<Case> {
    let text = fs::read_to_string(file).unwrap();
    let cases: Result<Vec<Case>, _> = serde_saphyr::from_str(&text);
    let mut cases = cases.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    for case in &mut cases {
        case.area = file.file_stem().unwrap().to_string_lossy().into_owned();
    }
    cases
}
