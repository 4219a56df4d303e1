//! From the ledger to placements, by what changed since the last time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ledger::{Execution, Ledger, Needs, Promise, Subject};

use crate::facts::{Facts, WorkerFact};
use crate::fleet::{Class, Fleet};
use crate::machine::{Machine, NEVER, end_ms, is_plain};
use crate::queue::{Head, LaneId, Queue, Seniority};

/// One decision: this execution on that worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Project of the execution.
    pub project: Arc<str>,
    /// Number of the execution.
    pub execution: i64,
    /// Name of the worker.
    pub worker: Arc<str>,
    /// Devices of the worker that it has for itself.
    pub device_ids: Vec<String>,
}

/// What is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Executions that start, in the order in which they were due.
    pub placements: Vec<Placement>,
    /// Starts that are promised from now on, each instead of what was promised in its environment before.
    pub promises: Vec<Promise>,
    /// Environments in which nothing is promised any more.
    pub withdrawn: Vec<Arc<str>>,
}

/// How many kinds of needs have their orders of the workers at hand.
const ORDERS: usize = 256;
/// How often promises may change while one plan is made.
const ROUNDS: usize = 4;

/// What waits and what there is to run it, kept in step with a ledger.
#[derive(Debug, Default)]
pub struct Scheduler {
    facts: Facts,
    pub(crate) fleet: Fleet,
    pub(crate) queue: Queue,
    classes: BTreeMap<Arc<Needs>, Class>,
    /// Kinds of needs for which something waits.
    open: BTreeSet<Class>,
    /// Those of them that ask for more than a slot, by environment.
    contenders: BTreeMap<Arc<str>, BTreeSet<Class>>,
    pub(crate) held: BTreeMap<Arc<str>, Held>,
    /// What it has taken in: the revision and the digest of the ledger there; none before the first.
    followed: Option<(u64, [u8; 32])>,
    /// What has to be looked at again.
    lanes: BTreeSet<LaneId>,
    projects: BTreeSet<Arc<str>>,
    workers: BTreeSet<Arc<str>>,
}

/// A promise as it counts here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub lane: LaneId,
    pub number: i64,
    pub at: usize,
    pub start_ms: i64,
    claim: Seniority,
}

impl Scheduler {
    /// A scheduler that knows nothing of the ledger yet.
    pub fn new(facts: Facts) -> Self {
        Self {
            facts,
            ..Self::default()
        }
    }

    /// What it was told of the workers.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Takes in what is seen of a worker; the default when it is out of contact.
    pub fn see(&mut self, worker: &str, fact: WorkerFact) {
        let known = self.facts.entry(worker.to_owned()).or_default();
        if *known != fact {
            *known = fact;
            self.workers.insert(Arc::from(worker));
        }
    }

    /// Forgets the ledger: the next may be another one. Facts stay.
    pub fn forget(&mut self) {
        *self = Self::new(std::mem::take(&mut self.facts));
    }

    /// Places as much as there is room for, in the order in which executions are due, and promises who needs more than is free its start.
    ///
    /// The ledger is the one of the last time with more entries; after another one, [`Scheduler::forget`] comes first. What was planned may be
    /// applied or not.
    pub fn plan(&mut self, ledger: &Ledger) -> Plan {
        self.follow(ledger);
        let mut plan = Plan::default();
        self.hold(ledger);
        for _ in 0..ROUNDS {
            self.start_promised(ledger, &mut plan);
            let mut changed = self.promise(ledger.time_ms());
            self.start_due(ledger, &mut plan);
            changed |= self.promise(ledger.time_ms());
            if !changed {
                break;
            }
        }
        self.compare_promises(ledger, &mut plan);
        plan
    }

    /// Takes in what changed.
    pub(crate) fn follow(&mut self, ledger: &Ledger) {
        let now = (ledger.revision(), ledger.digest());
        let known = self.followed.filter(|(revision, digest)| {
            *revision < now.0 || (*revision == now.0 && *digest == now.1)
        });
        self.queue.age(ledger.time_ms());
        match known {
            None => self.take_all(ledger),
            Some((revision, _)) => {
                for (_, subject) in ledger.changed_since(revision) {
                    self.note(ledger, subject);
                }
            }
        }
        self.followed = Some(now);
        self.renew_workers(ledger);
        for name in std::mem::take(&mut self.projects) {
            self.queue.renew_project(ledger, &name);
        }
        for lane in std::mem::take(&mut self.lanes) {
            self.queue.renew_lane(ledger, lane);
            self.follow_class(lane);
        }
    }

