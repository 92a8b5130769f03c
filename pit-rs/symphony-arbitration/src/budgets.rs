//! What was spent of each budget, and what grants that are out may still spend.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use symphony_wire::{BusError, Code};

use crate::amounts::Amounts;
use crate::config::{Budget, Config, Per};

/// Accounts (runs, tenants, days) of one budget; beyond that the one charged least recently is forgotten.
const MAX_ACCOUNTS: usize = 100_000;

/// Who spends: what the accounts are named by.
#[derive(Clone, Copy, Debug)]
pub struct Spender<'a> {
    pub run: &'a str,
    pub tenant: &'a str,
    pub day: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warning,
    Spent,
}

/// One account of a budget as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub who: String,
    pub resource: String,
    pub spent: u64,
    pub limit: u64,
    pub state: Level,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Accounts {
    spent: HashMap<String, Account>,
    /// By the charge that touched it last.
    touched: BTreeMap<u64, String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Account {
    spent: u64,
    touched: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    accounts: BTreeMap<String, Accounts>,
    /// By budget and account: what grants that are out are estimated to spend yet.
    promised: HashMap<String, HashMap<String, u64>>,
    charges: u64,
}

/// One account of a snapshot: budget, account, spent.
pub type Saved = (String, String, u64);

fn account<'a>(budget: &Budget, spender: Spender<'a>) -> Option<&'a str> {
    if budget.tenant.as_deref().is_some_and(|tenant| tenant != spender.tenant) {
        return None;
    }
    Some(match budget.per {
        Per::Run => spender.run,
        Per::Tenant => spender.tenant,
        Per::Day => spender.day,
        Per::All => "",
    })
}

/// Where the account stands with so much spent.
fn level(budget: &Budget, spent: u64) -> Level {
    if spent >= budget.limit {
        Level::Spent
    } else if u128::from(spent) * 100 >= u128::from(budget.limit) * u128::from(budget.warn) {
        Level::Warning
    } else {
        Level::Ok
    }
}

impl Ledger {
    fn spent(&self, budget: &str, who: &str) -> u64 {
        let accounts = self.accounts.get(budget);
        accounts.and_then(|accounts| accounts.spent.get(who)).map_or(0, |account| account.spent)
    }

    fn promised(&self, budget: &str, who: &str) -> u64 {
        let accounts = self.promised.get(budget);
        accounts.and_then(|accounts| accounts.get(who)).copied().unwrap_or(0)
    }

    /// `refused` if a budget is spent, or would be exceeded by the estimate on top of what is promised.
    pub fn check(
        &self,
        config: &Config,
        spender: Spender<'_>,
        estimate: &Amounts,
    ) -> Result<(), BusError> {
        for budget in &config.budgets {
            let Some(who) = account(budget, spender) else { continue };
            let spent = self.spent(&budget.name, who);
            let promised = self.promised(&budget.name, who);
            let estimate = estimate.get(&budget.resource).copied().unwrap_or(0);
            let (name, limit) = (&budget.name, budget.limit);
            let refusal = |what: String| {
                Err(BusError::new(Code::Refused, what)
                    .at(name.as_str())
                    .help("raise the budget's limit, or wait for its next day"))
            };
            if spent >= limit {
                return refusal(format!("the budget {name} is spent: {spent} of {limit}"));
            }
            if spent + promised + estimate > limit {
                return refusal(format!(
                    "{estimate} would exceed the budget {name}: {spent} of {limit} are spent, and \
                     grants that are out may spend {promised}"
                ));
            }
        }
        Ok(())
    }

    /// Counts what a grant is estimated to spend.
    pub fn promise(&mut self, config: &Config, spender: Spender<'_>, estimate: &Amounts) {
        for (budget, who, amount) in concerned(config, spender, estimate) {
            let accounts = self.promised.entry(budget.name.clone()).or_default();
            *accounts.entry(who.to_owned()).or_default() += amount;
        }
    }

    /// A grant will not spend this any more, or has spent it.
    pub fn forgive(&mut self, config: &Config, spender: Spender<'_>, estimate: &Amounts) {
        for (budget, who, amount) in concerned(config, spender, estimate) {
            let Some(accounts) = self.promised.get_mut(&budget.name) else { continue };
            if let Some(promised) = accounts.get_mut(who) {
                *promised = promised.saturating_sub(amount);
                if *promised == 0 {
                    accounts.remove(who);
                }
            }
        }
    }

    pub fn forget_promises(&mut self) {
        self.promised.clear();
    }

    /// Adds what was spent, and tells the accounts that it touched.
    pub fn charge(
        &mut self,
        config: &Config,
        spender: Spender<'_>,
        amounts: &Amounts,
    ) -> Vec<Standing> {
        let mut touched = Vec::new();
        for (budget, who, amount) in concerned(config, spender, amounts) {
            self.add(&budget.name, who, amount);
            touched.push(self.standing(budget, who));
        }
        touched
    }

