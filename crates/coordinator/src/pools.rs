//! Pools of machines that come for what waits and go when nothing does.
//!
//! The leader says how many machines of an environment there should be; somebody outside makes it so. What is said is a whole, and may be said again:
//!
//! ```text
//! wanted = present + machines for what waits,     minimum <= wanted <= maximum
//! given back: idle for long enough, drained before, and the only one to have nothing that is needed: what it alone had was handed over
//! ```
//!
//! It is soft state: who leads next says it anew. A worker joins a pool by saying that it was made for it (`provisioned` in its offer); others of the
//! environment count as present and are never given back.

use std::collections::{BTreeMap, BTreeSet};

use contract::ledger::{DrainWorker, command::Kind};
use ledger::{Ledger, Needs, Worker};

use crate::coordinator::Coordinator;
use crate::io::{Now, Output};
use crate::proposals::Queued;

/// Time before what failed is tried again, in microseconds; doubled each time.
const RETRY_US: u64 = 1_000_000;
/// At most.
const MAX_RETRY_US: u64 = 300_000_000;

/// A pool as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Environment of the machines and of the executions that they are for.
    pub environment: String,
    /// So many machines there are always.
    pub minimum: u32,
    /// More there never are.
    pub maximum: u32,
    /// How many executions one runs at once.
    pub slots: u32,
    /// Processors of one, in thousandths; none when that does not count.
    pub cpu_millis: Option<u64>,
    /// Memory of one in bytes; none when that does not count.
    pub memory_bytes: Option<u64>,
    /// Devices of one.
    pub devices: u32,
    /// After it was asked for some, so long nothing but more of them is asked for, in microseconds.
    pub cool_down_us: u64,
    /// One that has had nothing to do for so long is given back, in microseconds.
    pub idle_us: u64,
    /// Whether one is given back though nobody else has the outputs that were made on it.
    pub drop_outputs: bool,
}

/// What the leader says to who makes machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolCall {
    /// The same for the same call when it is made again.
    pub call_id: String,
    /// The pool.
    pub environment: String,
    /// How many machines there should be.
    pub wanted: u32,
    /// How many there are: in contact, and taking work.
    pub present: u32,
    /// Workers that have nothing, were drained, and should go.
    pub release: Vec<String>,
    /// Where the coordinators serve, `host:port`.
    pub coordinators: Vec<String>,
    /// Every worker of the environment that is in contact.
    pub workers: Vec<PoolWorker>,
    /// What waits, by what it needs.
    pub waiting: Vec<(Needs, usize)>,
    /// For how long the oldest of it has waited, in milliseconds.
    pub oldest_age_ms: i64,
}

/// A worker of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolWorker {
    /// Its name.
    pub name: String,
    /// Attempts it has.
    pub attempts: usize,
    /// Whether it takes nothing new.
    pub draining: bool,
    /// Whether it was made for the pool.
    pub provisioned: bool,
    /// For how long it has had nothing, in microseconds.
    pub idle_us: u64,
}

/// How a pool stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView {
    /// Which.
    pub environment: String,
    /// How many machines there are.
    pub present: u32,
    /// How many there should be.
    pub wanted: u32,
    /// Most there may be.
    pub maximum: u32,
    /// Unix time in milliseconds at which somebody was asked last; 0 means never.
    pub asked_ms: i64,
    /// What was wrong with that, if something was.
    pub failure: String,
    /// How often in a row it failed.
    pub failures: u32,
    /// Workers that would be given back if others had their outputs.
    pub holding: Vec<String>,
}

/// A pool with what was said of it last.
#[derive(Debug)]
pub(crate) struct Standing {
    pool: Pool,
    /// What was asked for last, with when on both clocks.
    asked: Option<(u32, Vec<String>, Now)>,
    /// Its call is on its way, or failed and is made again.
    call_id: String,
    in_flight: bool,
    failures: u32,
    failure: String,
    retry_us: u64,
    idle_since: BTreeMap<String, u64>,
    present: u32,
    wanted: u32,
    holding: Vec<String>,
}

impl Standing {
    fn new(pool: Pool) -> Self {
        Self {
            pool,
            asked: None,
            call_id: String::new(),
            in_flight: false,
            failures: 0,
            failure: String::new(),
            retry_us: 0,
            idle_since: BTreeMap::new(),
            present: 0,
            wanted: 0,
            holding: Vec::new(),
        }
    }

    fn view(&self) -> PoolView {
        PoolView {
            environment: self.pool.environment.clone(),
            present: self.present,
            wanted: self.wanted,
            maximum: self.pool.maximum,
            asked_ms: self.asked.as_ref().map_or(0, |(_, _, now)| now.unix_ms),
            failure: self.failure.clone(),
            failures: self.failures,
            holding: self.holding.clone(),
        }
    }