    fn take_all(&mut self, ledger: &Ledger) {
        self.forget();
        self.queue.age(ledger.time_ms());
        for lane in ledger.lanes() {
            let id = self.lane(lane.needs(), lane.project(), lane.priority());
            self.lanes.insert(id);
            self.projects.insert(lane.project().clone());
        }
        self.arrange(ledger);
    }

    fn note(&mut self, ledger: &Ledger, subject: &Subject) {
        match subject {
            Subject::Execution { project, number } => {
                let Some(execution) = ledger.execution(project, *number) else {
                    return;
                };
                let needs = &execution.recipe.needs;
                let lane = self.lane(needs, project, execution.priority);
                self.lanes.insert(lane);
                if !self.projects.contains(project) {
                    self.projects.insert(project.clone());
                }
            }
            Subject::Worker(name) => {
                self.workers.insert(name.clone());
            }
            Subject::Pipeline { .. } => {}
        }
    }

    fn lane(&mut self, needs: &Arc<Needs>, project: &Arc<str>, priority: i32) -> LaneId {
        let class = match self.classes.get(needs) {
            Some(class) => *class,
            None => {
                let class = self.fleet.add_class(needs);
                self.classes.insert(needs.clone(), class);
                class
            }
        };
        self.queue.lane_of(class, needs, project, priority)
    }

    /// Keeps what is known of a kind of needs as long as something waits for it, and a while longer.
    fn follow_class(&mut self, lane: LaneId) {
        let class = self.queue.lane(lane).class;
        let waits = self.queue.waiting(class) > 0;
        if waits == self.open.contains(&class) {
            return;
        }
        let needs = self.fleet.needs(class);
        let environment = needs.environment.as_str();
        match waits {
            true => {
                self.open.insert(class);
                if !is_plain(needs) {
                    let all = self.contenders.entry(Arc::from(environment)).or_default();
                    all.insert(class);
                }
            }
            false => {
                self.open.remove(&class);
                if let Some(all) = self.contenders.get_mut(environment) {
                    all.remove(&class);
                    if all.is_empty() {
                        self.contenders.remove(environment);
                    }
                }
                if self.classes.len() > ORDERS {
                    self.fleet.forget_orders(class);
                }
            }
        }
    }

    fn renew_workers(&mut self, ledger: &Ledger) {
        let names = std::mem::take(&mut self.workers);
        let is_new = |name: &Arc<str>| self.fleet.position(name).is_none();
        if names
            .iter()
            .any(|name| is_new(name) && ledger.worker(name).is_some())
        {
            return self.arrange(ledger);
        }
        for name in names {
            let (Some(at), Some(worker)) = (self.fleet.position(&name), ledger.worker(&name))
            else {
                continue;
            };
            let fact = self.facts.get(&*name).copied().unwrap_or_default();
            self.fleet.change(at, |machine| {
                let known = std::mem::take(&mut machine.runs);
                *machine = Machine::new(ledger, worker, fact, known);
            });
        }
    }

    /// Takes all workers anew.
    fn arrange(&mut self, ledger: &Ledger) {
        self.workers.clear();
        self.held.clear();
        let known = self.fleet.take_machines().into_iter();
        let mut known: BTreeMap<Arc<str>, Machine> = known
            .map(|machine| (machine.name.clone(), machine))
            .collect();
        let machines = ledger.workers().map(|worker| {
            let fact = self.facts.get(&*worker.name).copied().unwrap_or_default();
            let runs = known.remove(&worker.name).map(|machine| machine.runs);
            Machine::new(ledger, worker, fact, runs.unwrap_or_default())
        });
        self.fleet.replace(machines.collect());
    }

