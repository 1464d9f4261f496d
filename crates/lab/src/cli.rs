//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::scenario::STORIES;
use crate::state::DEFAULT_NAME;

/// A Kubernetes-shaped cluster on this machine: nodes are network namespaces, wires are real, kubectl works.
///
/// Nothing of it touches the machine's own network, and nothing is left after `down`. It needs no root where user namespaces are
/// allowed. Container images are not run: a pause process stands in for each pod, and `exec` runs this machine's tools in the
/// pod's network.
#[derive(Debug, Parser)]
#[command(name = "polynic-lab", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which lab.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// The lab's name, to have several at once.
    #[arg(long = "name", value_name = "LAB", default_value = DEFAULT_NAME, global = true)]
    pub name: String,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a cluster.
    Up(Up),
    /// End a cluster, or remove what is left of one.
    Down(Which),
    /// Create or change objects from a YAML or JSON file, as `kubectl apply` does.
    Apply {
        #[command(flatten)]
        which: Which,
        /// The file, or - for standard input. May be given several times.
        #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Namespace of objects that name none.
        #[arg(short = 'n', long, default_value = "default")]
        namespace: String,
    },
    /// Run this machine's kubectl against the cluster.
    Kubectl {
        #[command(flatten)]
        which: Which,
        /// kubectl's own arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Print the path of the cluster's kubeconfig.
    Kubeconfig(Which),
    /// Run one of this machine's programs in a pod's network (images are not run: a pause process stands in for each pod).
    Exec {
        #[command(flatten)]
        which: Which,
        /// The pod; or node/node1, host/router, host/outside.
        #[arg(value_name = "POD")]
        target: String,
        /// The pod's namespace.
        #[arg(short = 'n', long, default_value = "default")]
        namespace: String,
        /// The program and its arguments.
        #[arg(last = true, required = true, value_name = "CMD")]
        program: Vec<String>,
    },
    /// Add, kill, start or remove a node of a running cluster.
    Node {
        #[command(flatten)]
        which: Which,
        #[command(subcommand)]
        what: NodeCommand,
    },
    /// Print the logs of the lab's own processes.
    Logs {
        #[command(flatten)]
        which: Which,
        /// supervisor (with the API server), node1, ...; all of them if left out.
        component: Option<String>,
    },
    /// Show which labs run, and what is in this one.
    Status(Which),
    /// Run a story of scenarios/ in a cluster of its own and check every fact it promises.
    Run(Run),
    /// Show the quickstart: a pod with two networks, with packets to prove it.
    Demo,
    /// The lab's own processes.
    #[command(flatten)]
    Own(Own),
}

/// What can happen to nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// One more node joins.
    Add,
    /// A node loses its power: everything on it is gone at once, and the cluster is not told.
    Kill {
        /// Such as node2.
        node: String,
    },
    /// A node that was killed boots again.
    Start {
        /// Such as node2.
        node: String,
    },
    /// A node loses its power, and its object is deleted.
    Remove {
        /// Such as node2.
        node: String,
    },
}

/// Options of `up`.
#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    pub which: Which,
    /// The cluster of a story of scenarios/: its nodes and networks, and what has to be there before its manifests are applied.
    #[arg(long, value_name = "STORY", conflicts_with_all = ["underlays", "pods", "services", "hosts"])]
    pub like: Option<String>,
    /// Number of nodes. [default: 1, or the story's]
    #[arg(long)]
    pub nodes: Option<u16>,
    /// Network of the nodes' first NIC; again for the second, and so on. [default: eth0=192.168.1.0/24]
    #[arg(long = "underlay", value_name = "[NIC=]CIDR[,CIDR6]")]
    pub underlays: Vec<String>,
    /// Networks of the pods. [default: 10.244.0.0/16,fd00:10:244::/48]
    #[arg(long, value_name = "CIDR,CIDR6")]
    pub pods: Option<String>,
    /// Networks of Services. [default: 10.96.0.0/12,fd00:10:96::/112]
    #[arg(long, value_name = "CIDR,CIDR6")]
    pub services: Option<String>,
    /// One more host, among the nodes or in a network of its own behind the router. May be given several times.
    #[arg(long = "host", value_name = "NAME=ADDRESS/LENGTH")]
    pub hosts: Vec<String>,
    /// Install Spiderpool: its kinds, an agent on each node, the controller, a SpiderCoordinator.
    #[arg(long)]
    pub spiderpool: bool,
    /// Install Multus thick: an agent on each node attaches pods, and `multus-shim` asks it.
    #[arg(long)]
    pub thick: bool,
    /// Have nodes drop what fails a strict reverse-path check on pods' links, as Calico does.
    #[arg(long)]
    pub strict_reverse_path: bool,
    /// Enforce RBAC: others than the administrator may do what roles grant, and nothing else.
    #[arg(long)]
    pub rbac: bool,
}

