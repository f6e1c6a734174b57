"""Packs dashboards, rules and their README for import elsewhere: ``python -m grafana.archive FOLDER``.

The same sources give the same bytes.
"""

import gzip
import io
import sys
import tarfile
from pathlib import Path

from daemons.service.distribution import DISTRIBUTION, installed_version

__all__ = ["PARTS", "archive"]

ROOT = Path(__file__).parents[1]
PARTS = {
    "README.md": "grafana/README.md",
    "LICENSE": "LICENSE",
    "dashboards": "grafana/dashboards",
    "provisioning": "grafana/provisioning",
    "prometheus/rules": "prometheus/rules",
    "prometheus/remote-write": "prometheus/remote-write",
    "prometheus/prometheus.yml": "prometheus/prometheus.yml",
    "prometheus/alertmanager.yml": "prometheus/alertmanager.yml",
}
"""What lies where in the archive, and where in the checkout."""


def archive(folder: Path) -> Path:
    """Write the archive into a folder, and return it."""
    name = f"{DISTRIBUTION}-monitoring-{installed_version()}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for place, source in PARTS.items():
            found = ROOT / source
            for file in sorted(found.rglob("*")) if found.is_dir() else [found]:
                if file.is_file():
                    inside = Path(name, place, file.relative_to(found)) if found.is_dir() else Path(name, place)
                    # Neither owner nor time: both would make the bytes another's.
                    entry = tarfile.TarInfo(str(inside))
                    entry.size = file.stat().st_size
                    with file.open("rb") as content:
                        tar.addfile(entry, content)
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{name}.tar.gz"
    made.write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    return made


if __name__ == "__main__":
    sys.stdout.write(f"{archive(Path(*sys.argv[1:2]))}\n")
