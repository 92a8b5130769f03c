//! A level as masks and lists, checked once.

use std::fmt;

use crate::states::State;

/// A call needs the facts `pre`, makes `delete` false and then `add` true.
#[derive(Clone, Debug, Default)]
pub struct Function {
    pub pre: Vec<u32>,
    pub add: Vec<u32>,
    pub delete: Vec<u32>,
    pub cost: f64,
}

/// Why this is no level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LevelError {
    /// A fact's index is not below the number of facts.
    FactOutOfRange { fact: u32, facts: usize },
    /// A cost is negative or no number.
    BadCost { function: usize },
    /// As many costs as functions are needed.
    CostsDoNotMatch { costs: usize, functions: usize },
}

impl fmt::Display for LevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FactOutOfRange { fact, facts } => {
                write!(f, "fact {fact} is out of range: there are {facts}")
            }
            Self::BadCost { function } => {
                write!(f, "the cost of function {function} is not a number from 0")
            }
            Self::CostsDoNotMatch { costs, functions } => {
                write!(f, "{costs} costs for {functions} functions")
            }
        }
    }
}

impl std::error::Error for LevelError {}

/// Facts, functions and the start; goals are given with each question.
#[derive(Clone, Debug)]
pub struct Level {
    pub(crate) facts: usize,
    pub(crate) words: usize,
    pub(crate) start: State,
    pub(crate) functions: Vec<Function>,
    /// Per function: the words of its preconditions, of what it keeps, and of what it adds.
    pre: Vec<u64>,
    keep: Vec<u64>,
    add: Vec<u64>,
    /// Per fact the functions that need it.
    pub(crate) needed_by: Vec<Vec<u32>>,
}

impl Level {
    /// # Errors
    /// A fact that is out of range, a cost that is no number from 0.
    pub fn new(facts: usize, init: &[u32], functions: Vec<Function>) -> Result<Self, LevelError> {
        let words = facts.div_ceil(64).max(1);
        let mut level = Self {
            facts,
            words,
            start: vec![],
            functions: vec![],
            pre: vec![],
            keep: vec![],
            add: vec![],
            needed_by: vec![vec![]; facts],
        };
        level.start = level.state(init)?;
        for (at, function) in functions.iter().enumerate() {
            if !(function.cost >= 0.0 && function.cost.is_finite()) {
                return Err(LevelError::BadCost { function: at });
            }
            level.pre.extend(level.state(&function.pre)?);
            level.keep.extend(level.state(&function.delete)?.iter().map(|word| !word));
            level.add.extend(level.state(&function.add)?);
        }
        level.functions = functions;
        for (at, function) in (0..).zip(&mut level.functions) {
            for list in [&mut function.pre, &mut function.add, &mut function.delete] {
                list.sort_unstable();
                list.dedup();
            }
            for fact in &function.pre {
                level.needed_by[*fact as usize].push(at);
            }
        }
        Ok(level)
    }

    /// The state in which exactly these facts are true.
    ///
    /// # Errors
    /// A fact that is out of range.
    pub fn state(&self, facts: &[u32]) -> Result<State, LevelError> {
        let mut state = vec![0; self.words];
        for &fact in facts {
            if fact as usize >= self.facts {
                return Err(LevelError::FactOutOfRange { fact, facts: self.facts });
            }
            state[fact as usize / 64] |= 1 << (fact % 64);
        }
        Ok(state)
    }

    #[must_use]
    pub fn size(&self) -> usize {
        self.functions.len()
    }

    #[must_use]
    pub fn start(&self) -> &[u64] {
        &self.start
    }

    #[must_use]
    pub fn costs(&self) -> Vec<f64> {
        self.functions.iter().map(|function| function.cost).collect()
    }

    /// # Errors
    /// Another number of costs than of functions, a cost that is no number from 0.
    pub fn check(&self, costs: &[f64]) -> Result<(), LevelError> {
        if costs.len() != self.size() {
            return Err(LevelError::CostsDoNotMatch { costs: costs.len(), functions: self.size() });
        }
        match costs.iter().position(|cost| !(*cost >= 0.0 && cost.is_finite())) {
            Some(function) => Err(LevelError::BadCost { function }),
            None => Ok(()),
        }
    }

    /// Whether all preconditions of `function` are true in `state`.
    #[inline]
    #[must_use]
    pub fn legal(&self, function: usize, state: &[u64]) -> bool {
        let from = function * self.words;
        holds(&self.pre[from..from + self.words], state)
    }

    /// Writes into `after` what a call of `function` makes of `state`.
    #[inline]
    pub fn step(&self, function: usize, state: &[u64], after: &mut [u64]) {
        let from = function * self.words;
        let keep = &self.keep[from..from + self.words];
        let add = &self.add[from..from + self.words];
        for word in 0..self.words {
            after[word] = state[word] & keep[word] | add[word];
        }
    }
}

/// Whether all of `wanted` is true in `state`.
#[inline]
#[must_use]
pub fn holds(wanted: &[u64], state: &[u64]) -> bool {
    wanted.iter().zip(state).all(|(wanted, state)| wanted & !state == 0)
}

/// Whether this fact is true in `state`.
#[inline]
#[must_use]
pub fn is_true(state: &[u64], fact: u32) -> bool {
    state[fact as usize / 64] >> (fact % 64) & 1 == 1
}
