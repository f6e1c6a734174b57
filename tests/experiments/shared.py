"""Where the measurements lie that are tested against: beside the checkout, or where ``BACKBONE_SHARED`` says."""

import os
from pathlib import Path

__all__ = ["EGRESS_RUNS"]

_CHECKOUT = Path(__file__).parents[2]
_SHARED = Path(os.environ.get("BACKBONE_SHARED", _CHECKOUT.parent / "shared"))
EGRESS_RUNS = _SHARED / "data" / "egress-2025-10-22"
