//! What is given to a run: parameters and inputs by name, told apart by what the step or pipeline has.

use std::path::Path;

use contract::api;
use spec::model::{Config, Node, NodeKind, Step, TaskSource};
use spec::nearest::nearest;

use crate::args::Launch;
use crate::launch::{self, Given};
use crate::{Failure, place};

/// Names that values can be given to.
#[derive(Debug, Default)]
pub(super) struct Names {
    parameters: Vec<String>,
    inputs: Vec<String>,
}

impl Names {
    /// Those of a step.
    pub(super) fn of_step(config: &Config, step: &str) -> Self {
        let mut names = Self::default();
        if let Some(step) = config.step(step) {
            names.add(step, "");
        }
        names
    }

    /// Those of a pipeline: its parameters, and `node.name` of what its nodes' steps have.
    pub(super) fn of_pipeline(config: &Config, pipeline: &str) -> Self {
        let mut names = Self::default();
        let Some(pipeline) = config.pipeline(pipeline) else {
            return names;
        };
        names.parameters.extend(
            pipeline
                .parameters
                .iter()
                .map(|parameter| parameter.name.value.clone()),
        );
        for node in &pipeline.nodes {
            if let Some(step) = step_of(node).and_then(|step| config.step(step)) {
                names.add(step, &format!("{}.", node.name.value));
            }
        }
        names
    }

    fn add(&mut self, step: &Step, prefix: &str) {
        let named = |name: &str| format!("{prefix}{name}");
        self.parameters.extend(
            step.parameters
                .iter()
                .map(|parameter| named(&parameter.name.value)),
        );
        self.inputs
            .extend(step.inputs.iter().map(|input| named(&input.name.value)));
    }

    /// Refuses a parameter that nothing has.
    fn known_parameter(&self, name: &str) -> Result<(), Failure> {
        known("parameter", name, &self.parameters, ("input", &self.inputs))
    }

    /// Refuses an input that nothing has.
    fn known_input(&self, name: &str) -> Result<(), Failure> {
        known("input", name, &self.inputs, ("parameter", &self.parameters))
    }
}

/// The step a node runs, where it is one of this file.
fn step_of(node: &Node) -> Option<&str> {
    match &node.kind {
        NodeKind::Execution { step, .. }
        | NodeKind::Task {
            source: TaskSource::Step(step),
            ..
        } => Some(&step.value),
        NodeKind::Task { .. } | NodeKind::Deployment(_) => None,
    }
}

/// What was given, told apart.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// Of parameters.
    pub(super) parameters: Vec<api::ParameterAssignment>,
    /// Of inputs.
    pub(super) inputs: Vec<api::InputAssignment>,
}

impl Values {
    /// Gathers what the options and the free arguments give. A parameter file says less than both.
    pub(super) fn gather(
        current: &Path,
        launch: &Launch,
        free: &[String],
        names: &Names,
    ) -> Result<Self, Failure> {
        let mut values = Self::default();
        for text in &launch.parameters {
            values.parameter(launch::assignment(text)?, names)?;
        }
        for text in &launch.inputs {
            values.input(launch::assignment(text)?, names)?;
        }
        for given in launch::free(free)? {
            // A name may be both; a step's program knows it first of all as a parameter.
            match !names.parameters.contains(&given.name) && names.inputs.contains(&given.name) {
                true => values.input(given, names)?,
                false => values.parameter(given, names)?,
            }
        }
        if let Some(file) = &launch.parameter_file {
            values.fill_from(&current.join(file), names)?;
        }
        Ok(values)
    }

    fn parameter(&mut self, given: Given, names: &Names) -> Result<(), Failure> {
        names.known_parameter(&given.name)?;
        let text = api::Value {
            kind: Some(api::value::Kind::Text(given.value)),
        };
        // The same name again is one more value for it.
        match self
            .parameters
            .iter_mut()
            .find(|known| known.name == given.name)
        {
            Some(before) => {
                before.append |= given.append;
                let mut items = match before.value.take().and_then(|value| value.kind) {
                    Some(api::value::Kind::List(list)) => list.items,
                    kind => vec![api::Value { kind }],
                };
                items.push(text);
                before.value = Some(api::Value {
                    kind: Some(api::value::Kind::List(api::ValueList { items })),
                });
            }
            None => self.parameters.push(api::ParameterAssignment {
                name: given.name,
                value: Some(text),
                append: given.append,
            }),
        }
        Ok(())
    }

    fn input(&mut self, given: Given, names: &Names) -> Result<(), Failure> {
        names.known_input(&given.name)?;
        match self
            .inputs
            .iter_mut()
            .find(|known| known.name == given.name)
        {
            Some(before) => before.uris.push(given.value),
            None => self.inputs.push(api::InputAssignment {
                name: given.name,
                uris: vec![given.value],
            }),
        }
        Ok(())
    }

    /// Reads parameters from a file, a map from names to values; those that were given otherwise stay.
    fn fill_from(&mut self, path: &Path, names: &Names) -> Result<(), Failure> {
        let bytes = place::read(path)?;
        let value = spec::parse_value(&bytes).map_err(|errors| {
            let first = errors
                .first()
                .map(|error| format!(":{}: {}", error.span.line, error.message));
            Failure::usage(format!("{}{}", path.display(), first.unwrap_or_default()))
        })?;
        let not_a_map = || {
            Failure::usage(format!(
                "{} is not a map from parameter names to values",
                path.display()
            ))
        };
        let spec::Value::Map(entries) = value else {
            return Err(not_a_map());
        };
        let given = self.parameters.len();
        for (name, value) in entries {
            let spec::Value::Str(name) = name else {
                return Err(not_a_map());
            };
            names.known_parameter(&name)?;
            if !self.parameters[..given]
                .iter()
                .any(|known| known.name == name)
            {
                self.parameters.push(api::ParameterAssignment {
                    name,
                    value: Some(api::Value::from(&value)),
                    append: false,
                });
            }
        }
        Ok(())
    }
}

