//! watch: changes of a collection as a stream of JSON lines, as seen through a selector and in the form asked for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::read::matches;
use super::render::{Form, text_of};
use super::{Api, Target};
use crate::selector::Selector;
use crate::status::Status;
use crate::store::{Change, Event, Range, Stored, Watcher};
use crate::table;

/// Time between bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_secs(30);
/// Events are put together into frames up to about this size.
const FRAME_BYTES: usize = 32 << 10;

/// What a watch begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    /// The objects that are there.
    Objects,
    /// The same, and a bookmark that marks their end.
    Marked,
    /// What happens from now on.
    Nothing,
    /// What happened after this revision.
    Since(u64),
}

/// What a watch may ask for.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// Which objects.
    pub selector: Selector,
    /// What comes first.
    pub initial: Initial,
    /// Send bookmarks from time to time.
    pub bookmarks: bool,
    /// End after this time.
    pub timeout: Duration,
}

/// A running watch; dropping it ends it.
pub struct Watch {
    api: Arc<Api>,
    target: Target,
    selector: Selector,
    form: Form,
    watcher: Option<Watcher>,
    waiting: VecDeque<Bytes>,
    /// Objects that were there at the start and are not told of yet.
    initial: VecDeque<Stored>,
    /// The revision of the bookmark that follows them.
    end_mark: Option<u64>,
    bookmarks: Option<Interval>,
    deadline: Instant,
    first: bool,
}

impl Watch {
    /// Starts a watch. A revision that is too old is an ERROR event on the stream, as clients expect.
    pub fn start(api: Arc<Api>, target: Target, options: WatchOptions, form: Form) -> Result<Self, Status> {
        let prefix = target.prefix();
        let listing = match options.initial {
            Initial::Objects | Initial::Marked => Some(api.store.list(Range::under(&prefix))?),
            Initial::Nothing | Initial::Since(_) => None,
        };
        let since = match (options.initial, &listing) {
            (Initial::Since(revision), _) => revision,
            (_, Some(listing)) => listing.revision,
            (_, None) => api.store.published(),
        };
        let watcher = api.store.watch(&prefix, since);
        let mut bookmarks = interval_at(Instant::now() + BOOKMARK_EVERY, BOOKMARK_EVERY);
        bookmarks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let marks_end = options.initial == Initial::Marked && options.bookmarks;
        let mut watch = Self {
            api,
            target,
            selector: options.selector,
            form,
            watcher: None,
            waiting: VecDeque::new(),
            initial: listing.map(|listing| listing.items).unwrap_or_default().into(),
            end_mark: marks_end.then_some(since),
            bookmarks: options.bookmarks.then_some(bookmarks),
            deadline: Instant::now() + options.timeout,
            first: true,
        };
        match watcher {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => watch.queue("ERROR", &Status::from(error).to_json())?,
        }
        Ok(watch)
    }

