//! Logs of containers, as `kubectl logs` asks for them.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use k8s_openapi::jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::query::Query;
use super::{Answer, Call, body, text};
use crate::kubelet::status::NO_DEBUGGERS;

/// How often a log that is followed is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// What a client wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    tail: Option<usize>,
    since: Option<Timestamp>,
    timestamps: bool,
    bytes: Option<usize>,
}

impl Wanted {
    fn of(query: &Query, now: Timestamp) -> Wanted {
        let ago = query
            .number("sinceSeconds")
            .and_then(|seconds| Timestamp::from_second(now.as_second() - seconds).ok());
        let since = query.get("sinceTime").and_then(|text| text.parse().ok());
        Wanted {
            tail: query.number("tailLines").and_then(|lines| usize::try_from(lines).ok()),
            since: since.or(ago),
            timestamps: query.is_set("timestamps"),
            bytes: query.number("limitBytes").and_then(|bytes| usize::try_from(bytes).ok()),
        }
    }

    /// A line of a log as the client gets it; none if it is too old.
    fn show(&self, line: &str) -> Option<String> {
        let mut fields = line.splitn(4, ' ');
        let (time, words) = (fields.next()?, fields.nth(2).unwrap_or_default());
        let written: Option<Timestamp> = time.parse().ok();
        if self.since.zip(written).is_some_and(|(since, written)| written < since) {
            return None;
        }
        Some(if self.timestamps { format!("{time} {words}\n") } else { format!("{words}\n") })
    }

    /// All of a log that is there.
    fn select(&self, log: &str) -> String {
        let lines: Vec<String> = log.lines().filter_map(|line| self.show(line)).collect();
        let first = self.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        let mut text = lines[first..].concat();
        if let Some(bytes) = self.bytes {
            let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
        }
        text
    }
}

/// The log of the call's container.
pub fn answer(call: &Call) -> Answer {
    if call.query.is_set("previous") {
        let why = format!(
            "previous terminated container {:?} in pod {:?} not found",
            call.container, call.sandbox.name
        );
        return text(StatusCode::BAD_REQUEST, &why);
    }
    if !call.sandbox.containers.contains(&call.container) {
        return text(StatusCode::OK, NO_DEBUGGERS);
    }
    let wanted = Wanted::of(&call.query, Timestamp::now());
    let log = std::fs::read_to_string(path(call)).unwrap_or_default();
    let present = Bytes::from(wanted.select(&log));
    let first = futures::stream::iter([present]);
    let content = if call.query.is_set("follow") {
        use futures::StreamExt;
        let later = follow_from(call, log.len() as u64, wanted);
        body(first.chain(later))
    } else {
        body(first)
    };
    let mut answer = Response::new(content);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

fn path(call: &Call) -> PathBuf {
    call.sandbox.log(&call.state, &call.container)
}

/// From where a log is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// What comes from now on.
    End,
}

/// The lines that are written from `start` on, until the container is gone.
pub fn follow(call: &Call, start: Start) -> impl Stream<Item = Bytes> + Send + use<> {
    let Start::End = start;
    let length = std::fs::metadata(path(call)).map_or(0, |meta| meta.len());
    follow_from(call, length, Wanted::default())
}

fn follow_from(call: &Call, offset: u64, wanted: Wanted) -> impl Stream<Item = Bytes> + Send + use<> {
    let (path, sandbox) = (path(call), call.sandbox.clone());
    futures::stream::unfold((offset, String::new()), move |(mut offset, mut rest)| {
        let (path, sandbox, wanted) = (path.clone(), sandbox.clone(), wanted.clone());
        async move {
            loop {
                // In this order: what was written before the end is still shown.
                let up = sandbox.is_up();
                let news = read_from(&path, offset).await;
                offset += news.len() as u64;
                rest.push_str(&String::from_utf8_lossy(&news));
                if let Some(end) = rest.rfind('\n') {
                    let whole: String = rest.drain(..=end).collect();
                    let shown = wanted_later(&wanted).select(&whole);
                    return Some((Bytes::from(shown), (offset, rest)));
                }
                if !up {
                    return None;
                }
                tokio::time::sleep(GLANCE).await;
            }
        }
    })
}

/// The number of lines was about those that were there before.
fn wanted_later(wanted: &Wanted) -> Wanted {
    Wanted { tail: None, bytes: None, ..wanted.clone() }
}

async fn read_from(path: &std::path::Path, offset: u64) -> Vec<u8> {
    let mut news = Vec::new();
    if let Ok(mut file) = tokio::fs::File::open(path).await
        && file.seek(SeekFrom::Start(offset)).await.is_ok()
    {
        let _ = file.read_to_end(&mut news).await;
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "1970-01-01T00:00:10.000000000Z stdout F first line\n1970-01-01T00:00:20.000000000Z stdout F second\n";

    fn shown(query: &str) -> String {
        Wanted::of(&Query::parse(query), Timestamp::from_second(25).unwrap()).select(LOG)
    }

    #[test]
    fn all_or_the_last_lines_or_the_young_ones() {
        assert_eq!(shown(""), "first line\nsecond\n");
        assert_eq!(shown("tailLines=1"), "second\n");
        assert_eq!(shown("tailLines=0"), "");
        assert_eq!(shown("sinceSeconds=10"), "second\n");
        assert_eq!(shown("sinceTime=1970-01-01T00:00:20Z"), "second\n");
    }

    #[test]
    fn times_are_shown_on_demand_and_bytes_are_limited() {
        assert_eq!(shown("timestamps=true&tailLines=1"), "1970-01-01T00:00:20.000000000Z second\n");
        assert_eq!(shown("limitBytes=5"), "first");
    }
}
