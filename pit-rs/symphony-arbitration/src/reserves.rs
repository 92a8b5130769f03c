//! What a tenant may take now: what is free, less what others have reserved, less what is kept for the head
//! of the line. One number a resource, never below 0.

/// What decides whether a tenant may use what others reserved.
#[derive(Clone, Debug)]
pub struct Ward {
    /// Reserved and not used.
    pub unused: Vec<u64>,
    pub borrows: bool,
    pub waits: bool,
}

/// What nobody uses, and how much of it tenants have reserved. Below 0 where a capacity became smaller.
#[derive(Clone, Debug)]
pub struct Pool {
    pub free: Vec<i64>,
    /// Reserved and not used by all tenants, and by those of them that wait.
    reserved: Vec<i64>,
    reserved_waiting: Vec<i64>,
}

/// For whom what becomes free is kept, and what it could take itself.
#[derive(Clone, Debug)]
pub struct Kept {
    pub seq: u64,
    pub tenant: usize,
    pub needs: Vec<u64>,
    /// What it may take of each resource.
    pub limits: Vec<u64>,
    /// It may take what others reserved, even of owners who wait.
    pub borrows_all: bool,
}

impl Pool {
    pub fn new(capacities: &[u64]) -> Self {
        let free: Vec<i64> = capacities.iter().map(|capacity| *capacity as i64).collect();
        let none = vec![0; free.len()];
        Self { free, reserved: none.clone(), reserved_waiting: none }
    }

    /// Counts a tenant's reserve in (`sign` 1) or out again (-1).
    pub fn count(&mut self, ward: &Ward, sign: i64) {
        for (resource, unused) in ward.unused.iter().enumerate() {
            self.reserved[resource] += sign * *unused as i64;
            if ward.waits {
                self.reserved_waiting[resource] += sign * *unused as i64;
            }
        }
    }

    /// What a counted tenant may take: lent to it is what owners who do not wait have reserved, if it borrows.
    /// One buffer serves all tenants that a decision asks.
    pub fn limits(&self, ward: &Ward, limits: &mut Vec<u64>) {
        let reserved = if ward.borrows { &self.reserved_waiting } else { &self.reserved };
        let own_counts = !ward.borrows || ward.waits;
        let limit = |resource: usize| {
            let own = if own_counts { ward.unused[resource] as i64 } else { 0 };
            let others = reserved[resource] - own;
            (self.free[resource] - others).max(0) as u64
        };
        limits.clear();
        limits.extend((0..self.free.len()).map(limit));
    }

    /// What the head of the line may take once it comes before everybody: a tenant that borrows takes what is
    /// free, for an owner who waits and this one could otherwise wait for each other for ever.
    pub fn limits_of_head(&self, ward: &Ward, limits: &mut Vec<u64>) {
        if ward.borrows {
            limits.clear();
            limits.extend(self.free.iter().map(|free| (*free).max(0) as u64));
        } else {
            self.limits(ward, limits);
        }
    }

    /// Takes from a tenant's limits what is kept for another request. What only the tenant itself could use of
    /// its reserve stays its own.
    pub fn keep(&self, limits: &mut [u64], tenant: usize, ward: &Ward, kept: &Kept) {
        let own = tenant != kept.tenant && !kept.borrows_all;
        for (resource, limit) in limits.iter_mut().enumerate() {
            let spare = kept.limits[resource].saturating_sub(kept.needs[resource]);
            let own = if own { ward.unused[resource] } else { 0 };
            *limit = (*limit).min(spare + own);
        }
    }
}
