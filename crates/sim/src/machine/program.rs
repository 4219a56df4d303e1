//! Programs of simulated steps. A step's command lines are what its program does, one after the other:
//!
//! ```text
//! work MS            nothing, for so long
//! print N            N lines
//! metric KEY VALUE   one line of metadata
//! write NAME         an output
//! stubborn           from now on it does not mind being asked to end
//! heavy              from now on it takes its time to go when it is killed, as one that holds much memory of a device does
//! flaky PERMILLE     exits with code 1, so many times in a thousand
//! exit CODE          ends
//! ```
//!
//! After the last line it exits with code 0.

/// One thing that a program does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing, for so many microseconds.
    Work(u64),
    /// A line. The number tells it from others.
    Print(u32),
    /// A line of metadata.
    Metric(String, String),
    /// An output.
    Write(String),
    Stubborn,
    Heavy,
    Flaky(u64),
    Exit(i32),
}

/// What a program that runs has before it.
#[derive(Debug)]
pub(crate) struct Program {
    actions: Vec<Action>,
    next: usize,
    pub(crate) is_stubborn: bool,
    pub(crate) is_heavy: bool,
    /// It was asked to end.
    pub(crate) is_ending: bool,
}

impl Program {
    pub(crate) fn new(commands: &[String]) -> Self {
        let actions = commands.iter().flat_map(|line| read(line)).collect();
        Self {
            actions,
            next: 0,
            is_stubborn: false,
            is_heavy: false,
            is_ending: false,
        }
    }

    /// What it does next; after the last thing it exits.
    pub(crate) fn step(&mut self) -> Action {
        let action = self
            .actions
            .get(self.next)
            .cloned()
            .unwrap_or(Action::Exit(0));
        self.next += 1;
        action
    }

    /// The names of all that it writes if nothing comes between: in order.
    pub(crate) fn outputs(commands: &[String]) -> Vec<String> {
        let actions = commands.iter().flat_map(|line| read(line));
        actions
            .filter_map(|action| {
                if let Action::Write(name) = action {
                    Some(name)
                } else {
                    None
                }
            })
            .collect()
    }
}

/// Reads a command line. One that is not understood fails like any shell would.
fn read(line: &str) -> Vec<Action> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let one = match words[..] {
        ["work", ms] => ms.parse().ok().map(|ms: u64| Action::Work(ms * 1_000)),
        ["print", count] => {
            let count: u32 = count.parse().unwrap_or(0);
            return (0..count).map(Action::Print).collect();
        }
        ["metric", key, value] => Some(Action::Metric(key.to_owned(), value.to_owned())),
        ["write", name] => Some(Action::Write(name.to_owned())),
        ["stubborn"] => Some(Action::Stubborn),
        ["heavy"] => Some(Action::Heavy),
        ["flaky", permille] => permille.parse().ok().map(Action::Flaky),
        ["exit", code] => code.parse().ok().map(Action::Exit),
        _ => None,
    };
    vec![one.unwrap_or(Action::Exit(127))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_does_its_lines_and_exits() {
        let lines = ["print 2", "write m.bin", "work 3"].map(str::to_owned);
        let mut program = Program::new(&lines);
        let steps: Vec<Action> = (0..5).map(|_| program.step()).collect();
        let expected = [
            Action::Print(0),
            Action::Print(1),
            Action::Write("m.bin".to_owned()),
            Action::Work(3_000),
            Action::Exit(0),
        ];
        assert_eq!(steps, expected);
        assert_eq!(Program::outputs(&lines), ["m.bin"]);
        assert_eq!(
            Program::new(&["python train.py".to_owned()]).step(),
            Action::Exit(127)
        );
    }
}
