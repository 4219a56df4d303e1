//! Where nothing has run, there is nothing to look at, and looking leaves nothing behind.

use expect_test::expect;

use crate::place::{GOOD, Place};

#[test]
fn nothing_has_run() {
    let place = Place::with(GOOD);
    place.check(
        "pipeline list",
        &expect![[r#"
        exit 0
        --- stdout
        no pipelines; `shoal pipeline run NAME` makes one
    "#]],
    );
    place.check(
        "execution list --state error,stopped",
        &expect![[r#"
        exit 0
        --- stdout
        no executions; `shoal execution run STEP` makes one
    "#]],
    );
    place.check(
        "pipeline list -o json",
        &expect![[r#"
        exit 0
        --- stdout
        []
    "#]],
    );
    place.check(
        "execution show 3",
        &expect![[r#"
        exit 4
        --- stderr
        error: nothing has run in HERE
          hint: go to the directory it ran in, or name a cluster with --cluster
    "#]],
    );
    place.check(
        "pipeline watch #1",
        &expect![[r#"
        exit 4
        --- stderr
        error: nothing has run in HERE
          hint: go to the directory it ran in, or name a cluster with --cluster
    "#]],
    );
    place.check("execution outputs 1 --download x -o json", &expect![[r#"
        exit 4
        --- stderr
        {"error":{"kind":"not_found","reason":null,"message":"nothing has run in HERE","details":[],"hint":"go to the directory it ran in, or name a cluster with --cluster"}}
    "#]]);
    place.check(
        "pipeline cancel 1",
        &expect![[r#"
        exit 4
        --- stderr
        error: nothing has run in HERE
          hint: go to the directory it ran in, or name a cluster with --cluster
    "#]],
    );
    let left: Vec<_> = std::fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["valohai.yaml"]);
}
