"""A Ray cluster of one or more nodes on this machine, which a process of its own controls.

Run as a script, it is that process: each line of its input is a call, and each line of its output the result. Ray may
end it, and not the tests.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
NODE = {"num_cpus": 2, "object_store_memory": 100 << 20}


class RayCluster:
    """A running cluster; the tests' end."""

    def __init__(self, folder, environment):
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "stderr.txt").open("w"),
            text=True,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        try:
            self.address = self.call("start")
        except BaseException:
            self.close()
            raise

    def call(self, name, *arguments):
        """Call a function of `_Host`."""
        print(json.dumps([name, *arguments]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, (self._folder / "stderr.txt").read_text()[-3000:]
        result = json.loads(line)
        assert "error" not in result, result["error"]
        return result["value"]

    def replicas(self, count=0, timeout_s=180):
        """Return what is seen of replicas, once so many run that have told of themselves."""
        until = time.monotonic() + timeout_s
        while True:
            seen = self.call("seen")
            found = [replica for replica in seen["replicas"] if replica["pid"]]
            if seen["states"].get("RUNNING", 0) == len(seen["replicas"]) == len(found) >= max(1, count):
                return found
            assert time.monotonic() < until, seen
            time.sleep(0.2)

    def close(self):
        """End the cluster with all its processes."""
        import psutil

        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def ray_cluster():
    """Run a cluster with one node for the duration of the block."""
    folder = Path(tempfile.mkdtemp(prefix="lr", dir="/tmp"))  # Ray's sockets have long names below it
    home = {"HOME": str(folder), "LINEUP_CACHE": str(folder / "cache"), "RAY_TMPDIR": str(folder)}
    modules = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    ray = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    ray["RAY_worker_niceness"] = "0"  # as `cluster up` has it
    cluster = RayCluster(folder, {**os.environ, **home, **ray, "PYTHONPATH": modules})
    try:
        yield cluster
    finally:
        cluster.close()


class _Host:
    def __init__(self, folder):
        self._folder, self._more, self._cluster, self._port = folder, [], None, 0

    def start(self):
        from ray.cluster_utils import Cluster

        from lineup.inference.cluster import connection

        where = {"temp_dir": str(self._folder / "ray"), "include_dashboard": False}
        where |= {"port": self._port} if self._port else {}
        self._cluster = Cluster(True, head_node_args={**NODE, **where})
        self._port = int(self._cluster.address.rpartition(":")[2])
        connection.connect(self._cluster.address, connection.ALWAYS)
        return self._cluster.address

    def deploy(self, text, folder, timeout_s=300):
        from cluster_fakes import FakeReplica

        from lineup.inference.cluster import control
        from lineup.inference.cluster.settings import Settings

        return control.deploy(Settings(text, folder), True, "", timeout_s, FakeReplica).to_json()

    def remove(self):
        from lineup.inference.cluster import control

        return control.remove()

    def seen(self):
        from lineup.inference.cluster import status

        return status.seen().to_json()

    def add_node(self):
        self._more.append(self._cluster.add_node(**NODE))

    def remove_node(self):
        self._cluster.remove_node(self._more.pop(), allow_graceful=False)

    def end(self):
        """End the cluster, control service first, as a machine that fails does."""
        import ray

        ray.shutdown()
        self._cluster.shutdown()


def _main():
    host, results = _Host(Path(sys.argv[1])), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray writes to it
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            result = {"value": getattr(host, name)(*arguments)}
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=results, flush=True)
    if host._cluster:
        host.end()
    os._exit(0)


if __name__ == "__main__":
    _main()
