//! Bodies of answers: a piece of text, or a watch that goes on. No task stands behind a watch: it runs when the
//! connection wants to send, so a client that does not read costs one bounded buffer and nothing else.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};

use crate::api::Watch;

type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Watch)>> + Send>>;

/// The body of an answer.
pub(crate) enum Body {
    /// All of it; `None` once sent.
    Full(Option<Bytes>),
    /// What comes next; `None` at the end.
    Watch(Option<Next>),
    /// What a kubelet answers, as it comes. If it breaks off, so does this.
    Stream(Incoming),
}

impl Body {
    pub(super) fn full(text: Bytes) -> Self {
        Self::Full(Some(text))
    }

    pub(super) fn stream(from: Incoming) -> Self {
        Self::Stream(from)
    }

    pub(super) fn watch(watch: Watch) -> Self {
        Self::Watch(Some(Box::pin(watch.next())))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Full(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Stream(from) => match ready!(Pin::new(from).poll_frame(context)) {
                Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
                Some(Err(_)) | None => Poll::Ready(None),
            },
            Self::Watch(slot) => {
                let Some(next) = slot else { return Poll::Ready(None) };
                let Some((lines, watch)) = ready!(next.as_mut().poll(context)) else {
                    *slot = None;
                    return Poll::Ready(None);
                };
                *slot = Some(Box::pin(watch.next()));
                Poll::Ready(Some(Ok(Frame::data(lines))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Stream(from) => from.is_end_stream(),
            other => matches!(other, Self::Full(None) | Self::Watch(None)),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Watch(_) => SizeHint::default(),
            Self::Stream(from) => from.size_hint(),
        }
    }
}