/// Options of `run`.
#[derive(Debug, Args)]
#[command(after_help = stories())]
pub struct Run {
    /// The story's folder, such as multus-quickstart.
    pub scenario: String,
    /// Multus is thick: an agent on each node attaches pods, and `multus-shim` asks it.
    #[arg(long)]
    pub thick: bool,
    /// Leave the cluster running when a fact does not hold.
    #[arg(long)]
    pub keep: bool,
}

fn stories() -> String {
    format!("Stories: {}", STORIES.map(|story| story.name).join(", "))
}

/// Commands by which the lab starts its own processes.
#[derive(Debug, Subcommand)]
pub enum Own {
    /// Leaves the machine's namespaces.
    #[command(name = "__launch", hide = true)]
    Launch { spec: String },
    /// Is the first process of a lab.
    #[command(name = "__init", hide = true)]
    Init { state: PathBuf },
    /// Makes and serves the cluster.
    #[command(name = "__supervise", hide = true)]
    Supervise { state: PathBuf },
    /// Keeps namespaces alive.
    #[command(name = "__hold", hide = true)]
    Hold { name: String, kind: String, detail: Option<String> },
    /// Serves a node.
    #[command(name = "__kubelet", hide = true)]
    Kubelet { number: u16, holder: u32 },
    /// Goes into a lab and runs the rest there.
    #[command(name = "__inside", hide = true)]
    Inside {
        init: u32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Becomes a program in the namespaces of another process.
    #[command(name = "__become", hide = true)]
    Become {
        /// Standard input is a terminal, which becomes the program's own.
        #[arg(long)]
        terminal: bool,
        process: u32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        program: Vec<String>,
    },
    /// Tells a story from within a lab.
    #[command(name = "__tell", hide = true)]
    Tell { state: PathBuf, story: String },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_of_other_programs_are_theirs() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["polynic-lab"], args].concat()).unwrap().command;
        let Command::Kubectl { args, which } = parse(&["kubectl", "get", "pods", "-A", "--name", "x"]) else {
            panic!()
        };
        assert_eq!((args.join(" ").as_str(), which.name.as_str()), ("get pods -A --name x", "lab"));
        let Command::Exec { program, namespace, .. } =
            parse(&["exec", "p", "-n", "a", "--", "ip", "-n", "b"])
        else {
            panic!()
        };
        assert_eq!((program.join(" ").as_str(), namespace.as_str()), ("ip -n b", "a"));
    }

    #[test]
    fn a_labs_name_stands_before_and_behind_what_is_done_to_its_nodes() {
        for line in ["node --name x add", "node add --name x", "node kill node2 --name x"] {
            let words = ["polynic-lab"].into_iter().chain(line.split(' '));
            let Command::Node { which, .. } = Cli::try_parse_from(words).unwrap().command else { panic!() };
            assert_eq!(which.name, "x", "{line}");
        }
    }

    #[test]
    fn a_storys_cluster_has_its_own_networks() {
        let up =
            |words: &[&str]| Cli::try_parse_from([&["polynic-lab", "up", "--like", "a"], words].concat());
        assert!(up(&["--thick", "--nodes", "3"]).is_ok());
        assert!(up(&["--underlay", "10.0.0.0/24"]).is_err());
    }

    #[test]
    fn own_commands_are_not_in_the_help() {
        assert!(!Cli::command().render_long_help().to_string().contains("__"));
    }
}
