//! Names the cycles of a graph. Of the steps that reach each other in a circle one cycle is named.

use std::collections::{HashMap, HashSet};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// Cycles longer than twice this are shown without their middle.
const SHOWN: usize = 10;

/// A graph over step numbers, of which only a part may be there.
#[derive(Default)]
pub struct Region {
    graph: DiGraph<u32, (), u32>,
    places: HashMap<u32, NodeIndex>,
}

impl Region {
    /// Whether the step was not in it before.
    pub fn add(&mut self, step: u32) -> bool {
        let Self { graph, places } = self;
        let before = places.len();
        places.entry(step).or_insert_with(|| graph.add_node(step));
        places.len() > before
    }

    /// That `after` waits for `before`; says nothing where one of them is not in the region.
    pub fn link(&mut self, before: u32, after: u32) {
        if let (Some(before), Some(after)) = (self.places.get(&before), self.places.get(&after)) {
            self.graph.add_edge(*before, *after, ());
        }
    }

    /// Every cycle as `a → b → a`.
    pub fn cycles(&self, name: impl Fn(u32) -> String) -> Vec<String> {
        kosaraju_scc(&self.graph)
            .into_iter()
            .filter(|knot| knot.len() > 1 || self.graph.contains_edge(knot[0], knot[0]))
            .map(|knot| self.cycle(&knot, &name))
            .collect()
    }

    /// Some cycle within the knot: every member has a successor in it.
    fn cycle(&self, knot: &[NodeIndex], name: impl Fn(u32) -> String) -> String {
        let members: HashSet<_> = knot.iter().copied().collect();
        let mut seen = HashMap::new();
        let mut path = Vec::new();
        let first =
            |nodes: &mut dyn Iterator<Item = NodeIndex>| nodes.min_by_key(|n| self.graph[*n]);
        let mut here = first(&mut knot.iter().copied());
        while let Some(node) = here {
            path.push(node);
            if let Some(start) = seen.insert(node, path.len() - 1) {
                path.drain(..start);
                break;
            }
            let neighbours = self.graph.neighbors(node);
            here = first(&mut neighbours.filter(|next| members.contains(next)));
        }
        let mut names: Vec<String> = path.iter().map(|node| name(self.graph[*node])).collect();
        if names.len() > 2 * SHOWN {
            let hidden = names.len() - 2 * SHOWN;
            names.splice(SHOWN..SHOWN + hidden, [format!("({hidden} more)")]);
        }
        names.join(" → ")
    }
}
