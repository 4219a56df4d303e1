//! The machine's side: programs, their files, the daemon's tasks and its crashes.

use super::*;

impl World {
    pub(super) fn print(&mut self, pick: usize) {
        let running = self
            .disk
            .values_mut()
            .filter(|d| d.program == Program::Running);
        let mut running: Vec<&mut Directory> = running.collect();
        if running.is_empty() {
            return;
        }
        let at = pick % running.len();
        let directory = &mut running[at];
        let record = Record {
            time_us: self.now,
            stream: Stream::Stdout,
            partial: false,
            data: vec![b'x'; pick].into(),
        };
        feed::encode(&record, &mut directory.file);
        directory.records += 1;
    }

    pub(super) fn end(&mut self, pick: usize) {
        if let Some(directory) = nth_mut(&mut self.disk, pick)
            && directory.program == Program::Running
        {
            directory.program = Program::Ended(ExitReason::Exited);
        }
    }

    /// The daemon sees the end of a program, when it has read all that it printed.
    pub(super) fn tell_ended(&mut self, pick: usize) {
        let Some(fence) = nth(&self.disk, pick) else {
            return;
        };
        let directory = &self.disk[&fence];
        let Program::Ended(reason) = &directory.program else {
            return;
        };
        let tailed = self.tailed.get(&fence).copied().unwrap_or_default();
        if tailed == directory.records && self.told_ended.insert(fence) {
            let code = (*reason == ExitReason::Exited).then_some(0);
            let exit = Exit {
                reason: reason.clone(),
                code,
                signal: 0,
                start_time_us: self.now,
                time_us: self.now,
                record_count: directory.records,
            };
            self.handle(Input::Ended { fence, exit });
        }
    }

    pub(super) fn tail(&mut self, pick: usize) {
        let Some(fence) = nth(&self.disk, pick) else {
            return;
        };
        let directory = &self.disk[&fence];
        let from = self.tailed.get(&fence).copied().unwrap_or_default();
        if !directory.launched || from == directory.records {
            return;
        }
        self.tailed.insert(fence, directory.records);
        let whole = Batch::of_frames(0, directory.file.clone().into()).unwrap();
        let batch = whole.from_record(from).unwrap();
        self.handle(Input::FeedGrew { fence, batch });
    }

    pub(super) fn run_task(&mut self, pick: usize) {
        let Some(task) = take(&mut self.tasks, pick) else {
            return;
        };
        match task {
            Task::Prepare(fence, assignment) => {
                self.disk.entry(fence).or_default().assignment = *assignment;
                let outcome = match pick % 7 {
                    0 => Err(PrepareError::DiskFull("full".to_owned())),
                    _ => Ok(Prepared::default()),
                };
                self.handle(Input::Prepared { fence, outcome });
            }
            Task::Launch(fence) => {
                assert!(
                    self.launched.insert(fence),
                    "I-06: {fence} was launched twice"
                );
                let directory = self.disk.get_mut(&fence).unwrap();
                directory.launched = true;
                let outcome = match pick % 9 {
                    0 => {
                        directory.program = Program::Ended(ExitReason::Gone);
                        // Nothing of it runs, and the daemon knows: no end is told.
                        self.told_ended.insert(fence);
                        Err("cannot fork".to_owned())
                    }
                    _ => {
                        directory.program = Program::Running;
                        Ok(self.now)
                    }
                };
                self.tasks.push(Task::TellLaunched(fence, outcome));
            }
            Task::TellLaunched(fence, outcome) => self.handle(Input::Launched { fence, outcome }),
            Task::Collect(fence) => {
                self.disk.get_mut(&fence).unwrap().collected = true;
                self.handle(Input::Collected {
                    fence,
                    outcome: Ok(Vec::new()),
                });
            }
            Task::Read(fence, holder, first_record, offset, max_bytes) => {
                let file = &self.disk[&fence].file;
                let end = file.len().min(offset as usize + max_bytes);
                let bytes = file[offset as usize..end].to_vec();
                let (batch, _) = Batch::of_whole_prefix(first_record, bytes.into()).unwrap();
                self.handle(Input::FeedRead {
                    fence,
                    holder,
                    batch,
                });
            }
        }
    }

    /// The daemon crashes and starts again; with `reboot` every program dies without a trace.
    pub(super) fn crash(&mut self, reboot: bool) {
        self.tasks.clear();
        self.tailed.clear();
        self.told_ended.clear();
        self.to_worker.clear();
        self.to_coordinator.clear();
        self.known.clear();
        self.is_connected = false;
        self.seen_generation = 0;
        for holder in self.holders.values_mut() {
            *holder = Holder {
                stored: std::mem::take(&mut holder.stored),
                ..Holder::default()
            };
        }
        let mut found = Vec::new();
        for (fence, directory) in &mut self.disk {
            let left_no_trace = directory.launched && directory.program == Program::None;
            if left_no_trace || (reboot && directory.program == Program::Running) {
                directory.program = Program::Ended(ExitReason::Gone);
            }
            found.push(Adopted {
                fence: *fence,
                assignment: directory.assignment.clone(),
                found: match directory.launched {
                    false => Found::NotLaunched,
                    true => Found::Launched {
                        prepared: Prepared::default(),
                        start_time_us: 1,
                        live_outputs: Vec::new(),
                    },
                },
            });
        }
        self.worker = Worker::new(config(SLOTS as u32, HOLDERS));
        self.handle(Input::Adopted(found));
    }

    /// Time passes until at most `us` later; the worker is woken when it asked to be.
    pub(super) fn pass(&mut self, us: u64) {
        self.now += us;
        if self.worker.poll_wakeup().is_some_and(|at| at <= self.now) {
            self.handle(Input::Tick);
            assert!(
                self.worker.poll_wakeup().is_none_or(|next| next > self.now),
                "a wake-up that was answered is over"
            );
        }
    }
}
