"""Training on a GPU: `python -m benchmarks.gpu prepare amazon-beauty-2014 FOLDER` here, then `python -m benchmarks.gpu FOLDER` where the GPU is.

The second command needs numpy, torch and pydantic, this folder of the project and FOLDER (some 40 MB for Beauty), and ends within
`--seconds`. It tells whether losses, gradients and ranks are those of the CPU, and for each way of training seconds of an epoch, how much
of the time the GPU was busy, the most memory, and NDCG@20 on validation after the same epochs, by which a faster way has to stand
beside float32. A way that fails is a row that says why.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.config import Config
from engine.config_files import build_config
from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN, VALID, Dataset, Items
from engine.evaluation.evaluator import Evaluator
from engine.evaluation.ranking import rank_targets
from engine.methods.model import Model
from engine.methods.semantics import Semantics
from engine.models.backbone import Backbone
from engine.training.optimizer import Optimizers

FILE = "gpu.npz"
METHODS = {"plain": {"method": "plain"}, "sracl": {"method": "sracl", "provider": "titles", "vector": "item-mean"}}
WAYS = ("float32", "tf32", "bfloat16", "compile", "graph")
GOAL = "The goal is 3 s an epoch of Beauty with SRA-CL."
STILL = {"dropout": 0.0, "attention_dropout": 0.0, "weight_dropout": 0.0, "swap": 0.0}
"""Settings without random numbers, which differ between devices."""
COMPARED, PROFILED, WARM = 2048, 20, 3
"""Users whose ranks are compared; steps that are profiled; steps before a graph is captured."""


def pack(dataset: Dataset, semantics: Semantics, item_vectors: NDArray[np.float32], folder: Path) -> Path:
    """Save what a training reads; titles are left out, and vectors of prefixes, which are means of those of items."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / FILE,
        name=np.array(dataset.name),
        sequence=dataset.sequence,
        offsets=dataset.offsets,
        items=item_vectors,
        neighbors=semantics.neighbors.numpy().astype(np.int32),
        similarity=semantics.similarity.numpy(),
        substitutes=semantics.substitutes.numpy().astype(np.int32),
        item_similarity=semantics.item_similarity.numpy(),
    )
    return folder / FILE


def unpack(folder: Path) -> tuple[Dataset, Semantics]:
    """The data of `pack`."""
    with np.load(folder / FILE) as file:
        read = {name: file[name] for name in file.files}
    names = [str(number) for number in range(1, len(read["items"]))]
    catalog = Items(raw_ids=names, titles=names, attributes=[{}] * len(names))
    users = [str(number) for number in range(1, len(read["offsets"]))]
    dataset = Dataset(str(read["name"]), users, catalog, read["sequence"], read["offsets"], None)
    ids = dataset.anchors.ids(TRAIN)
    rows = torch.zeros(len(dataset.anchors) + 1, dtype=torch.long)
    rows[ids] = torch.arange(1, len(ids) + 1)
    items = torch.from_numpy(read["items"])
    return dataset, Semantics(
        user_vectors=_means(dataset, items, torch.from_numpy(ids)),
        user_rows=rows,
        neighbors=torch.from_numpy(read["neighbors"]),
        similarity=torch.from_numpy(read["similarity"]),
        item_vectors=items,
        substitutes=torch.from_numpy(read["substitutes"]).long(),
        item_similarity=torch.from_numpy(read["item_similarity"]),
    )


def _means(dataset: Dataset, items: Tensor, ids: Tensor) -> Tensor:
    """(A + 1, S) means of the vectors of each prefix's last items, behind a row of zeros."""
    windows = PaddedWindows(dataset, build_config().data.max_length, "cpu")
    means = torch.zeros(len(ids) + 1, items.shape[1])
    items = items.clone()
    items[0] = 0  # padding
    for part, rows in zip(ids.split(4096), torch.arange(1, len(ids) + 1).split(4096), strict=True):
        packed = windows.pack(part)
        window = packed.items.view(len(part), -1)
        filled = items.any(1)[window].sum(1, keepdim=True).clamp(min=1)
        means[rows] = items[window].sum(1) / filled
    return means


