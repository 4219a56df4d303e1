"""What monitoring systems read, through Prometheus' own parser: the format, every name, and that the numbers are true."""

import contextlib
import pathlib
import re
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemons import SECONDS, Daemon

ROOT = pathlib.Path(__file__).resolve().parents[2]


def documented():
    """The names in the tables of docs/operations.md."""
    text = (ROOT / "docs/operations.md").read_text()
    return set(re.findall(r"^\| `((?:shoal|process)_\w+)[`{]", text, re.MULTILINE))


class Scrape:
    """What one daemon tells at one moment."""

    def __init__(self, daemon):
        status, text = daemon.get("/metrics")
        assert status == 200
        self.names = set()
        kinds = {}
        for line in text.splitlines():
            if line.startswith("# HELP "):
                name, help_text = line[7:].split(" ", 1)
                assert help_text.endswith("."), line
                self.names.add(name)
            elif line.startswith("# TYPE "):
                name, kind = line[7:].split(" ")
                assert name in self.names and name not in kinds, f"{line}: once, after its HELP"
                kinds[name] = kind
            else:
                assert line.split("{")[0].split(" ")[0].startswith(tuple(kinds)), f"a sample without TYPE: {line}"
        assert set(kinds) == self.names
        for name, kind in kinds.items():
            # The names say what they count: https://prometheus.io/docs/practices/naming/
            assert (kind == "counter") <= name.endswith("_total"), (name, kind)
            assert kind != "histogram" or name.endswith("_seconds"), (name, kind)
        self.samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.samples[sample.name, frozenset(sample.labels.items())] = sample.value

    def value(self, name, **labels):
        """The sample of that name with exactly these labels."""
        return self.samples[name, frozenset(labels.items())]

    def total(self, name, **labels):
        """The sum of the samples with these labels, and perhaps others."""
        wanted = labels.items()
        return sum(value for (one, has), value in self.samples.items() if one == name and wanted <= dict(has).items())


def wait_for(what):
    """Asks until it holds: every look is a call that is answered by the daemon."""
    until = time.monotonic() + SECONDS
    while not (found := what()):
        assert time.monotonic() < until, "it never came to hold"
    return found


@pytest.fixture()
def cluster(tmp_path):
    """Three coordinators and a worker."""
    with contextlib.ExitStack() as stack:
        start = lambda name, *arguments: stack.enter_context(Daemon(tmp_path / name, *arguments))
        founder = start("c1", "coordinator", "--bootstrap")
        coordinators = [founder]
        for name in ("c2", "c3"):
            coordinators.append(start(name, "coordinator", f"--join={founder.address}"))
            count = len(coordinators)
            wait_for(lambda: Scrape(founder).value("shoal_raft_members", kind="voter") == count)
        addresses = ",".join(one.address for one in coordinators)
        worker = start("w1", "worker", "--name=w1", "--slots=2", f"--coordinator={addresses}")
        wait_for(lambda: worker.get("/readyz")[0] == 200)
        yield coordinators, worker, addresses


