"""Where the lab keeps what it makes, outside the checkout."""

import os
from pathlib import Path

__all__ = ["CACHE", "CHECKOUT", "RUNS"]

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("BACKBONE_LAB_DIR", "/var/cache/backbone-latency-lab"))
"""Base trees and wheelhouses, made once and keyed by what they are made from."""

RUNS = CACHE / "runs"
"""One directory for each lab that is running or was not cleaned up. Not under /tmp: hosts' services cannot see that."""