    /// How many of an execution a machine runs at once; none when it cannot run one.
    fn runs(&self, needs: &Needs) -> Option<u64> {
        let pool = &self.pool;
        let fit = |has: Option<u64>, needed: u64| match (has, needed) {
            (_, 0) | (None, _) => u64::MAX,
            (Some(has), needed) => has / needed,
        };
        let devices = fit(Some(u64::from(pool.devices)), needs.device_count() as u64);
        let runs = u64::from(pool.slots)
            .min(fit(pool.cpu_millis, needs.cpu_millis))
            .min(fit(pool.memory_bytes, needs.memory_bytes))
            .min(devices);
        (runs > 0).then_some(runs)
    }

    /// What waits for the pool, and how many machines that takes.
    fn waiting(&self, ledger: &Ledger) -> (Vec<(Needs, usize)>, u32, i64) {
        let mut waiting: BTreeMap<&Needs, usize> = BTreeMap::new();
        let mut thousandths: u64 = 0;
        let mut oldest_age_ms = 0;
        for lane in ledger.lanes() {
            let needs = &**lane.needs();
            let Some(runs) = Some(needs)
                .filter(|needs| needs.environment == self.pool.environment)
                .and_then(|needs| self.runs(needs))
            else {
                continue;
            };
            *waiting.entry(needs).or_default() += lane.len();
            thousandths += (lane.len() as u64).saturating_mul(1_000).div_ceil(runs);
            let head = lane.next_after(None);
            let head = head.and_then(|(_, number)| ledger.execution(lane.project(), number));
            let age_ms = head.map_or(0, |head| ledger.time_ms() - head.create_time_ms);
            oldest_age_ms = age_ms.max(oldest_age_ms);
        }
        let machines = u32::try_from(thousandths.div_ceil(1_000)).unwrap_or(u32::MAX);
        let waiting = waiting
            .into_iter()
            .map(|(needs, count)| (needs.clone(), count));
        (waiting.collect(), machines, oldest_age_ms)
    }
}

impl Coordinator {
    /// Takes these pools. Without any, machines are asked for of nobody.
    pub fn set_pools(&mut self, pools: Vec<Pool>) {
        self.pools = pools.into_iter().map(Standing::new).collect();
    }

    /// How the pools stand, as far as this member has led.
    pub fn pools(&self) -> impl Iterator<Item = PoolView> {
        self.pools.iter().map(Standing::view)
    }

    /// What became of a call.
    pub(crate) fn pool_answered(&mut self, now: Now, call_id: &str, result: Result<(), String>) {
        let Some(standing) = self
            .pools
            .iter_mut()
            .find(|standing| standing.in_flight && standing.call_id == call_id)
        else {
            return;
        };
        standing.in_flight = false;
        match result {
            Ok(()) => {
                standing.call_id.clear();
                standing.failures = 0;
                standing.failure.clear();
            }
            Err(failure) => {
                let wait_us = RETRY_US << standing.failures.min(20);
                standing.retry_us = now.monotonic_us + wait_us.min(MAX_RETRY_US);
                standing.failures += 1;
                standing.failure = failure;
            }
        }
    }

    /// Asks for machines, or gives some back.
    pub(crate) fn follow_pools(&mut self, now: Now) {
        let mut pools = std::mem::take(&mut self.pools);
        for standing in &mut pools {
            self.follow_pool(now, standing);
        }
        self.pools = pools;
    }

