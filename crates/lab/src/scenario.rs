//! The stories of scenarios/, checked fact by fact with real packets.
//!
//! A story is data: manifests, and chapters of facts. `run` starts a lab for it and tells it in a process inside ([`tell`]), which sees
//! the cluster through the API, the nodes and pods through the kernel ([`world`]), and sends packets of its own ([`packet`]).

use std::io::PipeReader;
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

use crate::cli::Run;
use crate::command::polynic;
use crate::error::{Error, Result};
use crate::launch;
use crate::shape::Shape;
use crate::state::{Spec, State};
use crate::ui::{self, Style, Ui};

pub mod calico_flannel;
pub mod explained;
pub mod mac_and_conflict;
pub mod macvlan_overlay;
pub mod macvlan_standalone;
pub mod multi_networkpolicy;
pub mod packet;
mod pools;
mod probe;
pub mod quickstart;
mod reach;
pub mod reachability;
pub mod spiderpool_calico;
mod status_text;
pub mod world;

use world::World;

/// What a check found: how it is, or how it is not.
pub type Finding = Result<String, String>;

/// One sentence of a story's expect.md.
pub struct Fact {
    /// The sentence.
    pub name: &'static str,
    /// Looks whether it holds.
    pub check: fn(&World) -> Finding,
}

/// Facts that hold after something was done.
pub struct Chapter {
    /// Its heading.
    pub title: &'static str,
    /// What is done first. If that fails, so do the facts.
    pub act: fn(&World) -> Finding,
    /// What holds then.
    pub facts: &'static [Fact],
}

/// A story.
pub struct Story {
    /// Its folder in scenarios/.
    pub name: &'static str,
    /// What is in its cluster before they are applied, beside what `shape` brings.
    pub given: &'static str,
    /// Its manifests, as in the folder.
    pub manifests: &'static str,
    /// Number of nodes.
    pub nodes: u16,
    /// Networks and hosts; `Shape::default` are the quickstart's.
    pub shape: fn() -> Shape,
    /// What happens.
    pub chapters: &'static [Chapter],
}

/// All stories that the lab can tell.
pub const STORIES: [&Story; 8] = [
    &reachability::STORY,
    &quickstart::STORY,
    &macvlan_overlay::STORY,
    &macvlan_standalone::STORY,
    &mac_and_conflict::STORY,
    &spiderpool_calico::STORY,
    &calico_flannel::STORY,
    &multi_networkpolicy::STORY,
];

/// The story of that name.
pub fn find(name: &str) -> Result<&'static Story> {
    let name = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let known = || STORIES.map(|story| story.name).join(", ");
    let found = STORIES.iter().find(|story| story.name == name);
    found.copied().ok_or_else(|| Error::Input(format!("no story named {name:?}: there are {}", known())))
}

/// `run`: the story in a lab of its own, which goes with it.
pub fn run(options: &Run) -> Result<ExitCode> {
    let Run { keep, thick, .. } = *options;
    let story = find(&options.scenario)?;
    let ui = Ui::new();
    ui.line(&ui.paint(Style::Bold, story.name));
    let spec = Spec {
        name: format!("run-{}", std::process::id()),
        nodes: story.nodes,
        shape: Shape { thick, ..(story.shape)() },
        strict_reverse_path: false,
        rbac: false,
        tied: !keep,
        polynic: polynic()?,
    };
    let ended = in_lab(&spec, story.name, |step| ui.line(&format!("  {}", ui.paint(Style::Dim, step))), keep);
    if keep && !matches!(ended, Ok(code) if code == ExitCode::SUCCESS) {
        ui.line(&format!(
            "the lab stays: {1} status --name {0}; {1} down --name {0}",
            spec.name,
            ui::program()
        ));
    }
    ended
}

/// Starts a lab, has it tell `story` from within, and ends it, also when it is interrupted.
pub fn in_lab(spec: &Spec, story: &str, show: impl FnMut(&str), keep_on_failure: bool) -> Result<ExitCode> {
    let state = State::of(&spec.name)?;
    let cord: PipeReader = launch::start(spec, show)?;
    let told = tell_inside(&state, story);
    let failed = !matches!(&told, Ok(code) if *code == ExitCode::SUCCESS);
    if !(keep_on_failure && failed) {
        launch::stop(&state)?;
    }
    drop(cord);
    told
}

fn tell_inside(state: &State, story: &str) -> Result<ExitCode> {
    let directory = state.directory();
    let args = ["__tell", &directory.to_string_lossy(), story];
    let child = launch::inside(state, &args)?.spawn().map_err(Error::io("start a process in the lab"))?;
    wait_or_interrupt(child)
}