    /// Keeps the workers that are promised by the ledger, as far as those promises still hold.
    fn hold(&mut self, ledger: &Ledger) {
        let mut held = std::mem::take(&mut self.held);
        for promise in ledger.promises() {
            let known = held.remove(&promise.environment);
            let now = self.held_by(ledger, promise);
            if known != now {
                self.fleet.unkeep(&promise.environment);
                if let Some(now) = &now {
                    let class = self.queue.lane(now.lane).class;
                    self.fleet
                        .keep(now.at, &promise.environment, class, now.start_ms);
                }
            }
            if let Some(now) = now {
                self.held.insert(promise.environment.clone(), now);
            }
        }
        for environment in held.keys() {
            self.fleet.unkeep(environment);
        }
    }

    /// What a promise of the ledger counts for; none when its worker cannot keep it any more.
    fn held_by(&mut self, ledger: &Ledger, promise: &Promise) -> Option<Held> {
        let execution = ledger.execution(&promise.project, promise.execution)?;
        let needs = &execution.recipe.needs;
        let at = self.fleet.position(&promise.worker)?;
        let machine = self.fleet.machine(at);
        if !execution.is_waiting() || !machine.takes_work() || !machine.could_fit(needs) {
            return None;
        }
        let id = self.lane(needs, &promise.project, execution.priority);
        let lane = self.queue.lane(id);
        // One that is older has come back into its lane, and is of the same kind.
        let head = lane.head?;
        Some(Held {
            lane: id,
            number: head.age.1,
            at,
            start_ms: match promise.start_time_ms {
                0 => NEVER,
                start_ms => start_ms,
            },
            claim: Queue::seniority(lane, id, head),
        })
    }

    /// Who was promised its start goes first wherever there is room.
    fn start_promised(&mut self, ledger: &Ledger, plan: &mut Plan) {
        let mut held: Vec<(Arc<str>, Held)> = self
            .held
            .iter()
            .map(|(environment, held)| (environment.clone(), held.clone()))
            .collect();
        held.sort_by(|(_, one), (_, other)| one.claim.cmp(&other.claim));
        for (environment, held) in held {
            let lane = self.queue.lane(held.lane);
            let (class, needs) = (lane.class, lane.needs.clone());
            let Some(head) = lane.head else { continue };
            let end = end_ms(ledger.time_ms(), head.time_limit_ms);
            let kept = self.fleet.machine(held.at).fits(&needs);
            if !kept && !self.fleet.has_room(class, end) {
                continue;
            }
            self.held.remove(&environment);
            self.fleet.unkeep(&environment);
            // Its own worker is among those with room by now.
            self.start(ledger, held.lane, head, plan);
        }
    }

    fn start_due(&mut self, ledger: &Ledger, plan: &mut Plan) {
        let now_ms = ledger.time_ms();
        loop {
            let fleet = &mut self.fleet;
            // What a time limit makes room for is asked of each lane.
            let open = self.open.iter().copied();
            let room: Vec<Class> = open
                .filter(|class| fleet.has_room(*class, now_ms))
                .collect();
            if room.is_empty() {
                return;
            }
            let due = self.queue.due(|lane| {
                room.binary_search(&lane.class).is_ok()
                    && lane.head.is_some_and(|head| {
                        fleet.has_room(lane.class, end_ms(now_ms, head.time_limit_ms))
                    })
            });
            let Some(lane) = due else { return };
            let Some(head) = self.queue.lane(lane).head else {
                return;
            };
            if !self.start(ledger, lane, head, plan) {
                return;
            }
        }
    }

    /// Starts the oldest of a lane where it is best off.
    fn start(&mut self, ledger: &Ledger, id: LaneId, head: Head, plan: &mut Plan) -> bool {
        let lane = self.queue.lane(id);
        let (class, project) = (lane.class, lane.project.clone());
        let execution = ledger.execution(&project, head.age.1);
        let bytes = input_bytes(ledger, execution);
        let end = end_ms(ledger.time_ms(), head.time_limit_ms);
        let Some(place) = self.fleet.take(class, end, &bytes) else {
            return false;
        };
        let machine = self.fleet.machine(place.at);
        let devices = place.devices.iter();
        plan.placements.push(Placement {
            project: project.clone(),
            execution: head.age.1,
            worker: machine.name.clone(),
            device_ids: devices
                .map(|at| machine.offer.devices[*at].device_id.clone())
                .collect(),
        });
        self.workers.insert(machine.name.clone());
        // Room may have come up for one that was promised its start elsewhere.
        let mut held = self.held.iter();
        let promised = held.find(|(_, held)| held.lane == id);
        if let Some(environment) = promised.map(|(environment, _)| environment.clone()) {
            self.held.remove(&environment);
            self.fleet.unkeep(&environment);
        }
        self.lanes.insert(id);
        self.projects.insert(project);
        self.queue.serve(ledger, id);
        self.follow_class(id);
        true
    }

