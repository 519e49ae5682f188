"""The process is set up for training."""

from __future__ import annotations

import platform
import resource
from pathlib import Path

import pytest
import torch

from engine.models.cpu import give_back, prepare


def faults_of_a_step() -> int:
    """Page faults of taking and freeing 40 MB ten times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept():
    assert prepare()
    faults_of_a_step()
    assert faults_of_a_step() < 10_000  # ten times 9,766 pages where each tensor is mapped anew


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_kept_memory_is_given_back_at_the_end_of_a_stage():
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()

    assert prepare()
    torch.ones(50_000_000)  # 200 MB
    kept = resident()
    assert give_back()
    assert resident() < kept - 150_000_000


def test_tiny_numbers_are_zero():
    prepare()
    assert float(torch.tensor([1e-30]) * torch.tensor([1e-12])) == 0
