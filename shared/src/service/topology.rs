//! How connectors join pipelines: which ones, in which order, and that no circle closes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::factory::{ComponentId, Kind};
use super::model::{Components, Link, Pipeline};
use crate::config::{Path, Problems};
use crate::wire::Signal;

/// The links that connectors make; reports those that lead nowhere, and circles.
pub(super) fn check(
    pipelines: &[Pipeline],
    components: &Components<'_>,
    problems: &mut Problems,
) -> Vec<Link> {
    let section = Path::ROOT.key(Kind::Connector.section());
    let mut links = Vec::new();
    for id in components.ids(Kind::Connector) {
        // Nothing can be said of a connector whose type is not known, nor of an ambiguous id.
        let Some(signals) = components.signals(Kind::Connector, id) else { continue };
        if components.has(Kind::Exporter, id) || components.has(Kind::Receiver, id) {
            continue;
        }
        let found = links_of(id, signals, pipelines);
        let text = id.to_string();
        let at = section.key(&text);
        for (role, other) in [(Kind::Exporter, Kind::Receiver), (Kind::Receiver, Kind::Exporter)] {
            let loose = loose_ends(id, role, &found, pipelines);
            if !loose.is_empty() {
                let (role, other) = (role.name(), other.name());
                let message = format!(
                    "connector \"{id}\" used as {role} in [{}] pipeline but not used in any \
                     supported {other} pipeline",
                    loose.join(" ")
                );
                problems.report(&at, message);
            }
        }
        links.extend(found);
    }
    if let Err(circle) = order(pipelines.len(), &links) {
        let first = circle[0].connector.to_string();
        problems.report(&section.key(&first), describe(&circle, pipelines));
    }
    links
}

fn links_of(id: &ComponentId, signals: &[(Signal, Signal)], pipelines: &[Pipeline]) -> Vec<Link> {
    let mut links = Vec::new();
    for (from, ended) in pipelines.iter().enumerate() {
        for (to, begun) in pipelines.iter().enumerate() {
            if ended.exporters.contains(id)
                && begun.receivers.contains(id)
                && signals.contains(&(ended.id.signal, begun.id.signal))
            {
                links.push(Link { connector: id.clone(), from, to });
            }
        }
    }
    links
}

/// The pipelines that name the connector in this role without a pipeline on its other side.
fn loose_ends(id: &ComponentId, role: Kind, links: &[Link], pipelines: &[Pipeline]) -> Vec<String> {
    let mut loose = Vec::new();
    for (index, pipeline) in pipelines.iter().enumerate() {
        let (ids, linked) = match role {
            Kind::Exporter => (&pipeline.exporters, links.iter().any(|link| link.from == index)),
            _ => (&pipeline.receivers, links.iter().any(|link| link.to == index)),
        };
        if ids.contains(id) && !linked {
            loose.push(pipeline.id.to_string());
        }
    }
    loose
}

/// The pipelines' indices, upstream first; else the links that close a circle.
pub(super) fn order(count: usize, links: &[Link]) -> Result<Vec<usize>, Vec<Link>> {
    let mut left: BTreeSet<usize> = (0..count).collect();
    let mut ordered = Vec::with_capacity(count);
    loop {
        let fed =
            |index: &usize| links.iter().any(|link| link.to == *index && left.contains(&link.from));
        let ready: Vec<usize> = left.iter().copied().filter(|index| !fed(index)).collect();
        if ready.is_empty() {
            break;
        }
        left.retain(|index| !ready.contains(index));
        ordered.extend(ready);
    }
    match left.first() {
        None => Ok(ordered),
        Some(first) => Err(circle(*first, &left, links)),
    }
}

/// Follows links backwards within `left`, where every pipeline is fed by another, until a
/// pipeline comes again.
fn circle(start: usize, left: &BTreeSet<usize>, links: &[Link]) -> Vec<Link> {
    let mut path: Vec<Link> = Vec::new();
    let mut at = start;
    loop {
        let link = links
            .iter()
            .find(|link| link.to == at && left.contains(&link.from))
            .expect("pipelines that are left are fed by others that are left");
        if let Some(end) = path.iter().position(|known| known.to == at) {
            let mut circle = path.split_off(end);
            circle.reverse();
            return circle;
        }
        at = link.from;
        path.push(link.clone());
    }
}

fn describe(circle: &[Link], pipelines: &[Pipeline]) -> String {
    let name = |link: &Link| {
        let (from, to) = (&pipelines[link.from].id.signal, &pipelines[link.to].id.signal);
        format!("connector \"{}\" ({from} to {to})", link.connector)
    };
    let mut text = "cycle detected: ".to_owned();
    for link in circle {
        let pipeline = &pipelines[link.to];
        write!(text, "{} -> ", name(link)).expect("a string takes any text");
        for processor in &pipeline.processors {
            let id = &pipeline.id;
            write!(text, "processor \"{processor}\" in pipeline \"{id}\" -> ")
                .expect("a string takes any text");
        }
    }
    text + &name(&circle[0])
}