class Training:
    """A model on a device, trained in one of the ways."""

    def __init__(
        self,
        config: Config,
        data: tuple[Dataset, Semantics],
        device: torch.device,
        *,
        way: str = "float32",
        backend: str,
    ) -> None:
        torch.manual_seed(config.train.seed)
        dataset, semantics = data
        window = config.data.max_length
        self.windows = Windows(dataset, window) if device.type == "cpu" else PaddedWindows(dataset, window, device)
        moved = semantics.to(device) if config.needs else None
        self.model = Model(config, dataset=dataset, windows=self.windows, semantics=moved).to(device)
        self.optimizers = Optimizers(self.model.groups(), lr=config.train.lr, weight_decay=config.train.weight_decay)
        self.model.start()
        self._config, self._dataset, self._way = config, dataset, way
        self._evaluator = Evaluator(config, dataset, self.windows)
        self._graphed: _Graph | None = None
        if way == "compile":
            self.model.backbone.compile(backend=backend, dynamic=device.type == "cpu")

    def batches(self, epoch: int) -> list[Tensor]:
        """The batches of an epoch, as a run draws them."""
        generator = torch.Generator().manual_seed(self._config.train.seed * 1_000_003 + epoch)
        ids = torch.from_numpy(self._dataset.anchors.ids(TRAIN))
        return self.windows.batches(ids, self._config.train.batch, generator)

    def step(self, ids: Tensor) -> Tensor:
        """One update; the loss on the device."""
        if self._way != "graph" or len(ids) != self._config.train.batch:
            return self.update(ids)
        if self._graphed is None:
            self._graphed = _Graph(self, ids)
        return self._graphed(ids)

    def update(self, ids: Tensor) -> Tensor:
        """One update, launched kernel by kernel."""
        loss = self.model.losses(ids, self.windows).total
        self.optimizers.zero_grad()
        loss.backward()
        self.optimizers.step("all")
        return loss.detach()

    def ndcg(self) -> float:
        """NDCG@20 on validation."""
        self.model.eval()
        with _not_compiled(self.model.backbone):
            scores = self._evaluator.validate(self.model.backbone, self._dataset.anchors.ids(VALID))
        self.model.train()
        return scores["ndcg@20"]


@contextmanager
def _not_compiled(backbone: Backbone) -> Iterator[None]:
    """Evaluation has other shapes than a step, and would be compiled anew."""
    compiled, backbone._compiled_call_impl = backbone._compiled_call_impl, None
    yield
    backbone._compiled_call_impl = compiled


class _Graph:
    """A step recorded once and launched as a whole; random numbers go on from launch to launch."""

    def __init__(self, training: Training, ids: Tensor) -> None:
        for optimizer in training.optimizers.by_group.values():
            for group in optimizer.param_groups:
                group["capturable"] = True
        self._ids = ids.clone()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM):
                training.update(self._ids)
        torch.cuda.current_stream().wait_stream(aside)
        training.optimizers.zero_grad()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = training.update(self._ids)

    def __call__(self, ids: Tensor) -> Tensor:
        self._ids.copy_(ids)
        self._graph.replay()
        return self._loss


def agreement(method: str, data: tuple[Dataset, Semantics], device: torch.device, batch: int) -> dict[str, float]:
    """How far loss, gradients and ranks there are from those of the CPU, without dropout, in float32."""
    still = STILL if method == "sracl" else {name: STILL[name] for name in ("dropout", "attention_dropout")}
    config = build_config(METHODS[method], {**still, "batch": batch})
    here, there = (Training(config, data, place, backend="") for place in (torch.device("cpu"), device))
    ids = here.batches(1)[0]
    losses = []
    for one in (here, there):
        one.model.train()
        loss = one.model.losses(ids, one.windows).total
        loss.backward()
        losses.append(float(loss.detach()))
    pairs = [
        (a.grad, b.grad.cpu())
        for a, b in zip(here.model.parameters(), there.model.parameters(), strict=True)
        if a.grad is not None and b.grad is not None
    ]
    gradients = max(float((a - b).norm() / a.norm().clamp(min=1e-12)) for a, b in pairs)
    users = data[0].anchors.ids(VALID)[:COMPARED]
    ranks = [rank_targets(one.model.backbone, one.windows, data[0], users, config.evaluate) for one in (here, there)]
    return {
        "loss": abs(losses[1] - losses[0]) / abs(losses[0]),
        "gradients": gradients,
        "ranks": float((ranks[0] != ranks[1]).mean()),
    }


