//! What a worker asks of whatever runs its programs: plain processes, or containers.

use crate::attempt::{AttemptDir, AttemptState, Stop};
use crate::docker::Container;
use crate::launcher::{LaunchError, Launcher};
use crate::program::{Program, View};
use std::fmt::Debug;
use std::io;

/// Whom to tell that a program was launched, or why not.
pub type Told = Box<dyn FnOnce(Result<(), LaunchError>) + Send>;

/// What a launch comes to at once.
#[derive(Debug)]
pub enum Launched {
    /// This.
    Now(Result<(), LaunchError>),
    /// It takes a while, and is told then.
    Later,
}

/// A program has written more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverQuota {
    /// Bytes that it has written.
    pub used: u64,
    /// Bytes that it may write.
    pub limit: u64,
}

/// Runs the programs of attempts. All that is known of one that was launched lies in its directory: whoever opens that next, goes on
/// with it.
pub trait Runtime: Debug + Send + Sync {
    /// Its name: `process` or `docker`.
    fn name(&self) -> &'static str;

    /// Where programs find their directories.
    fn view(&self) -> View;

    /// Starts an attempt, once; `container` is what a container is made of, and nothing to a plain process. That the *program* could not
    /// be started is told like every other end.
    fn launch(
        &self,
        dir: &AttemptDir,
        program: &Program,
        container: Option<Container>,
        told: Told,
    ) -> Launched;

    /// What a launched attempt does: it runs, or has ended, however that had to be found out. Does not wait for that.
    ///
    /// # Errors
    /// Those of its directory.
    fn look(&self, dir: &AttemptDir) -> io::Result<AttemptState>;

    /// Stops its program; `false` if it did not run. Does not wait for the end.
    ///
    /// # Errors
    /// Those of its directory.
    fn stop(&self, dir: &AttemptDir, how: Stop) -> io::Result<bool>;

    /// Whether a running program has written more than this runtime grants. Blocks while it looks, which is done now and then only.
    fn over_quota(&self, dir: &AttemptDir) -> Option<OverQuota>;

    /// Before anything is launched: these attempts go on, and whatever else an earlier daemon left is ended, and waited for.
    ///
    /// # Errors
    /// When it cannot be known, or cannot be ended.
    fn adopt(&self, kept: &[AttemptDir]) -> io::Result<()>;

    /// Removes what is left of an attempt outside of its directory. Waits for it.
    ///
    /// # Errors
    /// When something stays; the next start of the daemon tries again.
    fn forget(&self, dir: &AttemptDir) -> io::Result<()>;
}

/// Plain processes of this machine.
#[derive(Debug)]
pub struct Processes {
    launcher: Launcher,
    view: View,
}

impl Processes {
    /// Those of a launcher; tries out where they find their directories.
    pub fn new(launcher: Launcher) -> Processes {
        let view = launcher.probe_view().unwrap_or(View::Direct);
        Processes { launcher, view }
    }
}

impl Runtime for Processes {
    fn name(&self) -> &'static str {
        "process"
    }

    fn view(&self) -> View {
        self.view
    }

    fn launch(
        &self,
        dir: &AttemptDir,
        program: &Program,
        _container: Option<Container>,
        _told: Told,
    ) -> Launched {
        Launched::Now(self.launcher.launch(dir, program))
    }

    fn look(&self, dir: &AttemptDir) -> io::Result<AttemptState> {
        match dir.state()? {
            AttemptState::Gone | AttemptState::New => dir.bury().map(AttemptState::Ended),
            state => Ok(state),
        }
    }

    fn stop(&self, dir: &AttemptDir, how: Stop) -> io::Result<bool> {
        dir.stop(how)
    }

    fn over_quota(&self, _dir: &AttemptDir) -> Option<OverQuota> {
        None
    }

    fn adopt(&self, _kept: &[AttemptDir]) -> io::Result<()> {
        Ok(())
    }

    fn forget(&self, _dir: &AttemptDir) -> io::Result<()> {
        Ok(())
    }
}
