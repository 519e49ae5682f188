"""Settings of every test."""

from __future__ import annotations

import os

from tests.support.commands import ROOT

os.environ["PYTHONPATH"] = str(ROOT)  # processes that the product starts run this checkout's code too
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: pytest-xdist gives a worker to each core