    fn follow_pool(&mut self, now: Now, standing: &mut Standing) {
        let ledger = self.tip();
        let facts = self.scheduler.facts();
        let environment = &standing.pool.environment;
        let members: Vec<&Worker> = ledger
            .workers()
            .filter(|worker| {
                let fact = facts.get(&*worker.name);
                let in_contact =
                    fact.is_some_and(|fact| fact.incarnation == Some(worker.incarnation));
                !worker.lost && in_contact && worker.offer.environments.contains(environment)
            })
            .collect();
        let idle: BTreeSet<&str> = members
            .iter()
            .filter(|worker| worker.attempts().is_empty())
            .map(|worker| &*worker.name)
            .collect();
        let since = &mut standing.idle_since;
        since.retain(|name, _| idle.contains(name.as_str()));
        for name in idle {
            since.entry(name.to_owned()).or_insert(now.monotonic_us);
        }
        let takes_work = |worker: &&&Worker| !worker.drained && !worker.offer.draining;
        let present = members.iter().filter(takes_work).count() as u32;
        let (waiting, more, oldest_age_ms) = standing.waiting(ledger);
        let pool = &standing.pool;
        let wanted = present.saturating_add(more).min(pool.maximum.max(present));
        let mut wanted = wanted.max(pool.minimum);
        standing.holding.clear();
        let mut release = Vec::new();
        let mut drains = Vec::new();
        for worker in members.iter().filter(|worker| worker.offer.provisioned) {
            let name = &*worker.name;
            let idle = standing.idle_since.get(name);
            let idle_us = idle.map_or(0, |since| now.monotonic_us.saturating_sub(*since));
            if idle.is_none() || idle_us < pool.idle_us {
                continue;
            }
            let goes = match worker.drained {
                true => true,
                false => more == 0 && wanted > pool.minimum,
            };
            // What it alone has is handed over once it is drained. Where nobody could take it, it goes on working instead.
            let waits = match (pool.drop_outputs, worker.drained) {
                (true, _) => false,
                (false, true) => !self.is_handed_over(name),
                (false, false) => !self.has_taker(name, &drains) && ledger.sole_count(name, 1) > 0,
            };
            if goes && waits {
                standing.holding.push(name.to_owned());
            } else if goes && worker.drained {
                release.push(name.to_owned());
            } else if goes {
                wanted -= 1;
                drains.push(name.to_owned());
            }
        }
        (standing.present, standing.wanted) = (present, wanted);
        let workers = members.iter().map(|worker| PoolWorker {
            name: worker.name.to_string(),
            attempts: worker.attempts().len(),
            draining: worker.drained || worker.offer.draining,
            provisioned: worker.offer.provisioned,
            idle_us: standing
                .idle_since
                .get(&*worker.name)
                .map_or(0, |since| now.monotonic_us.saturating_sub(*since)),
        });
        let call = PoolCall {
            call_id: String::new(),
            environment: environment.clone(),
            wanted,
            present,
            release,
            coordinators: self.standing.addresses(),
            workers: workers.collect(),
            waiting,
            oldest_age_ms,
        };
        let newest = (ledger.cluster_id().to_owned(), ledger.revision());
        for name in drains {
            let drain = DrainWorker {
                request: None,
                name,
                draining: true,
            };
            self.inbox.push(Queued::own(Kind::DrainWorker(drain)));
        }
        self.call_pool(now, standing, call, newest);
    }

    /// Makes a call if there is something to say, and it is time to.
    fn call_pool(
        &mut self,
        now: Now,
        standing: &mut Standing,
        mut call: PoolCall,
        (cluster_id, revision): (String, u64),
    ) {
        let says = call.wanted > call.present || !call.release.is_empty();
        if !says || standing.in_flight {
            return;
        }
        let is_same = |(wanted, release, _): &(u32, Vec<String>, Now)| {
            *wanted == call.wanted && *release == call.release
        };
        let again = standing.asked.as_ref().is_some_and(is_same);
        let failed = standing.failures > 0;
        let may = match &standing.asked {
            _ if failed => now.monotonic_us >= standing.retry_us,
            None => true,
            Some((wanted, released, at)) => {
                let is_new = call.wanted > *wanted
                    || call.release.iter().any(|name| !released.contains(name));
                is_new || now.monotonic_us >= at.monotonic_us + standing.pool.cool_down_us
            }
        };
        if !may {
            return;
        }
        if !(again && failed) {
            standing.call_id = format!(
                "{cluster_id}/{}/{revision}-{}",
                call.environment, now.unix_ms
            );
        }
        call.call_id.clone_from(&standing.call_id);
        standing.asked = Some((call.wanted, call.release.clone(), now));
        standing.in_flight = true;
        self.outputs.push(Output::CallPool(Box::new(call)));
    }

    /// What is being done about machines for one that waits in an environment.
    pub(crate) fn pool_words(&self, environment: &str, now: Now) -> Option<String> {
        let standing = self
            .pools
            .iter()
            .find(|standing| standing.pool.environment == environment)?;
        let (present, wanted) = (standing.present, standing.wanted);
        let words = match &standing.asked {
            _ if wanted <= present && present >= standing.pool.maximum => {
                format!("there are {present} machines of its pool, as many as there may be")
            }
            _ if wanted <= present => return None,
            None => format!("{wanted} machines will be asked for"),
            Some((_, _, at)) => {
                let ago = now.monotonic_us.saturating_sub(at.monotonic_us) / 1_000_000;
                let failed = match standing.failures {
                    0 => String::new(),
                    count => format!(", which failed {count} times: {}", standing.failure),
                };
                format!("{wanted} machines in all were asked for {ago} s ago{failed}")
            }
        };
        Some(words)
    }
}
