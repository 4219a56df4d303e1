//! A worker as it counts here.

use std::sync::Arc;

use contract::link::Offer;
use ledger::{Device, Fence, Ledger, Needs, Taken, Worker};

use crate::facts::WorkerFact;

/// When an attempt without a time limit has ended: nobody knows.
pub(crate) const NEVER: i64 = i64::MAX;

/// A worker with what it runs.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub name: Arc<str>,
    pub offer: Arc<Offer>,
    pub connected: bool,
    pub lost: bool,
    pub draining: bool,
    /// How many more may be assigned ahead of a free slot.
    pub backlog: u32,
    /// Attempts it has.
    pub used: u32,
    /// What is kept for them.
    pub taken: Taken,
    /// Its devices that nobody has, as positions in the offer.
    pub free: Vec<usize>,
    /// Its attempts, oldest first.
    pub runs: Vec<Run>,
}

/// An attempt of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// None while the ledger does not know of it yet.
    fence: Option<Fence>,
    /// Unix time in milliseconds at which it has reached its time limit; [`NEVER`] when it has none.
    pub end_ms: i64,
    needs: Arc<Needs>,
    devices: Vec<usize>,
}

impl Machine {
    /// A worker of the ledger. What is known of its attempts is taken over.
    pub(crate) fn new(ledger: &Ledger, worker: &Worker, fact: WorkerFact, known: Vec<Run>) -> Self {
        let offer = &worker.offer;
        let devices = offer.devices.iter().enumerate();
        let free = devices
            .filter(|(_, device)| !worker.holds().contains_key(device.device_id.as_str()))
            .map(|(at, _)| at);
        let mut known: Vec<Option<Run>> = known.into_iter().map(Some).collect();
        let runs = worker.attempts().iter().filter_map(|fence| {
            let same = |run: &&mut Option<Run>| {
                let run = run.as_ref();
                run.is_some_and(|run| run.fence == Some(*fence))
            };
            let known = known.iter_mut().find(same).and_then(Option::take);
            known.or_else(|| Run::new(ledger, offer, *fence))
        });
        Self {
            name: worker.name.clone(),
            offer: offer.clone(),
            connected: !worker.lost && fact.incarnation == Some(worker.incarnation),
            lost: worker.lost,
            draining: offer.draining || worker.drained,
            backlog: fact.ahead_per_slot.saturating_mul(offer.slot_count),
            used: worker.attempts().len() as u32,
            taken: worker.taken(),
            free: free.collect(),
            runs: runs.collect(),
        }
    }

    /// Whether anything new may be assigned to it.
    pub(crate) fn takes_work(&self) -> bool {
        let offer = &self.offer;
        self.connected && !self.draining && !offer.disk_full && offer.slot_count > 0
    }

    /// Whether it serves an environment. An execution that names none may run anywhere.
    pub(crate) fn serves(&self, environment: &str) -> bool {
        let mut served = self.offer.environments.iter();
        environment.is_empty() || served.any(|served| served == environment)
    }

    /// Whether a slot is free.
    pub(crate) fn has_slot(&self) -> bool {
        self.used < self.offer.slot_count
    }

    /// Whether it may be given more, ahead of time if need be.
    pub(crate) fn has_room(&self) -> bool {
        self.used < self.offer.slot_count.saturating_add(self.backlog)
    }

    /// Whether it can take one more with these needs now. What needs more than a slot is not assigned ahead of time: it would keep
    /// from others what it does not use yet.
    pub(crate) fn fits(&self, needs: &Needs) -> bool {
        let slot = match is_plain(needs) {
            true => self.has_room(),
            false => self.has_slot(),
        };
        slot && self.has_processors(needs)
            && self.has_memory(needs)
            && needs.device_count() <= self.free.len()
            && self.would_run(needs)
            && self.choose(needs).is_some()
    }

    /// Whether it can take one with these needs when it has nothing else.
    pub(crate) fn could_fit(&self, needs: &Needs) -> bool {
        let offer = &self.offer;
        needs.cpu_millis <= offer.cpu_millis
            && needs.memory_bytes <= offer.memory_bytes
            && needs.device_count() <= offer.devices.len()
            && self.would_run(needs)
            && (needs.devices.is_empty() || {
                let all: Vec<&Device> = offer.devices.iter().collect();
                needs.choose(&all).is_some()
            })
    }

    /// Whether it serves the environment and grants what is asked of it.
    fn would_run(&self, needs: &Needs) -> bool {
        self.serves(&needs.environment) && needs.refused_by(&self.offer).is_none()
    }

    /// Whether as many processors are left as are needed.
    pub(crate) fn has_processors(&self, needs: &Needs) -> bool {
        let taken = self.taken.cpu_millis.saturating_add(needs.cpu_millis);
        needs.cpu_millis == 0 || taken <= self.offer.cpu_millis
    }

    /// Whether as much memory is left as is needed.
    pub(crate) fn has_memory(&self, needs: &Needs) -> bool {
        let taken = self.taken.memory_bytes.saturating_add(needs.memory_bytes);
        needs.memory_bytes == 0 || taken <= self.offer.memory_bytes
    }

    /// Whether a part of what is missing for these needs is free: what is smaller could take it meanwhile.
    pub(crate) fn has_part_of(&self, needs: &Needs) -> bool {
        let (offer, taken) = (&self.offer, &self.taken);
        (!self.has_processors(needs) && taken.cpu_millis < offer.cpu_millis)
            || (!self.has_memory(needs) && taken.memory_bytes < offer.memory_bytes)
            || (self.choose(needs).is_none() && self.useful_devices(needs) > 0)
    }

