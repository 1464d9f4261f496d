//! Says where two transcripts differ.

use serde_json::Value;

use super::run::{Answer, Transcript};

/// Differences shown for one case.
const SHOWN: usize = 12;

/// The differences, a line each, or `None`.
pub fn transcripts(real: &Transcript, ours: &Transcript) -> Option<String> {
    let mut lines = Vec::new();
    if real.0.len() != ours.0.len() {
        lines.push(format!("  steps: {} recorded, {} now", real.0.len(), ours.0.len()));
    }
    for (at, (real, ours)) in real.0.iter().zip(&ours.0).enumerate() {
        answers(at + 1, real, ours, &mut lines);
    }
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    (!lines.is_empty()).then(|| lines.join("\n") + "\n")
}

fn answers(step: usize, real: &Answer, ours: &Answer, lines: &mut Vec<String>) {
    if real.code != ours.code {
        lines.push(format!("  step {step}: code: real {}, ours {}", real.code, ours.code));
    }
    if real.warnings != ours.warnings {
        lines.push(format!("  step {step}: warnings: real {:?}, ours {:?}", real.warnings, ours.warnings));
    }
    values(&format!("  step {step}: "), &real.body, &ours.body, lines);
}

fn values(path: &str, real: &Value, ours: &Value, lines: &mut Vec<String>) {
    match (real, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (a, b) = (a.get(key), b.get(key));
                match (a, b) {
                    (Some(a), Some(b)) => values(&format!("{path}.{key}"), a, b, lines),
                    (a, b) => lines.push(format!("{path}.{key}: real {}, ours {}", brief(a), brief(b))),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                values(&format!("{path}.{index}"), a, b, lines);
            }
        }
        (a, b) if a == b => {}
        (a, b) => lines.push(format!("{path}: real {}, ours {}", brief(Some(a)), brief(Some(b)))),
    }
}

fn brief(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
