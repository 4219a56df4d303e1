"""What lies in deploy/, without the machines that it is for: schemas, that names which must be equal are, that options exist.

`tests/tests/compose.rs` brings compose.yaml up for real, `tests/tests/tls.rs` the script of deploy/local.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml

from daemons import SECONDS, SHOAL, Daemon
from test_metrics import documented, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
SCRIPTS = sorted(
    path
    for directory in (".ci", "deploy", "examples", "fuzz", "tests")
    for path in (ROOT / directory).rglob("*")
    if path.is_file() and path.read_bytes().startswith((b"#!/usr/bin/env bash", b"#!/bin/bash", b"#!/bin/sh")) and "target" not in path.parts
)


def options(role):
    """The options that a role of the binary has."""
    said = subprocess.run([SHOAL, role, "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--[a-z][a-z-]+", said))


def unknown(arguments):
    """Options in the command of a daemon that it does not have."""
    role, *rest = arguments
    given = {re.match(r"--[a-z-]+", word)[0] for word in rest if word.startswith("--")}
    return given - options(role)


def takes(file):
    """Whether both roles take a file of settings: a value on the command line that nobody can use is what they complain of instead."""
    for role, wrong, complaint in (("coordinator", "--lost-after=1e300", "--lost-after|token to join"), ("worker", "--device=nothing", "nothing")):
        asked = [SHOAL, role, f"--config={file}", f"--join-token-file={os.devnull}", wrong]
        said = subprocess.run(asked, capture_output=True, text=True, cwd="/").stderr
        assert re.search(complaint, said), said


# ---- Kubernetes


def manifests():
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    for name in kustomization["resources"]:
        yield from yaml.safe_load_all((KUBERNETES / name).read_text())


def of_kind(*kinds):
    return [one for one in manifests() if one["kind"] in kinds]


def workloads():
    return of_kind("StatefulSet", "DaemonSet", "Deployment")


def containers():
    for workload in workloads():
        yield from ((workload, container) for container in workload["spec"]["template"]["spec"]["containers"])


@pytest.mark.parametrize("manifest", list(manifests()), ids=lambda one: f"{one['kind']}/{one['metadata']['name']}")
def test_manifests_are_of_the_schema(manifest):
    kubernetes_validate.validate(manifest, "1.31", strict=True)


def test_every_file_of_kubernetes_is_used():
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    settings = [file for made in kustomization["configMapGenerator"] for file in made["files"]]
    used = {"kustomization.yaml", "tokens", *kustomization["resources"], *settings}
    assert used == {path.name for path in KUBERNETES.iterdir()}


def test_kustomize_builds_it():
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl here")
    built = subprocess.run(["kubectl", "kustomize", KUBERNETES], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert len(list(yaml.safe_load_all(built.stdout))) == len(list(manifests())) + 1, "and the settings"


def test_selectors_find_their_pods():
    labels = [workload["spec"]["template"]["metadata"]["labels"].items() for workload in workloads()]
    for workload in workloads():
        assert workload["spec"]["selector"]["matchLabels"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    selectors = [one["spec"]["selector"] for one in of_kind("Service")]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in of_kind("PodDisruptionBudget")]
    for selector in selectors:
        assert sum(selector.items() <= own for own in labels) == 1, selector


def test_ports_probes_and_services_meet():
    settings = (KUBERNETES / "shoal.toml").read_text()
    for workload, container in containers():
        role = container["args"][0]
        section = settings.split(f"[{role}]")[1].split("\n[")[0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        served = {int(found) for found in re.findall(r'^(?:listen|metrics) = "0\.0\.0\.0:(\d+)"', section, re.MULTILINE)}
        assert served == set(ports.values()), role
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["port"] == "metrics" and asked["path"] in ("/healthz", "/readyz")
        assert workload["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] == str(ports["metrics"])
    coordinator = next(container for _, container in containers() if container["args"][0] == "coordinator")
    named = {port["name"] for port in coordinator["ports"]}
    for service in of_kind("Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


def test_what_pods_name_is_there():
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    maps = {made["name"] for made in kustomization["configMapGenerator"]}
    script = (KUBERNETES / "tokens").read_text()
    accounts = {one["metadata"]["name"] for one in of_kind("ServiceAccount")}
    services = {one["metadata"]["name"] for one in of_kind("Service")}
    for workload, container in containers():
        pod = workload["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] in accounts
        volumes = {volume["name"] for volume in pod["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        for volume in pod["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in maps
            if "secret" in volume:
                assert f"keep {volume['secret']['secretName']} " in script
            if "hostPath" in volume:
                [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == volume["name"]]
                assert mount["mountPath"] == volume["hostPath"]["path"], "the engine knows it by the same path"
        assert container["image"] in {image["name"] for image in kustomization["images"]}
        assert not unknown(container["args"])
        if workload["kind"] == "StatefulSet":
            assert workload["spec"]["serviceName"] in services


def test_coordinators_of_kubernetes_know_each_other():
    [stateful] = of_kind("StatefulSet")
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    name, service = stateful["metadata"]["name"], stateful["spec"]["serviceName"]
    names = [f"{name}-{number}.{service}.{kustomization['namespace']}.svc:7461" for number in range(stateful["spec"]["replicas"])]
    settings = (KUBERNETES / "shoal.toml").read_text()
    lists = [re.findall(r'"(.+?)"', found) for found in re.findall(r"^(?:join|coordinators) = \[(.*?)\]", settings, re.MULTILINE | re.DOTALL)]
    assert lists == [names, names]
    assert f'founder = "{names[0]}"' in settings
    script = (KUBERNETES / "tokens").read_text()
    others = re.search(r"for pod in (.*); do", script)[1].split()
    assert others == [f"{name}-{number}" for number in range(1, stateful["spec"]["replicas"])]
    takes(KUBERNETES / "shoal.toml")


def test_the_tokens_of_kubernetes_become_secrets(tmp_path):
    """Against a stand-in for kubectl that notes what it is asked."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        f"""#!/bin/bash