/// The exit status of the teller, or of an interrupt: the lab ends then, and the teller with it.
fn wait_or_interrupt(mut child: Child) -> Result<ExitCode> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("start the runtime"))?;
    let ended = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).map_err(Error::io("watch for signals"))?;
        let waiting = tokio::task::spawn_blocking(move || child.wait());
        tokio::select! {
            done = waiting => {
                let status = done.map_err(std::io::Error::from).and_then(|status| status);
                Ok(launch::exit_code(status.map_err(Error::io("wait for the story"))?))
            }
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
            _ = terminated.recv() => Ok(ExitCode::from(143)),
        }
    });
    // The thread that waits for the child ends when the lab does, which is after this.
    runtime.shutdown_background();
    ended
}

/// `__tell`: inside the lab.
pub fn tell(state: &State, name: &str) -> Result<ExitCode> {
    let world = World::enter(state)?;
    if name == "demo" {
        return crate::demo::show(&world);
    }
    let story = find(name)?;
    let started = Instant::now();
    let mut telling = Telling { ui: Ui::new(), hold: 0, fail: 0 };
    for chapter in story.chapters {
        telling.chapter(&world, chapter);
    }
    Ok(telling.end(story.name, started.elapsed()))
}

/// A story on its way to the reader, with the count so far.
struct Telling {
    ui: Ui,
    hold: usize,
    fail: usize,
}

impl Telling {
    fn chapter(&mut self, world: &World, chapter: &Chapter) {
        self.ui.heading(chapter.title);
        let acted = (chapter.act)(world);
        world.forget();
        match &acted {
            Ok(words) => self.ui.line(&format!("     {}", self.ui.paint(Style::Dim, words))),
            Err(why) => self.fails(&format!("could not begin: {why}")),
        }
        for fact in chapter.facts {
            let finding = match &acted {
                Ok(_) => (fact.check)(world),
                Err(_) => Err("not looked at".to_owned()),
            };
            self.fact(fact.name, &finding);
        }
    }

    fn fact(&mut self, name: &str, finding: &Finding) {
        match finding {
            Ok(seen) => {
                self.hold += 1;
                let (ok, seen) = (self.ui.paint(Style::Good, "ok  "), self.ui.paint(Style::Dim, seen));
                self.ui.line(&format!("{ok} {name}: {seen}"));
            }
            Err(why) => self.fails(&format!("{name}: {why}")),
        }
    }

    fn fails(&mut self, words: &str) {
        self.fail += 1;
        self.ui.line(&format!("{} {words}", self.ui.paint(Style::Bad, "FAIL")));
    }

    fn end(self, name: &str, took: Duration) -> ExitCode {
        let good = self.fail == 0;
        let words = format!("{name}: {} facts hold, {} do not", self.hold, self.fail);
        let words = self.ui.paint(if good { Style::Good } else { Style::Bad }, &words);
        self.ui.line(&format!("\n{words} ({:.1} s)", took.as_secs_f32()));
        if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Asks again until the answer is good, at most for `patience`; then the last answer stands.
pub fn eventually(patience: Duration, mut check: impl FnMut() -> Finding) -> Finding {
    let deadline = Instant::now() + patience;
    loop {
        let finding = check();
        if finding.is_ok() || Instant::now() >= deadline {
            return finding;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A finding about equality that shows both sides when it fails.
pub fn same<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Finding {
    if found == expected {
        Ok(format!("{found:?}"))
    } else {
        Err(format!("found {found:?}, expected {expected:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stories_are_found_by_name_or_folder() {
        assert_eq!(find("multus-quickstart").unwrap().name, "multus-quickstart");
        assert_eq!(find("scenarios/multus-quickstart/").unwrap().name, "multus-quickstart");
        assert!(matches!(find("nonsense"), Err(Error::Input(why)) if why.contains("multus-quickstart")));
    }

    #[test]
    fn waiting_ends_with_the_first_good_answer_or_the_last_bad_one() {
        let mut count = 0;
        let good = eventually(Duration::from_secs(60), || {
            count += 1;
            if count == 3 { Ok("3".into()) } else { Err("not yet".into()) }
        });
        assert_eq!((good, count), (Ok("3".into()), 3));
        assert_eq!(eventually(Duration::ZERO, || Err("never".into())), Err("never".into()));
    }

    #[test]
    fn a_difference_shows_both_sides() {
        assert_eq!(same(&1, &2), Err("found 1, expected 2".into()));
        assert_eq!(same(&1, &1), Ok("1".into()));
    }
}
