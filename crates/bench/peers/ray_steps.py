"""Ray doing the work of rows P1, P2 and P3: each task starts the step's shell, as a worker of Shoal does.

Run by `bench … --peer "ray=python peers/ray_steps.py"`; speaks the protocol of `src/contenders/peer.rs`. Needs PyPI's `ray`.
"""

import json
import subprocess
import sys
import time

import ray


@ray.remote
def trivial(script):
    subprocess.run(["bash", "-c", script], check=True)


@ray.remote
def hop(line):
    """Hands a small file on, through the program's standard input and output."""
    script = 'read -r line; echo "$line"'
    return subprocess.run(["bash", "-c", script], check=True, input=line, stdout=subprocess.PIPE).stdout


def single(request):
    seconds = []
    for _ in range(request["count"]):
        start = time.perf_counter()
        ray.get(trivial.remote(request["script"]))
        seconds.append(time.perf_counter() - start)
    return seconds


def many(request):
    start = time.perf_counter()
    ray.get([trivial.remote(request["script"]) for _ in range(request["count"])])
    return [time.perf_counter() - start]


def chain(request):
    start = time.perf_counter()
    line = b"0\n"
    for _ in range(request["length"]):
        line = hop.remote(line)
    ray.get(line)
    return [time.perf_counter() - start]


def main():
    ray.init(num_cpus=int(sys.argv[1]), include_dashboard=False, log_to_driver=False)
    print(json.dumps({"ready": True, "version": ray.__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        work = {"single": single, "many": many, "chain": chain}[request["work"]]
        print(json.dumps({"seconds": work(request)}), flush=True)


if __name__ == "__main__":
    main()
