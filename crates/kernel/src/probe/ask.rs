//! The conversation: questions at their pace, all at once, until each is answered or its time is over.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use polynic_net::Mac;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::frame::{Source, claim, question};
use super::socket::PacketSocket;

/// Room for one frame. Longer ones are no neighbour discovery.
const BUFFER: usize = 2048;

/// Something to ask.
pub(crate) struct Question<'a> {
    /// Where it goes and where the answer comes.
    pub(crate) socket: &'a PacketSocket,
    /// Who asks.
    pub(crate) source: Source,
    /// Who is sought.
    pub(crate) target: IpAddr,
    /// Time after each question.
    pub(crate) interval: Duration,
    /// How often it is asked.
    pub(crate) count: u32,
    /// An answer ends the whole conversation.
    pub(crate) decisive: bool,
}

/// A question under way.
struct Open {
    next: Instant,
    left: u32,
    answer: Option<Mac>,
}

/// Asks everything at the same time. For each question: who answered first. Answers from the asking link itself do not count.
pub(crate) fn ask(questions: &[Question<'_>]) -> io::Result<Vec<Option<Mac>>> {
    let start = Instant::now();
    let open = |q: &Question<'_>| Open { next: start, left: q.count.max(1), answer: None };
    let mut state: Vec<Open> = questions.iter().map(open).collect();
    loop {
        let now = Instant::now();
        for (question, open) in questions.iter().zip(&mut state) {
            pace(question, open, now)?;
        }
        let settled = |(q, o): (&Question<'_>, &Open)| match o.answer {
            Some(_) => true,
            None => o.left == 0 && now >= o.next && !q.interval.is_zero(),
        };
        let decided = questions.iter().zip(&state).any(|(q, o)| q.decisive && o.answer.is_some());
        if decided || questions.iter().zip(&state).all(settled) {
            return Ok(state.into_iter().map(|o| o.answer).collect());
        }
        let unanswered = state.iter().filter(|o| o.answer.is_none());
        wait(questions, unanswered.map(|o| o.next).min().unwrap_or(now).saturating_duration_since(now))?;
        listen(questions, &mut state)?;
    }
}

/// Sends a question whose turn it is.
fn pace(asked: &Question<'_>, open: &mut Open, now: Instant) -> io::Result<()> {
    if open.answer.is_some() || open.left == 0 || now < open.next {
        return Ok(());
    }
    asked.socket.send(&question(asked.source, asked.target))?;
    open.left -= 1;
    open.next = now + asked.interval;
    Ok(())
}

/// Waits until a frame is there, at most for `time`.
fn wait(questions: &[Question<'_>], time: Duration) -> io::Result<()> {
    let mut fds: Vec<PollFd<'_>> =
        questions.iter().map(|q| PollFd::from_borrowed_fd(q.socket.as_fd(), PollFlags::IN)).collect();
    // Rounded up, so that the next look is not too early by a fraction.
    let time = Timespec::try_from(time + Duration::from_micros(50)).map_err(io::Error::other)?;
    match poll(&mut fds, Some(&time)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn listen(questions: &[Question<'_>], state: &mut [Open]) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    for heard in questions {
        while let Some(frame) = heard.socket.receive(&mut buffer)? {
            let Some((ip, mac)) = claim(frame) else { continue };
            for (asked, open) in questions.iter().zip(state.iter_mut()) {
                let same = std::ptr::eq(asked.socket, heard.socket) && asked.target == ip;
                if same && open.answer.is_none() && mac != asked.source.mac {
                    open.answer = Some(mac);
                }
            }
        }
    }
    Ok(())
}