    /// Promises a start to who has the oldest claim of those that need more than is free, one in each environment, if room has to be saved up for it.
    /// Were a worker kept for everybody who waits, the oldest claim would always go before shares and priorities, and before what needs a slot alone.
    /// Says whether anything changed.
    fn promise(&mut self, now_ms: i64) -> bool {
        let Self {
            fleet,
            queue,
            contenders,
            held,
            ..
        } = self;
        let mut changed = false;
        for (environment, classes) in contenders {
            let mut claims: Vec<(&Seniority, Class)> = classes
                .iter()
                .filter_map(|class| Some((queue.elder(*class)?, *class)))
                .filter(|(claim, _)| {
                    let known = held.get(environment);
                    // Who was there before and was promised nothing had room then, or did not need it saved up.
                    known.is_none_or(|known| **claim < known.claim && claim.1 > known.claim.1)
                })
                .collect();
            claims.sort_unstable();
            for (claim, class) in claims {
                let lane = claim.3;
                let Some(head) = queue.lane(lane).head else {
                    continue;
                };
                let end = end_ms(now_ms, head.time_limit_ms);
                if fleet.has_room(class, end) {
                    continue;
                }
                fleet.unkeep(environment);
                let prospect = fleet.soonest(class, head.age.0 ^ head.age.1.cast_unsigned());
                if let Some(prospect) = prospect.as_ref().filter(|found| found.saves_up) {
                    let now = Held {
                        lane,
                        number: head.age.1,
                        at: prospect.at,
                        start_ms: prospect.start_ms,
                        claim: claim.clone(),
                    };
                    fleet.keep(now.at, environment, class, now.start_ms);
                    held.insert(environment.clone(), now);
                    changed = true;
                    break;
                }
                if let Some(known) = held.get(environment) {
                    let class = queue.lane(known.lane).class;
                    fleet.keep(known.at, environment, class, known.start_ms);
                }
                // Who comes after it is promised nothing that it may have to take over.
                if prospect.is_some() {
                    break;
                }
            }
        }
        changed
    }

    /// What has to be written down of the promises.
    fn compare_promises(&self, ledger: &Ledger, plan: &mut Plan) {
        for (environment, held) in &self.held {
            let lane = self.queue.lane(held.lane);
            let promise = Promise {
                environment: environment.clone(),
                project: lane.project.clone(),
                execution: held.number,
                worker: self.fleet.machine(held.at).name.clone(),
                start_time_ms: if held.start_ms == NEVER {
                    0
                } else {
                    held.start_ms
                },
            };
            let known = ledger.promise(environment);
            let is_known = known.is_some_and(|known| {
                Promise {
                    start_time_ms: promise.start_time_ms,
                    ..known.clone()
                } == promise
            });
            if !is_known {
                plan.promises.push(promise);
            }
        }
        for promise in ledger.promises() {
            let starts = plan.placements.iter().any(|placement| {
                placement.execution == promise.execution && placement.project == promise.project
            });
            if !starts && !self.held.contains_key(&promise.environment) {
                plan.withdrawn.push(promise.environment.clone());
            }
        }
    }
}

/// How many bytes of an execution's inputs each worker has.
pub(crate) fn input_bytes<'a>(
    ledger: &'a Ledger,
    execution: Option<&Execution>,
) -> BTreeMap<&'a str, u64> {
    let mut bytes = BTreeMap::new();
    let inputs = execution
        .map(|execution| &*execution.inputs)
        .unwrap_or_default();
    for file in inputs.iter().flat_map(|input| &input.files) {
        if let Some(datum) = file.datum_id.and_then(|id| ledger.datum(&id)) {
            *bytes.entry(&*datum.worker).or_default() += datum.size_bytes;
        }
    }
    bytes
}
