//! A directory to run the binary in, and what it shows there.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use expect_test::Expect;
use tempfile::TempDir;

/// The file most tests have: two steps, two pipelines.
pub const GOOD: &str = "\
- step:
    name: prepare
    image: python:3.12
    command:
      - python3 prepare.py {parameters}
      - echo done
    parameters:
      - name: rows
        type: integer
        default: 100
      - name: verbose
        type: flag
- step:
    name: train
    image: python:3.12
    command: python3 train.py --lr={parameter-value:lr}
    parameters:
      - name: lr
        type: float
        default: 0.1
    inputs:
      - name: data
- pipeline:
    name: everything
    parameters:
      - name: rows
        default: 10
        targets:
          - first.parameter.rows
    nodes:
      - name: first
        type: execution
        step: prepare
      - name: second
        type: execution
        step: train
    edges:
      - [first.output.*.csv, second.input.data]
- pipeline:
    name: evening
    nodes:
      - name: only
        type: execution
        step: prepare
    edges: []
";

/// A directory with files.
pub struct Place {
    directory: TempDir,
}

impl Place {
    /// An empty one.
    pub fn empty() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
        }
    }

    /// One with this `valohai.yaml`.
    pub fn with(config: &str) -> Self {
        let place = Self::empty();
        place.write("valohai.yaml", config);
        place
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The binary, about to be run here, in surroundings that are the same everywhere.
    pub fn shoal(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
        command
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null());
        command.env_clear().env("COLUMNS", "100");
        command
    }

    /// Runs the binary and compares all that it shows. Arguments are apart by spaces.
    pub fn check(&self, arguments: &str, expected: &Expect) {
        let arguments: Vec<&str> = arguments
            .split(' ')
            .filter(|argument| !argument.is_empty())
            .collect();
        let output = self.shoal(&arguments).output().unwrap();
        let code = output
            .status
            .code()
            .map_or("signal".to_owned(), |code| code.to_string());
        let mut shown = format!("exit {code}\n");
        for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            if !bytes.is_empty() {
                shown.push_str(&format!(
                    "--- {name}\n{}",
                    String::from_utf8(bytes).unwrap()
                ));
            }
        }
        let here = self.path().canonicalize().unwrap();
        for path in [here.as_path(), self.path()] {
            shown = shown.replace(path.to_str().unwrap(), "HERE");
        }
        expected.assert_eq(&shown);
    }
}
