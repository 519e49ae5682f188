"""Settings of every test."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: pytest-xdist gives a worker to each core
