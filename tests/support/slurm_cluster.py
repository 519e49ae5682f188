"""A real Slurm of two nodes on this machine, of Debian's packages slurm-wlm and munge; root is needed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "srun")
CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
ReturnToService=2
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdTimeout=10
KillWait=5
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=tests Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no Slurm can be started here; empty where it can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed: Debian's packages slurm-wlm and munge have them"
    return "" if os.geteuid() == 0 else "only root can start the daemons of Slurm"


class SlurmCluster:
    """Daemons that live in a folder, until `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("state", "spool-n1", "spool-n2"):
            (folder / name).mkdir()
        folder.chmod(0o755)
        self.config = folder / "slurm.conf"
        self.config.write_text(CONFIG.format(host=socket.gethostname(), folder=folder, ports=_free_ports(3)))
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self._start("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
                    f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munge.seed", f"--log-file={folder}/munged.log")  # fmt: skip
        self._until(lambda: (folder / "munge.socket").exists(), "munged")
        self._start("slurmctld", "-D", "-f", str(self.config))
        for node in ("n1", "n2"):
            self.start_node(node)
        self._until(self.ready, "Slurm")

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._start("slurmd", "-D", "-N", node, "-f", str(self.config), name=node)

    def kill_node(self, node: str) -> None:
        """Kill a node's daemon, and all processes of its jobs."""
        self._processes.pop(node).kill()
        done = subprocess.run(["pgrep", "-f", f"{self.folder}/spool-{node}/"], capture_output=True, text=True)
        scripts = [int(pid) for pid in done.stdout.split()]
        for pid in scripts:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(parent, signal.SIGKILL)
            os.killpg(os.getpgid(pid), signal.SIGKILL)

    def ready(self) -> bool:
        """Whether both nodes are idle."""
        done = subprocess.run(["sinfo", "-hN", "-o", "%T"], env=self.environment(), capture_output=True, text=True)
        return done.stdout.split() == ["idle", "idle"]

    def environment(self) -> dict[str, str]:
        """Of whoever calls Slurm's commands."""
        return {**os.environ, "SLURM_CONF": str(self.config), "PATH": _path()}

    def close(self) -> None:
        """End all daemons."""
        subprocess.run(["scancel", "--user=root"], env=self.environment(), capture_output=True, timeout=30)
        for process in reversed([*self._processes.values()]):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, *words: str, name: str = "") -> None:
        with (self.folder / f"{name or words[0]}.out").open("ab") as out:
            self._processes[name or words[0]] = subprocess.Popen(words, stdout=out, stderr=out, env=self.environment())

    def _until(self, so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 60
        while not so():
            if time.monotonic() > deadline:
                self.close()
                raise TimeoutError(f"{what} did not start: see {self.folder}")
            time.sleep(0.1)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
