//! An ordered set of needs in which the first one that fits is found without looking at all of them.
//!
//! A treap (Seidel and Aragon, 1996) whose nodes know the least need below them, resource by resource: what
//! does not even fit there is not entered. It is the first-fit tree of bin packing (Johnson, 1973) for more
//! than one resource. With one resource a search takes O(log n); with several, a subtree may look promising
//! in each of them and hold nothing that fits in all.

const NIL: u32 = u32::MAX;

/// Where an entry stands: class, deadline, round, turn in the round, arrival. Smaller is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The clock's class when it arrived less its priority: what is older or more urgent has less.
    pub rank: i64,
    /// On the monotonic clock; the largest number where there is none.
    pub deadline: u64,
    pub round: u64,
    pub turn: u64,
    /// Its number in the order of arrival, unique.
    pub seq: u64,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    key: Key,
    heat: u64,
    left: u32,
    right: u32,
    size: u32,
}

/// `T`: whose an entry is, as it is told.
#[derive(Clone, Debug)]
pub struct FirstFit<T> {
    /// How many resources there are.
    width: usize,
    nodes: Vec<Node>,
    /// `width` numbers a node: what it needs, and the least that any node from it downwards needs.
    needs: Vec<u64>,
    least: Vec<u64>,
    /// One a node; that of an unused one is not shown.
    whose: Vec<T>,
    unused: Vec<u32>,
    root: u32,
}

/// Whether nothing is needed that is over its limit.
pub fn fits(needs: &[u64], limits: &[u64]) -> bool {
    needs.iter().zip(limits).all(|(need, limit)| need <= limit)
}

