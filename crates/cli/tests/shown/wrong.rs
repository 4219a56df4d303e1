//! Arguments that make no sense.

use expect_test::expect;

use crate::place::{GOOD, Place};

#[test]
fn commands() {
    let place = Place::with(GOOD);
    place.check(
        "pipline list",
        &expect![[r#"
            exit 2
            --- stderr
            error: unrecognized subcommand 'pipline'

              tip: some similar subcommands exist: 'explain', 'pipe', 'pipeline'

            Usage: shoal [OPTIONS] <COMMAND>

            For more information, try '--help'.
        "#]],
    );
    place.check(
        "pipeline rnu",
        &expect![[r#"
        exit 2
        --- stderr
        error: unrecognized subcommand 'rnu'

        Usage: shoal pipeline [OPTIONS] <COMMAND>

        For more information, try '--help'.
    "#]],
    );
    place.check(
        "execution show",
        &expect![[r#"
        exit 2
        --- stderr
        error: the following required arguments were not provided:
          <NUMBER>

        Usage: shoal execution show <NUMBER>

        For more information, try '--help'.
    "#]],
    );
    place.check(
        "execution show three",
        &expect![[r#"
        exit 2
        --- stderr
        error: invalid value 'three' for '<NUMBER>': expected a number such as 3 or #3

        For more information, try '--help'.
    "#]],
    );
    place.check(
        "execution logs 1 --from 3 --tail 4",
        &expect![[r#"
        exit 2
        --- stderr
        error: the argument '--from <RECORD>' cannot be used with '--tail <COUNT>'

        Usage: shoal execution logs --from <RECORD> <NUMBER>

        For more information, try '--help'.
    "#]],
    );
    place.check(
        "pipeline list --state broken",
        &expect![[r#"
        exit 2
        --- stderr
        error: invalid value 'broken' for '--state <STATE>'
          [possible values: created, queued, started, stopping, stopped, error, complete]

        For more information, try '--help'.
    "#]],
    );
    place.check(
        "pipeline list --stat broken",
        &expect![[r#"
        exit 2
        --- stderr
        error: unexpected argument '--stat' found

          tip: a similar argument exists: '--state'

        Usage: shoal pipeline list --state <STATE>

        For more information, try '--help'.
    "#]],
    );
    place.check(
        "worker --data-dir x",
        &expect![[r#"
            exit 2
            --- stderr
            error: the following required arguments were not provided:
              --coordinator <ADDRESS>

            Usage: shoal worker --data-dir <DIR> --coordinator <ADDRESS>

            For more information, try '--help'.
        "#]],
    );
    place.check(
        "completions tcsh",
        &expect![[r#"
        exit 2
        --- stderr
        error: invalid value 'tcsh' for '<SHELL>'
          [possible values: bash, elvish, fish, powershell, zsh]

          tip: a similar value exists: 'zsh'

        For more information, try '--help'.
    "#]],
    );
}

#[test]
fn for_programs() {
    let place = Place::with(GOOD);
    place.check("-o json execution show", &expect![[r#"
        exit 2
        --- stderr
        {"error":{"kind":"usage","reason":null,"message":"the following required arguments were not provided: <NUMBER>","details":[],"hint":null}}
    "#]]);
    place.check("pipline list --output=json", &expect![[r#"
        exit 2
        --- stderr
        {"error":{"kind":"usage","reason":null,"message":"unrecognized subcommand 'pipline'","details":[],"hint":"some similar subcommands exist: 'explain', 'pipe', 'pipeline'"}}
    "#]]);
    place.check("execution run nothing -o json", &expect![[r#"
        exit 2
        --- stderr
        {"error":{"kind":"usage","reason":null,"message":"there is no step `nothing`","details":[],"hint":"there are `prepare`, `train`"}}
    "#]]);
    place.check(
        "pipeline list -o yaml",
        &expect![[r#"
        exit 2
        --- stderr
        error: invalid value 'yaml' for '--output <FORMAT>'
          [possible values: human, json]

        For more information, try '--help'.
    "#]],
    );
}

#[test]
fn parameters_and_inputs() {
    let place = Place::with(GOOD);
    place.write("parameters.yaml", "[1, 2]\n");
    place.write("other.json", r#"{"rws": 3}"#);
    place.check(
        "pipeline run everything --rws=5",
        &expect![[r#"
        exit 2
        --- stderr
        error: there is no parameter `rws`
          hint: did you mean `rows`?
    "#]],
    );
    place.check(
        "pipeline run everything --first.row 5",
        &expect![[r#"
        exit 2
        --- stderr
        error: there is no parameter `first.row`
          hint: did you mean `first.rows`?
    "#]],
    );
    place.check(
        "pipeline run everything --param second.data=x",
        &expect![[r#"
            exit 2
            --- stderr
            error: there is no parameter `second.data`
              hint: `second.data` is an input: --input second.data=…
        "#]],
    );
    place.check(
        "execution run train --input date=file:///x",
        &expect![[r#"
        exit 2
        --- stderr
        error: there is no input `date`
          hint: did you mean `data`?
    "#]],
    );
    place.check(
        "execution run train extra",
        &expect![[r#"
        exit 2
        --- stderr
        error: unexpected argument "extra"; parameters and inputs are given as --NAME=VALUE
    "#]],
    );
    place.check(
        "execution run train --param lr",
        &expect![[r#"
        exit 2
        --- stderr
        error: expected NAME=VALUE, got "lr"
    "#]],
    );
    place.check(
        "execution run train --parameter-file parameters.yaml",
        &expect![[r#"
            exit 2
            --- stderr
            error: HERE/parameters.yaml is not a map from parameter names to values
        "#]],
    );
    place.check(
        "execution run train --parameter-file other.json",
        &expect![[r#"
            exit 2
            --- stderr
            error: there is no parameter `rws`
              hint: there are lr
        "#]],
    );
    place.check(
        "execution run train --parameter-file no.json",
        &expect![[r#"
            exit 2
            --- stderr
            error: there is no file HERE/no.json
        "#]],
    );
    place.check(
        "execution run train --file no.yaml",
        &expect![[r#"
        exit 2
        --- stderr
        error: there is no file HERE/no.yaml
    "#]],
    );
}