    /// The next lines of the stream, and the watch to go on with; `None` at its end.
    pub async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if let Some(frame) = self.frame() {
                return Some((frame, self));
            }
            let queued = match self.queue_initial() {
                Ok(false) => self.advance().await?,
                Ok(true) => Ok(()),
                Err(status) => Err(status),
            };
            if let Err(status) = queued {
                tracing::error!(%status, target = ?self.target.resource, "a watch ends because of an unreadable object");
                return None;
            }
        }
    }

    fn frame(&mut self) -> Option<Bytes> {
        let mut frame = BytesMut::from(self.waiting.pop_front()?.as_ref());
        while frame.len() < FRAME_BYTES {
            let Some(line) = self.waiting.pop_front() else { break };
            frame.extend_from_slice(&line);
        }
        Some(frame.freeze())
    }

    /// Queues a frame of the objects that were there; false if all have been told of.
    fn queue_initial(&mut self) -> Result<bool, Status> {
        let mut size = 0;
        while size < FRAME_BYTES {
            let Some(stored) = self.initial.pop_front() else {
                let Some(revision) = self.end_mark.take() else { return Ok(size > 0) };
                self.queue_bookmark(revision, true)?;
                return Ok(true);
            };
            if matches(&self.selector, &stored.body)? {
                size += stored.body.len();
                self.queue_object("ADDED", &stored.body)?;
            }
        }
        Ok(true)
    }

    /// Waits for something to say and queues it.
    async fn advance(&mut self) -> Option<Result<(), Status>> {
        let watcher = self.watcher.as_mut()?;
        let tick = async {
            match &mut self.bookmarks {
                Some(interval) => drop(interval.tick().await),
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            event = watcher.next() => Some(event?),
            () = tick => None,
            () = tokio::time::sleep_until(self.deadline) => return None,
        };
        Some(match event {
            Some(event) => self.queue_event(&event).and_then(|()| self.drain()),
            None => self.bookmark(),
        })
    }

    fn drain(&mut self) -> Result<(), Status> {
        while self.waiting.iter().map(Bytes::len).sum::<usize>() < FRAME_BYTES {
            let Some(event) = self.watcher.as_mut().and_then(Watcher::ready) else { break };
            self.queue_event(&event)?;
        }
        Ok(())
    }

    /// All events up to the published revision are in the buffer when it is read; a bookmark after them is true.
    fn bookmark(&mut self) -> Result<(), Status> {
        let revision = self.api.store.published();
        while let Some(event) = self.watcher.as_mut().and_then(Watcher::ready) {
            self.queue_event(&event)?;
        }
        self.queue_bookmark(revision, false)
    }

    /// An object that begins or ceases to match the selector counts as added or deleted.
    fn queue_event(&mut self, event: &Event) -> Result<(), Status> {
        let was = match &event.before {
            Some(before) => matches(&self.selector, before)?,
            None => false,
        };
        let is = event.change != Change::Deleted && matches(&self.selector, &event.body)?;
        match (was, is) {
            (false, false) => Ok(()),
            (false, true) => self.queue_object("ADDED", &event.body),
            (true, true) => self.queue_object("MODIFIED", &event.body),
            (true, false) => match &event.before {
                // What ceases to match is shown as it last matched, with the revision in which it ceased.
                Some(before) if event.change != Change::Deleted => {
                    let mut last: Value = serde_json::from_slice(before).map_err(Status::internal)?;
                    last["metadata"]["resourceVersion"] = json!(event.revision.to_string());
                    self.queue_object("DELETED", &text_of(&last)?)
                }
                _ => self.queue_object("DELETED", &event.body),
            },
        }
    }

    fn queue_object(&mut self, kind: &str, body: &Bytes) -> Result<(), Status> {
        let text = self.target.resource.present_text(body)?;
        if self.form == Form::Object {
            self.queue_text(kind, &text);
            return Ok(());
        }
        let object: Value = serde_json::from_slice(&text).map_err(Status::internal)?;
        let shown = self.shown(&object);
        self.queue(kind, &shown)
    }

    /// Only the first table of a watch defines the columns.
    fn shown(&mut self, object: &Value) -> Value {
        let Form::Table(include) = self.form else { return table::metadata_only(object) };
        let columns = &self.target.resource.columns;
        let row = table::row(columns, object, include, Timestamp::now());
        let definitions = Some(columns.as_slice()).filter(|_| std::mem::take(&mut self.first));
        let version = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
        table::table(definitions, version, vec![row])
    }

    fn queue_bookmark(&mut self, revision: u64, initial_end: bool) -> Result<(), Status> {
        let resource = &self.target.resource;
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let bookmark = match self.form {
            Form::Table(_) => table::table(None, metadata, Vec::new()),
            Form::Metadata => table::metadata_only(&json!({"metadata": metadata})),
            Form::Object => {
                json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata})
            }
        };
        self.queue("BOOKMARK", &bookmark)
    }

    fn queue(&mut self, kind: &str, object: &Value) -> Result<(), Status> {
        let text = text_of(object)?;
        self.queue_text(kind, &text);
        Ok(())
    }

    fn queue_text(&mut self, kind: &str, text: &Bytes) {
        let mut line = BytesMut::with_capacity(text.len() + 48);
        line.extend_from_slice(b"{\"type\":\"");
        line.extend_from_slice(kind.as_bytes());
        line.extend_from_slice(b"\",\"object\":");
        line.extend_from_slice(text);
        line.extend_from_slice(b"}\n");
        self.waiting.push_back(line.freeze());
    }
}
