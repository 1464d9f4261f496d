//! What each command does.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode};

use crate::cli::{Cli, Command, NodeCommand, Own, Up};
use crate::error::{Error, Result};
use crate::fleet::request::{self, Request};
use crate::scenario::Story;
use crate::shape::{Dual, Host, Shape, Underlay};
use crate::state::{Spec, State, name_option};
use crate::ui::{self, Style, Ui};
use crate::underlay::Layout;
use crate::{demo, exec, given, hold, kubelet, launch, manifest, registry, scenario, supervisor};

/// Carries out a command line.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Own(own) => run_own(own),
        other => run_users(other),
    };
    done.unwrap_or_else(|why| {
        ui::complain(&why);
        ExitCode::FAILURE
    })
}

fn run_users(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(options) => up(&options).map(|()| ExitCode::SUCCESS),
        Command::Down(which) => down(&State::of(&which.name)?),
        Command::Apply { which, files, namespace } => {
            manifest::apply_files(&running(&which.name)?.kubeconfig(), &files, &namespace)
        }
        Command::Kubectl { which, args } => kubectl(&running(&which.name)?, &args),
        Command::Kubeconfig(which) => {
            Ui::new().line(&running(&which.name)?.kubeconfig().display().to_string());
            Ok(ExitCode::SUCCESS)
        }
        Command::Exec { which, target, namespace, program } => {
            exec::exec(&State::of(&which.name)?, &target, &namespace, &program)
        }
        Command::Node { which, what } => change_node(&running(&which.name)?, what),
        Command::Logs { which, component } => logs(&State::of(&which.name)?, component.as_deref()),
        Command::Status(which) => status(&State::of(&which.name)?),
        Command::Run(options) => scenario::run(&options),
        Command::Demo => demo::run(),
        Command::Own(own) => run_own(own),
    }
}

fn run_own(own: Own) -> Result<ExitCode> {
    if !matches!(own, Own::Become { .. } | Own::Inside { .. } | Own::Tell { .. }) {
        log_to_stderr();
    }
    match own {
        Own::Launch { spec } => Ok(launch::launch(&spec)),
        Own::Init { state } => Ok(launch::init(&state)),
        Own::Supervise { state } => Ok(supervisor::supervise(&state)),
        Own::Hold { name, kind, detail } => {
            hold::hold(&name, &kind, detail.as_deref()).map(|()| ExitCode::SUCCESS)
        }
        Own::Kubelet { number, holder } => kubelet::main(number, holder).map(|()| ExitCode::SUCCESS),
        Own::Inside { init, args } => launch::go_inside(init, &args),
        Own::Become { terminal, process, program } => {
            if terminal {
                exec::take_terminal()?;
            }
            exec::become_program(process, &program)
        }
        Own::Tell { state, story } => scenario::tell(&State::at(&state)?, &story),
    }
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("POLYNIC_LAB_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr);
    // A second initialisation in one process would be the only failure.
    let _ = log.try_init();
}

/// The state of a lab that runs.
fn running(name: &str) -> Result<State> {
    let state = State::of(name)?;
    if state.is_alive()? { Ok(state) } else { Err(Error::NotRunning(name.to_owned())) }
}

/// The program that nodes get as their plugins: beside this one, or where `POLYNIC_BIN` says.
pub fn polynic() -> Result<PathBuf> {
    let missing = |path: PathBuf| Error::Missing {
        what: "the program polynic, which nodes run as their CNI plugins,".to_owned(),
        path,
        remedy: "build it with: cargo build -p polynic (or name it in POLYNIC_BIN)".to_owned(),
    };
    if let Some(path) = std::env::var_os("POLYNIC_BIN") {
        return std::fs::canonicalize(&path).map_err(|_| missing(path.into()));
    }
    let own = std::env::current_exe().map_err(Error::io("find this program's file"))?;
    let directory = own.parent().unwrap_or(Path::new("/"));
    let beside = directory.join("polynic");
    beside.canonicalize().map_err(|_| missing(beside))
}

/// The default shape, or that of a story, with what the options say.
fn shape(options: &Up, story: Option<&Story>) -> Result<Shape> {
    let mut shape = story.map_or_else(Shape::default, |story| (story.shape)());
    // The stories' clusters that say nothing of their networks get to know them on the way.
    shape.kubeadm_config |= shape.nodes_without_cidrs;
    if !options.underlays.is_empty() {
        shape.underlays =
            options.underlays.iter().map(|text| Underlay::parse(text)).collect::<Result<_>>()?;
    }
    if let Some(pods) = &options.pods {
        shape.pods = Dual::parse(pods)?;
    }
    if let Some(services) = &options.services {
        shape.services = Dual::parse(services)?;
    }
    shape.spiderpool |= options.spiderpool;
    shape.thick |= options.thick;
    for text in &options.hosts {
        shape.hosts.push(host(text)?);
    }
    Ok(shape)
}

fn host(text: &str) -> Result<Host> {
    let bad =
        || Error::Input(format!("host {text}: expected NAME=ADDRESS/LENGTH, such as client=192.168.1.50/24"));
    let (name, address) = text.split_once('=').ok_or_else(bad)?;
    crate::state::check_name(name)?;
    Ok(Host::new(name, address.parse().map_err(|_| bad())?))
}

fn up(options: &Up) -> Result<()> {
    let story = options.like.as_deref().map(scenario::find).transpose()?;
    let shape = shape(options, story)?;
    let nodes = options.nodes.or(story.map(|story| story.nodes)).unwrap_or(1);
    // Mistakes are told before anything is made.
    Layout::new(nodes, &shape)?;
    let spec = Spec {
        name: options.which.name.clone(),
        nodes,
        shape,
        strict_reverse_path: options.strict_reverse_path,
        rbac: options.rbac,
        tied: false,
        polynic: polynic()?,
    };
    let state = State::of(&spec.name)?;
    let ui = Ui::new();
    ui.line(&ui.paint(Style::Bold, &format!("starting lab {:?}", spec.name)));
    launch::start(&spec, |step| ui.line(&format!("  {} {step}", ui.paint(Style::Good, "ok"))))?;
    given::provide(&state, &spec.shape, story.map_or("", |story| story.given))?;
    let option = name_option(&spec.name);
    let file = story.map_or("FILE".to_owned(), |story| format!("scenarios/{}/manifests.yaml", story.name));
    ui.line(&format!("export KUBECONFIG={}", state.kubeconfig().display()));
    let program = ui::program();
    ui.line(&format!("try: {program} apply{option} -f {file}; {program} exec{option} POD -- ip addr"));
    ui.line(&format!("end: {program} down{option}"));
    Ok(())
}

fn down(state: &State) -> Result<ExitCode> {
    let existed = launch::stop(state)?;
    let text = if existed { "is gone" } else { "was not there" };
    Ui::new().line(&format!("lab {:?} {text}", state.name()));
    Ok(ExitCode::SUCCESS)
}

fn kubectl(state: &State, args: &[String]) -> Result<ExitCode> {
    let kubeconfig = state.kubeconfig();
    let run = Process::new("kubectl").args(args).env("KUBECONFIG", &kubeconfig).status();
    match run {
        Ok(status) => Ok(launch::exit_code(status)),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            let ui = Ui::new();
            ui.line("there is no kubectl on this machine; with one from elsewhere, use this kubeconfig:");
            ui.line(&kubeconfig.display().to_string());
            Ok(ExitCode::FAILURE)
        }
        Err(why) => Err(Error::io("run kubectl")(why)),
    }
}