def test_every_metric_is_documented_and_true(project, cluster):
    coordinators, worker, addresses = cluster
    project.config(
        """
- step:
    name: make
    image: none
    command: [echo one, "echo two > $VH_OUTPUTS_DIR/two"]
- step:
    name: read
    image: none
    command: "cat $VH_INPUTS_DIR/two/two"
    inputs: [{name: two}]
- pipeline:
    name: both
    nodes:
      - {name: make, type: execution, step: make}
      - {name: read, type: execution, step: read}
    edges: [[make.output.*, read.input.two]]
"""
    )
    project.shoal("--cluster", addresses, "pipeline", "run", "both")
    project.shoal("--cluster", addresses, "execution", "outputs", 1, "--download", "got")

    leads = lambda one: one.value("shoal_raft_role", role="leader") == 1
    scrapes = wait_for(lambda: (now := [Scrape(one) for one in coordinators]) and sum(map(leads, now)) == 1 and now)
    [leader] = filter(leads, scrapes)
    # Whoever led when something was asked has counted it.
    every = lambda name, **labels: sum(one.total(name, **labels) for one in scrapes)
    served = set().union(*(one.names for one in [*scrapes, Scrape(worker)]))
    assert served == documented(), "docs/operations.md lists what is served"

    # Whoever leads, it is a member, and all agree on who and on how far.
    assert {one.value("shoal_raft_leader_id") for one in scrapes} <= {1.0, 2.0, 3.0}
    assert every("shoal_raft_proposals_total") > 3
    assert every("shoal_raft_proposal_seconds_count") > 3
    assert leader.value("shoal_raft_commit_index") <= leader.value("shoal_raft_last_index")
    assert leader.total("shoal_raft_lag_entries") < 100
    assert leader.value("shoal_workers", state="connected") == 1
    assert leader.value("shoal_slots", state="free") == 2
    assert leader.value("shoal_executions", state="complete") == 2
    assert leader.value("shoal_queue_length") == 0
    assert every("shoal_grpc_requests_total", method="PipelineService/CreatePipeline", code="OK") == 1
    assert every("shoal_grpc_request_seconds_count", method="PipelineService/CreatePipeline") >= 1
    for one in scrapes:
        assert one.value("shoal_ready") == 1
        assert one.value("shoal_raft_fsync_seconds_count") > 0
        assert one.value("shoal_feed_records_total") > 2, "every coordinator keeps every log"
        assert one.value("process_resident_memory_bytes") > 1e6

    # The worker has two outputs and inputs behind it, and the source that it fetched.
    told = wait_for(lambda: (now := Scrape(worker)).total("shoal_worker_attempts") == 0 and now)
    assert told.value("shoal_worker_slots") == 2
    assert told.value("shoal_worker_attempts_started_total") == 2
    for phase in ("prepare", "launch", "collect"):
        assert told.value("shoal_worker_phase_seconds_count", phase=phase) == 2, phase
    assert told.value("shoal_worker_fetched_bytes_total", source="node") > 0
    assert told.value("shoal_worker_sent_bytes_total") >= 4
    assert told.value("shoal_worker_blobs") >= 1


def test_what_runs_and_what_waits_is_told(project, cluster, tmp_path):
    coordinators, worker, addresses = cluster
    project.step("echo $$", f"until [ -e {tmp_path}/go ]; do sleep 0.05; done")
    for _ in range(3):
        project.shoal("--cluster", addresses, "execution", "run", "step", "--detach")
    # Two slots: the third waits, whoever is asked.
    wait_for(lambda: Scrape(worker).value("shoal_worker_attempts", phase="running") == 2)
    for one in coordinators:
        told = wait_for(lambda: (now := Scrape(one)).value("shoal_executions", state="started") == 2 and now)
        assert told.value("shoal_slots", state="used") >= 2
        assert told.value("shoal_slots", state="free") == 0
        assert told.value("shoal_queue_length") + told.value("shoal_slots", state="used") == 3, "one may be assigned ahead"
    (tmp_path / "go").touch()
    wait_for(lambda: Scrape(coordinators[0]).value("shoal_executions", state="complete") == 3)
    told = wait_for(lambda: (now := Scrape(worker)).total("shoal_worker_attempts") == 0 and now)
    assert told.value("shoal_worker_attempts_started_total") == 3


def test_a_new_leader_is_counted_and_nobody_is_ready_alone(cluster):
    coordinators, worker, _ = cluster
    leads = lambda one: Scrape(one).value("shoal_raft_role", role="leader") == 1
    [leader] = wait_for(lambda: [one for one in coordinators if leads(one)])
    others = [one for one in coordinators if one is not leader]
    before = sum(Scrape(one).value("shoal_raft_elections_total") for one in others)
    leader.kill()
    [next_leader] = wait_for(lambda: [one for one in others if leads(one)])
    assert sum(Scrape(one).value("shoal_raft_elections_total") for one in others) > before
    wait_for(lambda: worker.get("/readyz")[0] == 200)
    next_leader.kill()
    # One of three has no majority: it lives, and is not ready; neither is the worker.
    [last] = [one for one in others if one is not next_leader]
    wait_for(lambda: last.get("/readyz")[0] == 503)
    assert last.get("/healthz") == (200, "ok\n")
    assert Scrape(last).value("shoal_ready") == 0
    wait_for(lambda: worker.get("/readyz") == (503, "no coordinator hears it\n"))
    assert worker.get("/healthz")[0] == 200
