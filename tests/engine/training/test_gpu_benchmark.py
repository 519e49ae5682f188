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


def rows_of(folder, *words):
    """Rows of the table by method and way, and the table."""
    out = folder / "table.md"
    gpu.main([str(folder), "--device", "cpu", "--batch", "32", "--out", str(out), *words])
    text = out.read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[9:]]
    return {(one[0], one[1]): one for one in rows}, text


def test_a_table_has_every_way(folder, capsys):
    ways = [way for way in gpu.WAYS if way != "compile"]
    rows, text = rows_of(folder, "--epochs", "2", "--ways", *ways)
    assert capsys.readouterr().out.endswith(text)
    same = re.findall(r"\| (plain|sracl) \| (\S+) \| (\S+) \| (\S+) \|$", text, re.M)
    assert same == [(method, "0.0e+00", "0.0e+00", "0.00%") for method in ("plain", "sracl")]
    assert list(rows) == [(method, way) for way in ways for method in gpu.METHODS]
    for method in gpu.METHODS:
        for way in ("float32", "bfloat16"):
            assert float(rows[method, way][2]) > 0
            assert rows[method, way][7].endswith("after 2")
        for way in ("tf32", "graph"):
            assert rows[method, way][2] == "needs CUDA"
        assert rows[method, "bfloat16"][8] != rows[method, "float32"][8]


@pytest.mark.soak
def test_what_is_compiled_learns_the_same(folder):
    """torch's compiler without a back end changes nothing; tracing takes minutes."""
    rows, _ = rows_of(folder, "--epochs", "1", "--ways", "float32", "compile", "--backend", "eager")
    for method in gpu.METHODS:
        assert rows[method, "compile"][7:] == rows[method, "float32"][7:]


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
    names = {name for name in found.stdout.split() if not name.startswith("_sysconfigdata")}
    assert names <= allowed | {"pydantic_core", "typing_inspection"}