    /// Adds what is taken as spent, and tells how much of it went where.
    pub fn assume(
        &mut self,
        config: &Config,
        spender: Spender<'_>,
        amounts: &Amounts,
    ) -> Vec<Saved> {
        let some = concerned(config, spender, amounts).filter(|(_, _, amount)| *amount > 0);
        let spent: Vec<Saved> = some
            .map(|(budget, who, amount)| (budget.name.clone(), who.to_owned(), amount))
            .collect();
        for (budget, who, amount) in &spent {
            self.add(budget, who, *amount);
        }
        spent
    }

    /// It was not spent after all.
    pub fn take_back(&mut self, spent: &[Saved]) {
        for (budget, who, amount) in spent {
            let accounts = self.accounts.get_mut(budget);
            if let Some(account) = accounts.and_then(|accounts| accounts.spent.get_mut(who)) {
                account.spent = account.spent.saturating_sub(*amount);
            }
        }
    }

    /// Adds to an account, which is then the one touched last.
    pub fn add(&mut self, budget: &str, who: &str, amount: u64) {
        self.charges += 1;
        let accounts = self.accounts.entry(budget.to_owned()).or_default();
        let account = accounts.spent.entry(who.to_owned()).or_default();
        accounts.touched.remove(&account.touched);
        account.spent = account.spent.saturating_add(amount);
        account.touched = self.charges;
        accounts.touched.insert(self.charges, who.to_owned());
        if accounts.touched.len() > MAX_ACCOUNTS {
            if let Some((_, oldest)) = accounts.touched.pop_first() {
                accounts.spent.remove(&oldest);
            }
        }
    }

    /// Every account with something spent, of a budget in the order of the last charges.
    pub fn saved(&self) -> impl Iterator<Item = Saved> + '_ {
        self.accounts.iter().flat_map(|(budget, accounts)| {
            accounts.touched.values().map(|who| {
                let spent = accounts.spent.get(who).map_or(0, |account| account.spent);
                (budget.clone(), who.clone(), spent)
            })
        })
    }

    /// A budget goes on under a new configuration if name, resource and whom it counts stay the same.
    pub fn reconfigure(
        &mut self,
        former: &Config,
        config: &Config,
        assumed: &mut BTreeMap<u64, Vec<Saved>>,
    ) {
        let key = |budget: &Budget| (budget.per, budget.resource.clone(), budget.tenant.clone());
        let find = |config: &Config, name: &str| {
            config.budgets.iter().find(|budget| budget.name == name).map(key)
        };
        let same = |name: &str| find(config, name) == find(former, name);
        self.accounts.retain(|name, _| same(name));
        assumed.retain(|_, spent| {
            spent.retain(|(budget, ..)| same(budget));
            !spent.is_empty()
        });
    }

    fn standing(&self, budget: &Budget, who: &str) -> Standing {
        let spent = self.spent(&budget.name, who);
        Standing {
            name: budget.name.clone(),
            who: who.to_owned(),
            resource: budget.resource.clone(),
            spent,
            limit: budget.limit,
            state: level(budget, spent),
        }
    }

    /// The accounts of a run and tenant if they are named; otherwise those with something spent, the ones
    /// charged last first, or one of nobody where nothing was.
    pub fn standings(
        &self,
        config: &Config,
        run: Option<&str>,
        tenant: Option<&str>,
        most: usize,
    ) -> Vec<Standing> {
        let mut standings = Vec::new();
        for budget in &config.budgets {
            if budget.tenant.is_some() && tenant.is_some() && budget.tenant.as_deref() != tenant {
                continue;
            }
            let named = match budget.per {
                Per::Run => run,
                Per::Tenant => tenant,
                Per::All => Some(""),
                Per::Day => None,
            };
            if let Some(who) = named {
                standings.push(self.standing(budget, who));
            } else if let Some(accounts) =
                self.accounts.get(&budget.name).filter(|it| !it.touched.is_empty())
            {
                let latest = accounts.touched.values().rev();
                let room = most.saturating_sub(standings.len());
                standings.extend(latest.take(room).map(|who| self.standing(budget, who)));
            } else {
                standings.push(self.standing(budget, ""));
            }
        }
        standings
    }
}

/// The budgets that these amounts count in, with account and amount.
fn concerned<'a>(
    config: &'a Config,
    spender: Spender<'a>,
    amounts: &'a Amounts,
) -> impl Iterator<Item = (&'a Budget, &'a str, u64)> {
    config.budgets.iter().filter_map(move |budget| {
        let amount = *amounts.get(&budget.resource)?;
        Some((budget, account(budget, spender)?, amount))
    })
}