def measured(training: Training, device: torch.device, epochs: int, until: float) -> dict[str, Any]:
    """Train some epochs, or as many as end in time: seconds of each, NDCG@20, memory, and how much of the time the device was busy."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    training.model.train()
    seconds: list[float] = []
    loss = torch.zeros(())
    for epoch in range(1, epochs + 1):
        if seconds and time.perf_counter() + max(seconds) > until:
            break
        batches = training.batches(epoch)
        wait()
        started = time.perf_counter()
        for ids in batches:
            loss = training.step(ids)
        wait()
        seconds.append(time.perf_counter() - started)
    steady = seconds[1:] or seconds  # the first one compiles, records and warms up
    found: dict[str, Any] = {
        "epochs": len(seconds),
        "first": seconds[0],
        "seconds": median(steady),
        "ndcg@20": training.ndcg(),
        "loss": float(loss),
        "gigabytes": torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else None,
    }
    if device.type == "cuda":
        found["busy"] = _busy(training, wait)
    return found


def _busy(training: Training, wait: Callable[[], None]) -> float:
    """Share of the time of some steps in which a kernel ran."""
    from torch.profiler import ProfilerActivity, profile

    batches = training.batches(1)[:PROFILED]
    wait()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        started = time.perf_counter()
        for ids in batches:
            training.step(ids)
        wait()
        took = time.perf_counter() - started
    return sum(event.self_device_time_total for event in seen.key_averages()) / 1e6 / took


def row(
    method: str, way: str, data: tuple[Dataset, Semantics], given: argparse.Namespace, until: float
) -> dict[str, Any]:
    """One way of training one method."""
    device = torch.device(given.device)
    found: dict[str, Any] = {"method": method, "way": way}
    if way in ("graph", "tf32") and device.type != "cuda":
        return found | {"problem": "needs CUDA"}
    if time.perf_counter() > until:
        return found | {"problem": "no time was left"}
    torch.backends.cuda.matmul.allow_tf32 = way == "tf32"
    precision = {"precision": "bfloat16"} if way == "bfloat16" else {}
    try:
        config = build_config(METHODS[method], {**precision, "batch": given.batch})
        training = Training(config, data, device, way=way, backend=given.backend)
        return found | measured(training, device, given.epochs, until)
    except Exception as error:  # a way that a machine cannot go is a row of the table
        return found | {"problem": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:120]}
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


def table(document: dict[str, Any]) -> str:
    """The document as Markdown."""
    lines = [
        f"{document['device']}, torch {document['torch']}, {document['data']}, batch {document['batch']}. {GOAL}",
        "",
        "| method | loss, relative difference to the CPU | gradients, largest | ranks that differ |",
        "|---|---:|---:|---:|",
    ]
    for method, found in document["agreement"].items():
        lines.append(f"| {method} | {found['loss']:.1e} | {found['gradients']:.1e} | {found['ranks']:.2%} |")
    lines += [
        "",
        "| method | way | epoch, s | against float32 | first epoch, s | busy | GB | NDCG@20 after epochs | loss |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    base = {one["method"]: one["seconds"] for one in document["rows"] if one["way"] == "float32" and "seconds" in one}
    for one in document["rows"]:
        if "problem" in one:
            lines.append(f"| {one['method']} | {one['way']} | {one['problem']} | | | | | | |")
            continue
        ratio = f"{one['seconds'] / base[one['method']]:.2f}" if one["method"] in base else ""
        busy, memory = one.get("busy"), one["gigabytes"]
        lines.append(
            f"| {one['method']} | {one['way']} | {one['seconds']:.2f} | {ratio} | {one['first']:.2f} | "
            f"{'' if busy is None else f'{busy:.0%}'} | {'' if memory is None else f'{memory:.2f}'} | "
            f"{one['ndcg@20']:.4f} after {one['epochs']} | {one['loss']:.5f} |"
        )
    return "\n".join(lines) + "\n"


def run(given: argparse.Namespace) -> dict[str, Any]:
    """All rows, one after the other; the file is written after each, so that one that is cut short has what was measured."""
    started = time.perf_counter()
    device = torch.device(given.device)
    data = unpack(given.folder)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    document: dict[str, Any] = {
        "device": name,
        "torch": torch.__version__,
        "data": data[0].name,
        "batch": given.batch,
        "agreement": {method: agreement(method, data, device, given.batch) for method in METHODS},
        "rows": [],
    }
    asked = [(method, way) for way in given.ways for method in METHODS]
    for number, (method, way) in enumerate(asked):
        now = time.perf_counter()
        until = now + (started + given.seconds - now) / (len(asked) - number)
        document["rows"].append(row(method, way, data, given, until))
        sys.stdout.write(json.dumps(document["rows"][-1]) + "\n")
        sys.stdout.flush()
        if given.out is not None:
            given.out.write_text(table(document), "utf-8")
    return document


def main(words: list[str] | None = None) -> None:
    """`prepare` or measure."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["prepare"]:
        _prepare(*words[1:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--seconds", type=float, default=420.0, help="for all of it; each way has an equal part of what is left"
    )
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=build_config().train.batch)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    parser.add_argument("--out", type=Path, help="a Markdown file")
    given = parser.parse_args(words)
    sys.stdout.write("\n" + table(run(given)))


def _prepare(name: str, folder: str) -> None:
    from benchmarks.conftest import _load

    with TemporaryDirectory() as cache:
        made = _load(name, Path(cache))
    path = pack(made.dataset, made.semantics(build_config(METHODS["sracl"])), made.items, Path(folder))
    sys.stdout.write(f"{path}: {path.stat().st_size / 1e6:.0f} MB\n")


if __name__ == "__main__":
    main()