echo "$@" >>{tmp_path}/calls
case "$*" in
*"token create"*) echo jt1.made ;;
*"get nodes"*) echo -n gpu-1 gpu-2.example ;;
*"create secret"*) for word; do [[ $word == --from-env-file=* ]] && cat "${{word#*=}}" >>{tmp_path}/secrets; done; true ;;
*apply*) cat ;;
esac
"""
    )
    kubectl.chmod(0o755)
    subprocess.run([KUBERNETES / "tokens"], env={"KUBECTL": str(kubectl), "PATH": "/usr/bin:/bin"}, check=True, capture_output=True)
    made = (tmp_path / "secrets").read_text().split()
    assert made == [f"{name}=jt1.made" for name in ("coordinator-1", "coordinator-2", "gpu-1", "gpu-2.example")]
    calls = (tmp_path / "calls").read_text()
    assert "jt1.made" not in calls, "no command line shows a token"
    assert "--role worker --name gpu-2.example" in calls


# ---- systemd, Slurm, scripts


@pytest.mark.parametrize("unit", ["shoal-coordinator", "shoal-worker"])
def test_units_are_sound(unit, tmp_path):
    text = (DEPLOY / "systemd" / f"{unit}.service").read_text()
    [command] = re.findall(r"^ExecStart=/usr/local/bin/shoal (.*)$", text, re.MULTILINE)
    assert not unknown(command.split())
    [state] = re.findall(r"^StateDirectory=(.*)$", text, re.MULTILINE)
    settings = (DEPLOY / "systemd/shoal.toml").read_text()
    section = settings.split(f"[{command.split()[0]}]")[1].split("\n[")[0]
    assert f'data_dir = "/var/lib/{state}"' in section
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze here")
    file = tmp_path / f"{unit}.service"
    # The program and the user need not be on the machine of the tests.
    file.write_text(text.replace("/usr/local/bin/shoal", SHOAL).replace("User=shoal", "User=root").replace("Group=shoal", "Group=root"))
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True)
    said = "\n".join(line for line in verified.stderr.splitlines() if unit in line)
    assert verified.returncode == 0 and not said, verified.stderr


def test_the_slurm_job_drains_before_it_ends(project, tmp_path):
    """With stand-ins for srun and scontrol: the node is this machine. What was made there outlives the job."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "srun").write_text('#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n')
    (tools / "scontrol").write_text("#!/bin/bash\necho node7\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    [port] = free_ports(1)
    with Daemon(tmp_path / "c1", "coordinator", "--bootstrap", "--tls") as coordinator:
        context = coordinator.data / "tls/admin.toml"
        environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "SHOAL": SHOAL,
            "SHOAL_COORDINATORS": coordinator.address,
            "SHOAL_CONTEXT": str(context),
            "SHOAL_WORKER_DIR": str(tmp_path / "w"),
            "SHOAL_LISTEN": "127.0.0.1",
            "SHOAL_ADVERTISE": "127.0.0.1",
            "SHOAL_PORT": str(port),
            "SHOAL_POLL": "0.2",
            "SLURM_JOB_ID": "12",
            "SLURM_JOB_NODELIST": "node7",
        }
        ask = lambda *arguments: project.ask("--context", context, *arguments)
        job = subprocess.Popen([DEPLOY / "slurm/shoal-workers.sbatch"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            wait_for(lambda: [one["name"] for one in ask("worker", "list") if one["connected"]] == ["slurm-12-node7"])
            project.step(f"touch {tmp_path}/begun", f"until [ -e {tmp_path}/go ]; do sleep 0.05; done", 'echo made > "$VH_OUTPUTS_DIR/made"')
            ask("execution", "run", "step", "--detach")
            wait_for((tmp_path / "begun").exists)
            job.terminate()
            wait_for(lambda: ask("worker", "list")[0]["draining"])
            assert job.poll() is None, "what runs goes on"
            (tmp_path / "go").touch()
            wait_for(lambda: ask("execution", "show", 1)["state"] == "complete")
            assert ask("worker", "show", "slurm-12-node7")["sole_blob_count"] == 1
            assert job.poll() is None, "what no other worker has would be gone"
            token = tmp_path / "token"
            project.shoal("--context", context, "token", "create", "--role", "worker", "--file", token)
            with Daemon(tmp_path / "stays", "worker", "--coordinator", coordinator.address, "--name=stays", f"--join-token-file={token}"):
                said, _ = job.communicate(timeout=SECONDS)
                assert job.returncode == 0, said
                assert "nothing is left to hand over" in said
                shutil.rmtree(tmp_path / "w")
                project.shoal("--context", context, "execution", "outputs", "1", "--download", tmp_path / "downloaded")
                assert (tmp_path / "downloaded/made").read_text() == "made\n"
        finally:
            job.kill()


def free_ports(count):
    """Ports that nobody has now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def test_coordinators_that_are_started_alike_become_one_cluster(project, tmp_path):
    """As in deploy/kubernetes and deploy/systemd: the founder is the one without a token."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]
    settings = project.write(
        "shoal.toml",
        f"""
        [coordinator]
        tls = true
        founder = "{addresses[0]}"
        join = {json.dumps(addresses)}
        worker_certificates = "1h"
        """,
    )
    tokens = [tmp_path / f"token-{number}" for number in range(3)]

    def start(number):
        listen = f"--listen={addresses[number]}"
        return Daemon(tmp_path / f"c{number}", "coordinator", f"--config={settings}", listen, f"--join-token-file={tokens[number]}")

    with contextlib.ExitStack() as stack:
        founder = stack.enter_context(start(0))
        context = founder.data / "tls/admin.toml"
        create = ["--context", context, "token", "create", "--role", "coordinator", "--file", tokens[1], "--file", tokens[2]]
        project.shoal(*create)
        made = [token.read_text() for token in tokens[1:]]
        assert [token.stat().st_mode & 0o777 for token in tokens[1:]] == [0o600, 0o600]
        project.shoal(*create)
        assert [token.read_text() for token in tokens[1:]] == made, "what is there stays as it is"
        for number in (1, 2):
            stack.enter_context(start(number))
        status = lambda: project.ask("--context", context, "cluster", "status")["members"]
        wait_for(lambda: sorted(one["role"] for one in status() if one["ready"]) == ["follower", "follower", "leader"])
        assert sorted(one["address"] for one in status()) == sorted(addresses)


def test_who_has_joined_misses_no_token(project, tmp_path):
    token = tmp_path / "token"
    with Daemon(tmp_path / "c", "coordinator", "--bootstrap", "--tls") as founder:
        project.shoal("--context", founder.data / "tls/admin.toml", "token", "create", "--role", "worker", "--file", token)
        worker = ["worker", "--name=w", f"--coordinator={founder.address}", f"--join-token-file={token}"]
        with Daemon(tmp_path / "w", *worker):
            token.unlink()
        with Daemon(tmp_path / "w", *worker) as again:
            wait_for(lambda: again.get("/readyz")[0] == 200)
        refused = project.refused(*worker, f"--data-dir={tmp_path}/other", code=1)
        assert "no token to join can be read from" in refused["message"]


def test_settings_of_the_units_are_taken():
    takes(DEPLOY / "systemd/shoal.toml")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_are_sound(script):
    shellcheck = pathlib.Path(sys.executable).parent / "shellcheck"
    checked = subprocess.run([shellcheck, "--external-sources", "--severity=warning", script], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


# ---- compose


def test_compose_names_what_there_is():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = compose["services"]
    daemons = {name: one for name, one in services.items() if one.get("restart") == "unless-stopped"}
    assert sorted(daemons) == ["coordinator-1", "coordinator-2", "coordinator-3", "worker-1", "worker-2"]
    made = {word for one in services.values() for word in one.get("command", []) if word.startswith("--file=")}
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            assert other in services
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in compose["volumes"] or source.startswith("${"), (name, volume)
    for name, service in daemons.items():
        command = service["command"]
        assert not unknown(command)
        [metrics] = [word.split(":")[-1] for word in command if word.startswith("--metrics=")]
        assert service["healthcheck"]["test"][-1] == f"127.0.0.1:{metrics}"
        if name != "coordinator-1":
            assert f"--join-token-file=/tokens/{name}" in command and f"--file=/tokens/{name}" in made


# ---- Prometheus and Grafana


def used(expression):
    """Names of metrics in an expression, without the ends that histograms add."""
    for name in re.findall(r"\b(?:shoal|process)_\w+", expression):
        yield re.sub(r"(_seconds)_(?:bucket|count|sum)$", r"\1", name)


def test_the_dashboard_shows_what_is_served():
    board = json.loads((DEPLOY / "grafana/shoal.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    shown = {name for panel in panels for target in panel["targets"] for name in used(target["expr"])}
    assert shown <= documented(), shown - documented()
    for panel in panels:
        assert panel["title"] and panel["description"], panel
        assert {"refId", "expr", "legendFormat"} == set(panel["targets"][0])
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    corners = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(corners)) == len(corners), "no panel covers another"


def test_alerts_ask_for_what_is_served():
    [group] = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    operations = (ROOT / "docs/operations.md").read_text()
    for rule in group["rules"]:
        names = set(used(rule["expr"]))
        assert names <= documented(), rule["alert"]
        assert names or rule["expr"].startswith("up{"), rule["alert"]
        assert f"`{rule['alert']}`" in operations, f"docs/operations.md says what to do about {rule['alert']}"


def test_prometheus_finds_the_daemons_of_compose():
    scrape = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    targets = {target for job in scrape for static in job["static_configs"] for target in static["targets"]}
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert targets == {f"{name}:9461" for name, one in services.items() if one.get("restart") == "unless-stopped"}
