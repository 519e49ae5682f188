"""A real Ray of three raylets on this machine: a head without cores, and two nodes that execute."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

_SERVE = """
import json, os, signal, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = {}
def add():
    node = cluster.add_node(num_cpus=2)
    nodes[node.node_id] = node
add(), add()
print(json.dumps({"address": cluster.address}), flush=True)
for line in sys.stdin:
    wanted = line.strip()
    cluster.remove_node(nodes.pop(wanted), allow_graceful=False)
    print(json.dumps({"killed": wanted}), flush=True)
cluster.shutdown()
"""


def missing() -> str:
    """Why no Ray can be started here; empty where it can."""
    return "" if find_spec("ray") else "ray is not installed: pip install ray"


class RayCluster:
    """Raylets that live until `close`."""

    def __init__(self) -> None:
        variables = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
        )
        self.address: str = self._answer()["address"]

    def kill_node(self, node_id: str) -> None:
        """End a raylet and what it executes without asking."""
        assert self._process.stdin is not None
        self._process.stdin.write(node_id + "\n")
        self._process.stdin.flush()
        assert self._answer()["killed"] == node_id

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _answer(self) -> dict[str, str]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise AssertionError("Ray did not start")