    /// Its devices that nobody has.
    pub(crate) fn free_devices(&self) -> impl Iterator<Item = &Device> {
        self.free.iter().map(|at| &self.offer.devices[*at])
    }

    /// How many of its free devices answer one of the needs.
    pub(crate) fn useful_devices(&self, needs: &Needs) -> usize {
        let answers = |device: &&Device| needs.devices.iter().any(|n| n.is_answered_by(device));
        self.free_devices().filter(answers).count()
    }

    /// The free devices that one with these needs would get, as positions in the offer; none when they are too few.
    fn choose(&self, needs: &Needs) -> Option<Vec<usize>> {
        if needs.devices.is_empty() {
            return Some(Vec::new());
        }
        let free: Vec<&Device> = self.free_devices().collect();
        let chosen = needs.choose(&free)?;
        let position = |device: &&Device| {
            let mut free = self.free.iter().copied();
            free.find(|at| std::ptr::eq(&self.offer.devices[*at], *device))
        };
        chosen.iter().map(position).collect()
    }

    /// Takes one more that ends at a time; the devices it gets, as positions in the offer.
    pub(crate) fn take(&mut self, needs: &Arc<Needs>, end_ms: i64) -> Vec<usize> {
        let devices = self.choose(needs).unwrap_or_default();
        self.free.retain(|free| !devices.contains(free));
        self.used += 1;
        self.taken.cpu_millis += needs.cpu_millis;
        self.taken.memory_bytes += needs.memory_bytes;
        self.runs.push(Run {
            fence: None,
            end_ms,
            needs: needs.clone(),
            devices: devices.clone(),
        });
        devices
    }

    /// Gives back what an attempt has.
    fn release(&mut self, run: &Run) {
        self.used = self.used.saturating_sub(1);
        let taken = &mut self.taken;
        taken.cpu_millis = taken.cpu_millis.saturating_sub(run.needs.cpu_millis);
        taken.memory_bytes = taken.memory_bytes.saturating_sub(run.needs.memory_bytes);
        self.free.extend(&run.devices);
        self.free.sort_unstable();
    }

    /// The machine without some of its attempts.
    fn without(&self, gone: &[usize]) -> Self {
        let mut rest = Self {
            runs: Vec::new(),
            ..self.clone()
        };
        for at in gone {
            rest.release(&self.runs[*at]);
        }
        rest
    }

    /// The attempts that must end before one with these needs can start, as few as possible, those that end first before others; and when they
    /// have. None when even without all of them it could not: somebody else has a device.
    pub(crate) fn in_the_way(&self, needs: &Needs) -> Option<(Vec<usize>, i64)> {
        let mut by_end: Vec<usize> = (0..self.runs.len()).collect();
        by_end.sort_by_key(|at| (self.runs[*at].end_ms, *at));
        let mut rest = Self {
            runs: Vec::new(),
            ..self.clone()
        };
        let mut gone = Vec::new();
        let mut ends = by_end.into_iter();
        while !rest.fits(needs) {
            let at = ends.next()?;
            rest.release(&self.runs[at]);
            gone.push(at);
        }
        // One that gave nothing of what was missing is not in the way.
        let mut at = 0;
        while at < gone.len() {
            let mut fewer = gone.clone();
            fewer.remove(at);
            match self.without(&fewer).fits(needs) {
                true => gone = fewer,
                false => at += 1,
            }
        }
        let end = gone.iter().map(|at| self.runs[*at].end_ms).max();
        Some((gone, end.unwrap_or_default()))
    }

    /// Whether one with the first needs could start as soon as it can now, though one with the second starts before it and does not end.
    pub(crate) fn fits_both(&self, first: &Needs, second: &Arc<Needs>) -> bool {
        let Some((gone, _)) = self.in_the_way(first) else {
            return false;
        };
        let mut both = self.without(&gone);
        // The second gets its devices of those that are free now.
        let Some(devices) = self.choose(second) else {
            return false;
        };
        both.free.retain(|free| !devices.contains(free));
        both.used += 1;
        both.taken.cpu_millis += second.cpu_millis;
        both.taken.memory_bytes += second.memory_bytes;
        both.fits(first)
    }

    /// How loaded it is, for comparison: 1,024 when every slot is taken.
    pub(crate) fn load(&self) -> u64 {
        u64::from(self.used) * 1_024 / u64::from(self.offer.slot_count.max(1))
    }
}

impl Run {
    fn new(ledger: &Ledger, offer: &Offer, fence: Fence) -> Option<Self> {
        let execution = ledger.execution_by_id(&fence.execution_id)?;
        let attempt = execution.live_attempt()?;
        let device = |id: &Arc<str>| {
            let mut devices = offer.devices.iter();
            devices.position(|device| device.device_id == **id)
        };
        let limit = execution.template().time_limit_ms;
        Some(Self {
            fence: Some(fence),
            end_ms: end_ms(attempt.assign_time_ms, limit),
            needs: execution.recipe.needs.clone(),
            devices: attempt.device_ids.iter().filter_map(device).collect(),
        })
    }
}

/// When what starts now with a time limit in milliseconds, 0 for none, has reached it.
pub(crate) fn end_ms(now_ms: i64, limit_ms: u64) -> i64 {
    match i64::try_from(limit_ms) {
        Ok(limit @ 1..) => now_ms.saturating_add(limit),
        _ => NEVER,
    }
}

/// Whether a slot is all that is needed.
pub(crate) fn is_plain(needs: &Needs) -> bool {
    needs.cpu_millis == 0 && needs.memory_bytes == 0 && needs.devices.is_empty()
}