/// Refuses a name that nothing has, with the name that was perhaps meant.
fn known(
    what: &str,
    name: &str,
    names: &[String],
    other: (&str, &[String]),
) -> Result<(), Failure> {
    if names.iter().any(|known| known == name) {
        return Ok(());
    }
    let failure = Failure::usage(format!("there is no {what} `{name}`"));
    let (other, others) = other;
    if others.iter().any(|known| known == name) {
        return Err(failure.hint(format!(
            "`{name}` is an {other}: --{} {name}=…",
            if other == "input" { "input" } else { "param" }
        )));
    }
    Err(
        match nearest(name, names.iter().chain(others).map(String::as_str)) {
            Some(name) => failure.hint(format!("did you mean `{name}`?")),
            None if names.is_empty() => failure.hint(format!("there are no {what}s to give")),
            None => failure.hint(format!("there are {}", names.join(", "))),
        },
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::{Expect, expect};

    use super::*;
    use crate::args::ConfigFile;

    const FILE: &str = "
- step:
    name: train
    image: x
    command: train {parameters}
    parameters:
      - {name: epochs, type: integer, default: 5}
      - {name: tags, type: string, multiple: repeat, optional: true}
    inputs:
      - name: rows
- pipeline:
    name: all
    parameters:
      - {name: epochs, default: 3, targets: [fit.parameter.epochs]}
    nodes:
      - {name: fit, type: execution, step: train}
    edges: []
";

    fn launch(parameters: &[&str], inputs: &[&str], parameter_file: Option<&Path>) -> Launch {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Launch {
            config: ConfigFile { file: None },
            parameters: owned(parameters),
            inputs: owned(inputs),
            parameter_file: parameter_file.map(Path::to_path_buf),
            environment: None,
            priority: 0,
            title: None,
            detach: false,
            dry_run: false,
        }
    }

    fn check(names: &Names, launch: &Launch, free: &[&str], expected: &Expect) {
        let free: Vec<String> = free.iter().map(|&text| text.to_owned()).collect();
        let text = match Values::gather(Path::new("/"), launch, &free, names) {
            Err(failure) => failure.to_string(),
            Ok(values) => {
                let value =
                    |value: &Option<api::Value>| crate::json::value(value.as_ref()).to_string();
                let parameters = values.parameters.iter().map(|given| {
                    format!(
                        "{} {} {}\n",
                        given.name,
                        if given.append { "+=" } else { "=" },
                        value(&given.value)
                    )
                });
                let inputs = values
                    .inputs
                    .iter()
                    .map(|given| format!("{} from {}\n", given.name, given.uris.join(" ")));
                parameters.chain(inputs).collect()
            }
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn values_find_what_they_are_for() {
        let config = spec::parse(FILE.as_bytes()).config.unwrap();
        let (step, pipeline) = (
            Names::of_step(&config, "train"),
            Names::of_pipeline(&config, "all"),
        );
        let nothing = launch(&[], &[], None);
        check(
            &step,
            &nothing,
            &["--epochs=7", "--rows", "file:///a", "--rows=file:///b"],
            &expect![[r#"
            epochs = "7"
            rows from file:///a file:///b
        "#]],
        );
        check(
            &step,
            &launch(&["tags+=a"], &["rows=datum://1"], None),
            &["--tags=b"],
            &expect![[r#"
            tags += ["a","b"]
            rows from datum://1
        "#]],
        );
        check(
            &pipeline,
            &nothing,
            &["--epochs=1", "--fit.epochs", "2", "--fit.rows=file:///a"],
            &expect![[r#"
            epochs = "1"
            fit.epochs = "2"
            fit.rows from file:///a
        "#]],
        );
    }

    #[test]
    fn what_is_not_there_has_a_hint() {
        let config = spec::parse(FILE.as_bytes()).config.unwrap();
        let (step, pipeline) = (
            Names::of_step(&config, "train"),
            Names::of_pipeline(&config, "all"),
        );
        let nothing = launch(&[], &[], None);
        check(
            &step,
            &nothing,
            &["--epoch=7"],
            &expect![[r#"
            error: there is no parameter `epoch`
              hint: did you mean `epochs`?
        "#]],
        );
        check(
            &step,
            &launch(&["rows=7"], &[], None),
            &[],
            &expect![[r#"
            error: there is no parameter `rows`
              hint: `rows` is an input: --input rows=…
        "#]],
        );
        check(
            &pipeline,
            &launch(&[], &["data=x:"], None),
            &[],
            &expect![[r#"
            error: there is no input `data`
              hint: there are fit.rows
        "#]],
        );
        check(
            &Names::default(),
            &nothing,
            &["--lr=1"],
            &expect![[r#"
            error: there is no parameter `lr`
              hint: there are no parameters to give
        "#]],
        );
        check(
            &step,
            &nothing,
            &["epochs=7"],
            &expect![[r#"
            error: unexpected argument "epochs=7"; parameters and inputs are given as --NAME=VALUE
        "#]],
        );
    }

    #[test]
    fn the_command_line_wins_over_a_file() {
        let config = spec::parse(FILE.as_bytes()).config.unwrap();
        let step = Names::of_step(&config, "train");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("parameters.yaml");
        std::fs::write(&file, "epochs: 9\ntags: [a, b]\n").unwrap();
        check(
            &step,
            &launch(&[], &[], Some(&file)),
            &["--epochs=1"],
            &expect![[r#"
            epochs = "1"
            tags = ["a","b"]
        "#]],
        );
    }
}
