//! Takes from answers what differs between two honest servers: identifiers, revisions, times, random names.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Lists whose order says nothing.
const UNORDERED: [&str; 3] = ["managedFields", "nonResourceRules", "resourceRules"];

/// What one case has shown so far: the same identifier gets the same stand-in in all its answers.
#[derive(Default)]
pub struct Normal {
    revisions: BTreeMap<String, String>,
    /// Identifiers and random names, which also occur within texts.
    names: BTreeMap<String, String>,
}

impl Normal {
    /// The body with stand-ins.
    pub fn body(&mut self, body: &Value) -> Value {
        self.collect(body);
        self.replace("", body)
    }

    /// Warnings with stand-ins.
    pub fn texts(&self, texts: Vec<String>) -> Vec<String> {
        texts.iter().map(|text| self.text(text)).collect()
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Object(fields) => {
                self.collect_names(fields);
                fields.values().for_each(|field| self.collect(field));
            }
            _ => {}
        }
    }

    fn collect_names(&mut self, fields: &Map<String, Value>) {
        if let Some(uid) = fields.get("uid").and_then(Value::as_str).filter(|uid| is_uid(uid)) {
            let next = format!("uid{}", self.names.len() + 1);
            self.names.entry(uid.to_owned()).or_insert(next);
        }
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        if let (Some(name), Some(prefix)) = (text("name"), text("generateName"))
            && name.starts_with(prefix)
            && name.len() > prefix.len()
        {
            self.names.entry(name.to_owned()).or_insert_with(|| format!("{prefix}<random>"));
        }
    }

    fn replace(&mut self, key: &str, value: &Value) -> Value {
        match value {
            // Their order depends on the second in which each was written, or on that of a map.
            Value::Array(items) if UNORDERED.contains(&key) => {
                let mut entries: Vec<Value> = items.iter().map(|item| self.replace(key, item)).collect();
                entries.sort_by_cached_key(Value::to_string);
                Value::Array(entries)
            }
            Value::Array(items) => items.iter().map(|item| self.replace(key, item)).collect(),
            Value::Object(fields) => {
                let mut pairs: Vec<(&String, &Value)> = fields.iter().collect();
                pairs.sort_by_key(|(key, _)| key.as_str());
                pairs.into_iter().map(|(key, field)| (key.clone(), self.replace(key, field))).collect()
            }
            Value::String(text) => Value::String(self.string(key, text)),
            Value::Number(_) if key == "nodePort" || key == "healthCheckNodePort" => "<port>".into(),
            other => other.clone(),
        }
    }

    fn string(&mut self, key: &str, text: &str) -> String {
        match key {
            "resourceVersion" if !text.is_empty() && text != "0" => self.revision(text),
            "continue" if !text.is_empty() => "<continue>".into(),
            "token" => "<token>".into(),
            // Prose, which each server words for itself.
            "description" => String::new(),
            "clusterIP" | "clusterIPs" if text.contains(['.', ':']) => "<ip>".into(),
            "cells" if is_age(text) => "<age>".into(),
            _ if is_time(text) => "<time>".into(),
            _ => self.text(text),
        }
    }

    fn revision(&mut self, text: &str) -> String {
        let next = format!("rv{}", self.revisions.len() + 1);
        self.revisions.entry(text.to_owned()).or_insert(next).clone()
    }

    fn text(&self, text: &str) -> String {
        let text = hide_revision(text);
        self.names.iter().fold(text, |text, (name, stand_in)| text.replace(name, stand_in))
    }
}

/// A conflict names the revision that it found.
fn hide_revision(text: &str) -> String {
    let Some((before, after)) = text.split_once("ResourceVersion in record (") else {
        return text.to_owned();
    };
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}ResourceVersion in record (<rv>{after}")
}

fn is_uid(text: &str) -> bool {
    text.len() == 36 && text.bytes().filter(|byte| *byte == b'-').count() == 4
}

fn is_time(text: &str) -> bool {
    text.len() >= 20 && text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
}

/// `7s`, `2m3s`: how long ago something happened, in a table.
fn is_age(text: &str) -> bool {
    text.ends_with(['s', 'm', 'h'])
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"smhd".contains(&byte))
}
