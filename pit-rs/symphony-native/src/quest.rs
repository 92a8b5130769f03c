//! `symphony_native.quest`: the solvers of Function Quest, used through `fqg/solving/native.py`.
//!
//! Facts, functions and states are indexes; states pass as little-endian bytes, costs as the bytes of float64.
//! The interpreter is free while a solver works.

use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use symphony_quest::{greedy, solve, Function, Level, LevelError, Space};

/// (preconditions, adds, deletes, cost)
type PyFunction = (Vec<u32>, Vec<u32>, Vec<u32>, f64);
/// (calls or None, cost, complete, states expanded)
type PyOutcome = (Option<Vec<u32>>, f64, bool, usize);

#[pymodule]
pub mod quest {
    #[pymodule_export]
    use super::{PyLevel, PySpace};

    /// Raised, here and in `fqg/solving/native.py`, whenever what Python calls of this module changes.
    #[pymodule_export]
    const INTERFACE: u32 = 1;
}

/// Facts, functions and the start; goals and costs are given with each question.
#[pyclass(frozen, name = "Level")]
pub struct PyLevel(Level);

#[pymethods]
impl PyLevel {
    #[new]
    fn new(facts: usize, init: Vec<u32>, functions: Vec<PyFunction>) -> PyResult<Self> {
        let functions = functions
            .into_iter()
            .map(|(pre, add, delete, cost)| Function { pre, add, delete, cost })
            .collect();
        Level::new(facts, &init, functions).map(Self).map_err(refused)
    }

    fn solve(
        &self,
        py: Python<'_>,
        goal: Vec<u32>,
        costs: Vec<f64>,
        expansions: usize,
    ) -> PyResult<PyOutcome> {
        self.0.check(&costs).map_err(refused)?;
        self.0.state(&goal).map_err(refused)?;
        let end = py.detach(|| solve(&self.0, &goal, &costs, expansions));
        Ok((end.calls, end.cost, end.complete, end.expanded))
    }

    fn greedy(&self, py: Python<'_>, goal: Vec<u32>, limit: usize) -> PyResult<Option<Vec<u32>>> {
        self.0.state(&goal).map_err(refused)?;
        Ok(py.detach(|| greedy(&self.0, &goal, limit)))
    }

    fn reach(&self, py: Python<'_>, cap: usize) -> Option<PySpace> {
        let space = py.detach(|| Space::reach(&self.0, cap))?;
        Some(PySpace { space, level: self.0.clone() })
    }
}

/// All reachable states of a level.
#[pyclass(frozen, name = "Space")]
pub struct PySpace {
    space: Space,
    level: Level,
}

#[pymethods]
impl PySpace {
    fn __len__(&self) -> usize {
        self.space.size()
    }

    fn depth(&self, at: u32) -> PyResult<u32> {
        self.known(at).map(|at| self.space.depths()[at as usize])
    }

    fn state<'py>(&self, py: Python<'py>, at: u32) -> PyResult<Bound<'py, PyBytes>> {
        let state = self.space.state(self.known(at)?);
        let bytes: Vec<u8> = state.iter().flat_map(|word| word.to_le_bytes()).collect();
        Ok(PyBytes::new(py, &bytes))
    }

    fn edges(&self, at: u32) -> PyResult<Vec<(u32, u32)>> {
        self.known(at).map(|at| self.space.edges(at).collect())
    }

    fn to_go<'py>(
        &self,
        py: Python<'py>,
        goal: Vec<u32>,
        costs: Vec<f64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.level.check(&costs).map_err(refused)?;
        let goal = self.level.state(&goal).map_err(refused)?;
        let bytes: Vec<u8> = py.detach(|| {
            self.space.to_go(&goal, &costs).iter().flat_map(|cost| cost.to_le_bytes()).collect()
        });
        Ok(PyBytes::new(py, &bytes))
    }
}

impl PySpace {
    fn known(&self, at: u32) -> PyResult<u32> {
        if (at as usize) < self.space.size() {
            return Ok(at);
        }
        Err(PyIndexError::new_err(format!("no state {at}: there are {}", self.space.size())))
    }
}

#[allow(clippy::needless_pass_by_value)]
fn refused(error: LevelError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
