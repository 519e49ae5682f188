"""The process is set up for training."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from engine.models.cpu import prepare


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


def test_tiny_numbers_are_zero():
    prepare()
    assert float(torch.tensor([1e-30]) * torch.tensor([1e-12])) == 0
