"""`benchmarks.gpu` with tiny numbers on a CPU, so that it works where a GPU is lent for minutes."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from argparse import Namespace

import numpy as np
import pytest
import torch

from benchmarks import gpu
from tests.support.commands import ROOT


@pytest.fixture
def folder(tmp_path, make_dataset, make_semantics):
    dataset = make_dataset(users=60, shortest=3)
    semantics = make_semantics(dataset)
    gpu.pack(dataset, semantics, semantics.item_vectors.numpy(), tmp_path)
    return tmp_path


def test_a_table_has_every_way(folder, capsys):
    out = folder / "table.md"
    gpu.main(
        [str(folder), "--device", "cpu", "--epochs", "2", "--batch", "32", "--backend", "eager", "--out", str(out)]
    )
    text = out.read_text()
    assert capsys.readouterr().out.endswith(text)
    same = re.findall(r"\| (plain|sracl) \| (\S+) \| (\S+) \| (\S+) \|$", text, re.M)
    assert same == [(method, "0.0e+00", "0.0e+00", "0.00%") for method in ("plain", "sracl")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[8:]]
    assert [(one[1], one[0]) for one in rows] == [(way, method) for way in gpu.WAYS for method in gpu.METHODS]
    by_way = {(one[0], one[1]): one for one in rows}
    for method in gpu.METHODS:
        for way in ("float32", "bfloat16", "compile"):
            assert float(by_way[method, way][2]) > 0
            assert by_way[method, way][7].endswith("after 2")
        for way in ("tf32", "graph"):
            assert by_way[method, way][2] == "needs CUDA"
        assert by_way[method, "compile"][7:] == by_way[method, "float32"][7:], (
            "torch's compiler without a back end changes nothing"
        )
        assert by_way[method, "bfloat16"][8] != by_way[method, "float32"][8]


def test_what_is_unpacked_is_what_was_packed(folder, make_dataset, make_semantics):
    dataset, semantics = gpu.unpack(folder)
    before = make_dataset(users=60, shortest=3)
    packed = make_semantics(before)
    np.testing.assert_array_equal(dataset.anchors.targets, before.anchors.targets)
    for name in ("neighbors", "substitutes", "similarity", "item_similarity", "item_vectors"):
        torch.testing.assert_close(getattr(semantics, name), getattr(packed, name), check_dtype=False)
    ids = dataset.anchors.ids(0)
    for anchor in ids[::11]:
        window = dataset.history(int(anchor), 20)
        mean = packed.item_vectors[torch.from_numpy(window).long()].mean(0)
        torch.testing.assert_close(semantics.user_vectors[semantics.user_rows[anchor]], mean)


def test_a_way_that_fails_is_a_row(folder, monkeypatch):
    def fails(*words, **named):
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(gpu, "measured", fails)
    given = Namespace(device="cpu", batch=32, epochs=1, backend="eager")
    data = gpu.unpack(folder)
    late = time.perf_counter() + 60
    assert gpu.row("plain", "float32", data, given, late)["problem"] == "RuntimeError: out of memory"
    assert gpu.row("plain", "float32", data, given, time.perf_counter() - 1)["problem"] == "no time was left"


def test_it_needs_little():
    """Of what is installed it imports numpy, torch and pydantic, and what they import."""
    code = (
        "import sys, numpy, torch, pydantic; before = set(sys.modules); import benchmarks.gpu; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    allowed = {"benchmarks", "engine", "numpy", "torch", "pydantic", "annotated_types", "typing_extensions"}
    assert set(found.stdout.split()) <= allowed | {"pydantic_core", "typing_inspection"}