/// Scatters numbers (the finaliser of SplitMix64): a treap is balanced as long as heat knows nothing of keys.
fn heat(seq: u64) -> u64 {
    let mut mixed = seq.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl<T> FirstFit<T> {
    pub fn new(width: usize) -> Self {
        let (nodes, needs, least, unused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { width, nodes, needs, least, whose: Vec::new(), unused, root: NIL }
    }

    pub fn len(&self) -> usize {
        self.size(self.root) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.root == NIL
    }

    /// Adds an entry. `needs` has one number a resource.
    pub fn insert(&mut self, key: Key, needs: &[u64], whose: T) {
        let node = Node { key, heat: heat(key.seq), left: NIL, right: NIL, size: 1 };
        let new = match self.unused.pop() {
            Some(free) => {
                self.nodes[free as usize] = node;
                self.whose[free as usize] = whose;
                free
            }
            None => {
                self.nodes.push(node);
                self.whose.push(whose);
                self.needs.resize(self.nodes.len() * self.width, 0);
                self.least.resize(self.nodes.len() * self.width, 0);
                self.nodes.len() as u32 - 1
            }
        };
        let range = self.range(new);
        self.needs[range.clone()].copy_from_slice(needs);
        self.least[range].copy_from_slice(needs);
        self.root = self.insert_at(self.root, new);
    }

    /// Removes an entry; false if it was not there.
    pub fn remove(&mut self, key: Key) -> bool {
        let before = self.len();
        self.root = self.remove_at(self.root, key);
        self.len() < before
    }

    pub fn first(&self) -> Option<Key> {
        let mut at = self.root;
        while at != NIL && self.nodes[at as usize].left != NIL {
            at = self.nodes[at as usize].left;
        }
        (at != NIL).then(|| self.nodes[at as usize].key)
    }

    /// The first entry whose needs are all within the limits.
    pub fn first_fit(&self, limits: &[u64]) -> Option<Key> {
        self.first_fit_at(self.root, limits)
    }

    /// How many entries are before this one.
    pub fn before(&self, key: Key) -> usize {
        let (mut at, mut count) = (self.root, 0);
        while at != NIL {
            let node = self.nodes[at as usize];
            if node.key < key {
                count += self.size(node.left) as usize + 1;
                at = node.right;
            } else {
                at = node.left;
            }
        }
        count
    }

    /// Passes the entries in their order to `visit` until it returns false.
    pub fn visit(&self, mut visit: impl FnMut(Key, &[u64], &T) -> bool) {
        let mut path = Vec::new();
        let mut at = self.root;
        while at != NIL || !path.is_empty() {
            while at != NIL {
                path.push(at);
                at = self.nodes[at as usize].left;
            }
            let Some(top) = path.pop() else { return };
            let (node, whose) = (self.nodes[top as usize], &self.whose[top as usize]);
            if !visit(node.key, &self.needs[self.range(top)], whose) {
                return;
            }
            at = node.right;
        }
    }

    fn range(&self, node: u32) -> std::ops::Range<usize> {
        let start = node as usize * self.width;
        start..start + self.width
    }

    fn size(&self, node: u32) -> u32 {
        if node == NIL {
            0
        } else {
            self.nodes[node as usize].size
        }
    }

    /// Recomputes what a node knows of those below it.
    fn renew(&mut self, node: u32) {
        let Node { left, right, .. } = self.nodes[node as usize];
        self.nodes[node as usize].size = self.size(left) + self.size(right) + 1;
        let own = node as usize * self.width;
        for resource in 0..self.width {
            let mut least = self.needs[own + resource];
            for child in [left, right] {
                if child != NIL {
                    least = least.min(self.least[child as usize * self.width + resource]);
                }
            }
            self.least[own + resource] = least;
        }
    }

    fn insert_at(&mut self, at: u32, new: u32) -> u32 {
        if at == NIL {
            return new;
        }
        let (Node { key, heat, .. }, here) = (self.nodes[new as usize], self.nodes[at as usize]);
        if heat > here.heat {
            let (left, right) = self.split(at, key);
            self.nodes[new as usize].left = left;
            self.nodes[new as usize].right = right;
            self.renew(new);
            return new;
        }
        if key < here.key {
            self.nodes[at as usize].left = self.insert_at(here.left, new);
        } else {
            self.nodes[at as usize].right = self.insert_at(here.right, new);
        }
        self.renew(at);
        at
    }

    /// What is before the key, and the rest.
    fn split(&mut self, at: u32, key: Key) -> (u32, u32) {
        if at == NIL {
            return (NIL, NIL);
        }
        let node = self.nodes[at as usize];
        if node.key < key {
            let (left, right) = self.split(node.right, key);
            self.nodes[at as usize].right = left;
            self.renew(at);
            (at, right)
        } else {
            let (left, right) = self.split(node.left, key);
            self.nodes[at as usize].left = right;
            self.renew(at);
            (left, at)
        }
    }

    fn merge(&mut self, left: u32, right: u32) -> u32 {
        if left == NIL || right == NIL {
            return if left == NIL { right } else { left };
        }
        if self.nodes[left as usize].heat > self.nodes[right as usize].heat {
            self.nodes[left as usize].right = self.merge(self.nodes[left as usize].right, right);
            self.renew(left);
            left
        } else {
            self.nodes[right as usize].left = self.merge(left, self.nodes[right as usize].left);
            self.renew(right);
            right
        }
    }

    fn remove_at(&mut self, at: u32, key: Key) -> u32 {
        if at == NIL {
            return NIL;
        }
        let node = self.nodes[at as usize];
        if node.key == key {
            self.unused.push(at);
            return self.merge(node.left, node.right);
        }
        if key < node.key {
            self.nodes[at as usize].left = self.remove_at(node.left, key);
        } else {
            self.nodes[at as usize].right = self.remove_at(node.right, key);
        }
        self.renew(at);
        at
    }

    fn first_fit_at(&self, at: u32, limits: &[u64]) -> Option<Key> {
        if at == NIL || !fits(&self.least[self.range(at)], limits) {
            return None;
        }
        let node = self.nodes[at as usize];
        self.first_fit_at(node.left, limits)
            .or_else(|| fits(&self.needs[self.range(at)], limits).then_some(node.key))
            .or_else(|| self.first_fit_at(node.right, limits))
    }
}
