//! Programs over SPDY: a stream for each of error, stdin, stdout, stderr and resize (`v4.channel.k8s.io` of remotecommand).

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

use super::super::exec::Streams;
use super::super::session::{Ended, Outer, Output, Size};
use super::super::{Answer, offered, switching, text};
use super::connection::{self, Sender, Stream};

const VERSION: &str = "X-Stream-Protocol-Version";
const V4: &str = "v4.channel.k8s.io";
/// How long a client may take to open its streams.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects a running program with the client.
pub fn answer<W>(mut request: Request<Incoming>, streams: Streams, outer: Outer, work: W) -> Answer
where
    W: Future<Output = Ended> + Send + 'static,
{
    let asked = offered(&request, VERSION);
    if !asked.iter().any(|version| version == V4) {
        return text(
            StatusCode::FORBIDDEN,
            &format!("none of the protocols {asked:?} is known: there is {V4}"),
        );
    }
    let mut answer = switching("SPDY/3.1");
    answer.headers_mut().insert(VERSION, HeaderValue::from_static(V4));
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            converse(connection::serve(TokioIo::new(upgraded)), streams, outer, work).await;
        }
    });
    answer
}

/// The streams of one program.
#[derive(Default)]
struct Opened {
    error: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

impl Opened {
    /// Waits for all streams that the client announced.
    async fn gather(opened: &mut mpsc::Receiver<Stream>, wanted: Streams) -> Option<Opened> {
        let mut all = Opened::default();
        while !all.are_complete(wanted) {
            let stream = opened.recv().await?;
            let slot = match stream.headers.get("streamtype").map(String::as_str) {
                Some("error") => &mut all.error,
                Some("stdin") => &mut all.stdin,
                Some("stdout") => &mut all.stdout,
                Some("stderr") => &mut all.stderr,
                Some("resize") => &mut all.resize,
                _ => continue,
            };
            *slot = Some(stream);
        }
        Some(all)
    }

    fn are_complete(&self, wanted: Streams) -> bool {
        let has = |wanted: bool, stream: &Option<Stream>| !wanted || stream.is_some();
        self.error.is_some()
            && has(wanted.stdin, &self.stdin)
            && has(wanted.stdout, &self.stdout)
            && has(wanted.stderr, &self.stderr)
            && has(wanted.tty, &self.resize)
    }
}

async fn converse(
    mut opened: mpsc::Receiver<Stream>,
    wanted: Streams,
    outer: Outer,
    work: impl Future<Output = Ended> + Send + 'static,
) {
    let gathered = tokio::time::timeout(PATIENCE, Opened::gather(&mut opened, wanted)).await;
    let Ok(Some(streams)) = gathered else { return };
    let Some(error) = streams.error.as_ref().map(|stream| stream.outgoing.clone()) else { return };
    let running = tokio::spawn(work);
    let Outer { stdin, sizes, output } = outer;
    if let (Some(stream), Some(stdin)) = (streams.stdin, stdin) {
        tokio::spawn(feed(stream, stdin));
    }
    if let Some(stream) = streams.resize {
        tokio::spawn(resize(stream, sizes));
    }
    let out = |stream: &Option<Stream>| stream.as_ref().map(|stream| stream.outgoing.clone());
    let (stdout, stderr) = (out(&streams.stdout), out(&streams.stderr));
    tokio::select! {
        () = show(output, &stdout, &stderr) => {}
        // The program notices that nobody listens, and goes as well.
        () = error.closed() => return,
    }
    let ended = running.await.unwrap_or_else(|why| Ended::Failed(why.to_string()));
    error.send(ended.status().to_string().as_bytes()).await;
    for stream in [Some(error), stdout, stderr].into_iter().flatten() {
        stream.finish().await;
    }
    // The client closes the connection when it has read everything.
    let _ = tokio::time::timeout(PATIENCE, async { while opened.recv().await.is_some() {} }).await;
}

async fn feed(mut from: Stream, to: mpsc::Sender<bytes::Bytes>) {
    while let Some(bytes) = from.incoming.recv().await {
        if to.send(bytes).await.is_err() {
            return;
        }
    }
}

/// Sizes come as JSON values one behind the other.
async fn resize(mut from: Stream, to: mpsc::Sender<Size>) {
    while let Some(bytes) = from.incoming.recv().await {
        let sizes: Vec<Size> =
            serde_json::Deserializer::from_slice(&bytes).into_iter().map_while(Result::ok).collect();
        for size in sizes {
            let _ = to.send(size).await;
        }
    }
}

async fn show(mut output: mpsc::Receiver<Output>, stdout: &Option<Sender>, stderr: &Option<Sender>) {
    while let Some(output) = output.recv().await {
        let (stream, bytes) = match output {
            Output::Stdout(bytes) => (stdout, bytes),
            Output::Stderr(bytes) => (stderr, bytes),
        };
        if let Some(stream) = stream
            && !stream.send(&bytes).await
        {
            return;
        }
    }
}
