//! The recorded answers of the real server: a file per area, a line per answer.
//!
//! `# title` begins a case; then `CODE [WARNINGS] BODY` for each step, warnings and body as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use super::case::{Case, home};
use super::run::{Answer, Transcript};

/// The recorded transcript of each case, where there is one.
pub fn read(cases: &[Case]) -> Vec<Option<Transcript>> {
    let mut areas: BTreeMap<&str, BTreeMap<String, Transcript>> = BTreeMap::new();
    let mut found = Vec::new();
    for Case { area, title, .. } in cases {
        found.push(areas.entry(area).or_insert_with(|| parse(area)).get(title).cloned());
    }
    found
}

/// Records transcripts: cases that are not among `cases` keep what they have, unless they are gone.
pub fn write(cases: &[Case], transcripts: &[Transcript]) {
    let fresh: BTreeMap<String, &Transcript> = cases.iter().map(Case::key).zip(transcripts).collect();
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let all = super::case::load();
    for (case, recorded) in all.iter().zip(read(&all)) {
        let transcript = fresh.get(&case.key()).map(|t| (*t).clone()).or(recorded);
        let Some(transcript) = transcript else { continue };
        print(files.entry(case.area.clone()).or_default(), &case.title, &transcript);
    }
    for (area, text) in files {
        fs::write(file(&area), text).unwrap();
    }
}

fn file(area: &str) -> std::path::PathBuf {
    home().join("golden").join(format!("{area}.txt"))
}

fn print(out: &mut String, title: &str, transcript: &Transcript) {
    writeln!(out, "# {title}").unwrap();
    for Answer { code, warnings, body } in &transcript.0 {
        writeln!(out, "{code} {} {}", serde_json::json!(warnings), sorted(body)).unwrap();
    }
}

/// With its keys in order, whichever map the JSON library is built with.
fn sorted(body: &Value) -> String {
    match body {
        Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let fields: BTreeMap<&String, &Value> = fields.iter().collect();
            let pair = |(key, value): (&&String, &&Value)| {
                format!("{}:{}", Value::from(key.as_str()), sorted(value))
            };
            format!("{{{}}}", fields.iter().map(pair).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

fn parse(area: &str) -> BTreeMap<String, Transcript> {
    let text = fs::read_to_string(file(area)).unwrap_or_default();
    let mut recorded: BTreeMap<String, Transcript> = BTreeMap::new();
    let mut title = String::new();
    for line in text.lines() {
        match line.strip_prefix("# ") {
            Some(name) => {
                title = name.to_owned();
                recorded.insert(title.clone(), Transcript(Vec::new()));
            }
            None => recorded.get_mut(&title).unwrap().0.push(answer(line)),
        }
    }
    recorded
}

fn answer(line: &str) -> Answer {
    let (code, rest) = line.split_once(' ').unwrap();
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let warnings = values.next().unwrap().unwrap();
    let body = values.next().unwrap().unwrap();
    Answer { code: code.parse().unwrap(), warnings: serde_json::from_value(warnings).unwrap(), body }
}
