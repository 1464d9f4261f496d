//! Running a program of this machine in a pod's namespaces, and watching a container.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::session::{self, Ended, Inner, Output};
use super::{Answer, Call, logs, spdy, text, wants, websocket};
use crate::process;

mod pipes;
mod terminal;

/// How long output of a program that ended is waited for, in case something that it started still holds the pipe.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// It types.
    pub stdin: bool,
    /// It reads standard output.
    pub stdout: bool,
    /// It reads standard error.
    pub stderr: bool,
    /// It has a terminal.
    pub tty: bool,
}

impl Streams {
    fn of(call: &Call) -> Streams {
        let set = |key| call.query.is_set(key);
        let tty = set("tty");
        // A terminal has one output.
        Streams { stdin: set("stdin"), stdout: set("stdout"), stderr: set("stderr") && !tty, tty }
    }
}

/// Runs the program that the query names.
pub fn answer(call: Call, request: Request<Incoming>) -> Answer {
    let (streams, program) = (Streams::of(&call), call.query.all("command"));
    if program.is_empty() {
        return text(StatusCode::BAD_REQUEST, "you must specify at least 1 command for the container");
    }
    let Some(pause) = call.sandbox.pause else {
        return text(StatusCode::NOT_FOUND, "the pod has no process");
    };
    start(request, streams, move |inner| run(pause.pid, program, streams, inner))
}

/// Shows what a container writes from now on. The stand-in for it reads no input.
pub fn attach(call: Call, request: Request<Incoming>) -> Answer {
    let streams = Streams::of(&call);
    start(request, streams, move |inner| async move {
        let mut lines = Box::pin(logs::follow(&call, logs::Start::End));
        use futures::StreamExt;
        while let Some(line) = lines.next().await {
            if inner.output.send(Output::Stdout(line)).await.is_err() {
                break;
            }
        }
        Ended::Exited(0)
    })
}

/// Connects a program with the client in the protocol that it asks for.
fn start<F, P>(request: Request<Incoming>, streams: Streams, program: P) -> Answer
where
    P: FnOnce(Inner) -> F + Send + 'static,
    F: Future<Output = Ended> + Send + 'static,
{
    let (inner, outer) = session::pair();
    let work = async move { program(inner).await };
    if wants(&request, "websocket") {
        return websocket::commands(request, streams, outer, work);
    }
    if wants(&request, "SPDY/3.1") {
        return spdy::commands::answer(request, streams, outer, work);
    }
    text(StatusCode::BAD_REQUEST, "you must upgrade to WebSocket or SPDY/3.1")
}

async fn run(pause: u32, program: Vec<String>, streams: Streams, inner: Inner) -> Ended {
    let ran = if streams.tty {
        terminal::run(pause, &program, inner).await
    } else {
        pipes::run(pause, &program, streams, inner).await
    };
    match ran {
        Ok(status) => Ended::Exited(code(status)),
        Err(why) => Ended::Failed(format!("cannot run {:?}: {why}", program.join(" "))),
    }
}

/// As a shell would pass it on.
fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

/// This program again, to become another one in a pod. It goes when nobody waits for it any more.
fn command(pause: u32, options: &[&str], program: &[String]) -> Command {
    let mut command = process::again(["__become"]);
    command.args(options).arg(pause.to_string()).arg("--").args(program);
    let mut command = Command::from(command);
    command.kill_on_drop(true);
    command
}

/// The program's end, or the client's: then the program goes as well.
async fn wait(child: &mut Child, output: &mpsc::Sender<Output>) -> std::io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => status,
        () = output.closed() => {
            child.start_kill()?;
            child.wait().await
        }
    }
}

/// Carries what is read on to the client, until there is no more of either.
async fn carry(
    mut from: impl tokio::io::AsyncRead + Unpin,
    to: mpsc::Sender<Output>,
    wrap: fn(Bytes) -> Output,
) {
    use tokio::io::AsyncReadExt;
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if to.send(wrap(Bytes::copy_from_slice(&buffer[..count]))).await.is_err() {
            return;
        }
    }
}
