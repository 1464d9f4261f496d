//! `polynic explain`: why a packet of a pod takes the path it takes, and whether the reply comes back.

mod options;
mod pods;

use std::io;
use std::net::IpAddr;
use std::path::Path;

use polynic_explain::{Asker, Explanation, Question, Scene, Site, Works, explain};
use polynic_kernel::netns::{Netns, Pod};
use polynic_kernel::survey::together;

use options::Options;
use pods::Place;

/// The command: the text, and whether request and reply arrive.
pub(crate) fn run(args: &[&str]) -> io::Result<(String, bool)> {
    let options = Options::read(args)?;
    let places = pods::places(&options, Path::new(pods::CACHE), Path::new(pods::STATE))?;
    let scene = look(&places)?;
    let question = question(&scene, &options)?;
    let answer = explain(&scene, &question);
    let text = if options.json { json(&answer)? } else { answer.to_string() };
    Ok((text, answer.works != Works::No))
}

fn json(answer: &Explanation) -> io::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(answer)?))
}

/// The node is the first site, the pod the second, other pods follow.
fn look(places: &[Place]) -> io::Result<Scene> {
    let mut sites = Vec::new();
    let (mut names, mut spaces) = (Vec::new(), Vec::new());
    for place in places {
        match Netns::<Pod>::open(&place.netns) {
            Ok(space) => {
                names.push(place.name.clone());
                spaces.push(space);
            }
            // Other pods come and go; the node and the pod that is asked about have to be there.
            Err(_) if names.len() >= 2 => {}
            Err(why) => return Err(io::Error::other(format!("{}: {why}", place.name))),
        }
    }
    for (name, seen) in names.into_iter().zip(together(&spaces).map_err(io::Error::other)?) {
        sites.push(Site { name, stack: seen.stack, numbers: seen.numbers });
    }
    Ok(Scene { sites })
}

const NODE: usize = 0;
const POD: usize = 1;

/// Who asks: the pod, the node (`--node-side`), or, if `--from` is an address of somebody else and `--to` the pod's, that one.
fn question(scene: &Scene, options: &Options) -> io::Result<Question> {
    let has = |site: usize, ip: IpAddr| scene.sites[site].stack.owns(ip);
    let asker = match options.from {
        _ if options.node_side => Asker::Site(NODE),
        Some(from) if !has(POD, from) && has(POD, options.to) => {
            (0..scene.sites.len()).find(|site| has(*site, from)).map_or(Asker::Beyond, Asker::Site)
        }
        _ => Asker::Site(POD),
    };
    Ok(Question {
        asker,
        to: options.to,
        port: options.port,
        from: options.from,
        link: link(scene, asker, options)?,
    })
}

fn link(scene: &Scene, asker: Asker, options: &Options) -> io::Result<Option<u32>> {
    let (Some(name), Asker::Site(site)) = (&options.link, asker) else { return Ok(None) };
    let site = &scene.sites[site];
    match site.stack.link_named(name) {
        Some(link) => Ok(Some(link.fact.index)),
        None => {
            let all: Vec<&str> = site.stack.links.iter().map(|link| link.fact.name.as_str()).collect();
            Err(io::Error::other(format!("{} has no interface {name}, only {}", site.name, all.join(", "))))
        }
    }
}