fn change_node(state: &State, what: NodeCommand) -> Result<ExitCode> {
    let request = match what {
        NodeCommand::Add => Request::Add,
        NodeCommand::Kill { node } => Request::Kill { node },
        NodeCommand::Start { node } => Request::Start { node },
        NodeCommand::Remove { node } => Request::Remove { node },
    };
    Ui::new().line(&request::ask(state, &request)?);
    Ok(ExitCode::SUCCESS)
}

fn logs(state: &State, component: Option<&str>) -> Result<ExitCode> {
    let directory = state.logs();
    let entries = std::fs::read_dir(&directory).map_err(|_| Error::NotRunning(state.name().to_owned()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let stem = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let wanted: Vec<&PathBuf> =
        files.iter().filter(|path| component.is_none_or(|c| stem(path).as_deref() == Some(c))).collect();
    if wanted.is_empty() {
        let known: Vec<String> = files.iter().filter_map(stem).collect();
        return Err(Error::Input(format!("no such component: there are {}", known.join(", "))));
    }
    for path in &wanted {
        if wanted.len() > 1 {
            Ui::new().heading(&stem(path).unwrap_or_default());
        }
        let text = std::fs::read(path).map_err(Error::io(format!("read {}", path.display())))?;
        // A reader that has seen enough is no error.
        let _ = std::io::stdout().write_all(&text);
    }
    Ok(ExitCode::SUCCESS)
}

fn status(state: &State) -> Result<ExitCode> {
    let ui = Ui::new();
    let mut rows = vec![["LAB", "STATE", "NODES", "UNDERLAY"].map(str::to_owned).to_vec()];
    for lab in State::all() {
        let Ok(spec) = lab.spec() else { continue };
        let dead = format!("dead (remove it with: {} down{})", ui::program(), name_option(&spec.name));
        let alive = if lab.is_alive()? { "running".to_owned() } else { dead };
        let nets: Vec<String> = spec.shape.underlays.iter().map(ToString::to_string).collect();
        rows.push(vec![spec.name, alive, spec.nodes.to_string(), nets.join(" ")]);
    }
    if rows.len() == 1 {
        ui.line("no labs");
        return Ok(ExitCode::SUCCESS);
    }
    ui::table(&rows).iter().for_each(|line| ui.line(line));
    if state.is_alive()? {
        show_inside(state, ui)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show_inside(state: &State, ui: Ui) -> Result<()> {
    ui.heading(&format!("lab {:?}: {}", state.name(), state.kubeconfig().display()));
    let spec = state.spec()?;
    let layout = Layout::new(spec.nodes, &spec.shape)?;
    let mut rows = vec![["HOST", "ADDRESSES"].map(str::to_owned).to_vec()];
    for node in layout.nodes() {
        let nics = (0..layout.segments().len()).filter_map(|nic| layout.address(node, nic)).flatten();
        let addresses: Vec<String> = nics.map(|net| net.addr().to_string()).collect();
        rows.push(vec![format!("node/{}", node.name()), addresses.join(" ")]);
    }
    for host in &spec.shape.hosts {
        let addresses = layout.host_addresses(&host.name).into_iter().flatten();
        let addresses: Vec<String> = addresses.map(|ip| ip.to_string()).collect();
        rows.push(vec![format!("host/{}", host.name), addresses.join(" ")]);
    }
    ui::table(&rows).iter().for_each(|line| ui.line(line));
    let mut rows = vec![["POD", "NODE", "ADDRESSES"].map(str::to_owned).to_vec()];
    for pod in registry::sandboxes(state) {
        let ips: Vec<String> = pod.ips.iter().map(ToString::to_string).collect();
        rows.push(vec![pod.pod(), pod.node.clone(), ips.join(" ")]);
    }
    if rows.len() > 1 {
        ui.line("");
        ui::table(&rows).iter().for_each(|line| ui.line(line));
    }
    Ok(())
}
