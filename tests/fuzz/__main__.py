"""``make fuzz``: coverage-guided fuzzing of every target, each for its part of the time.

Every target runs in a process of its own under libFuzzer (atheris). What is new in coverage is kept under
``dist/fuzz/TARGET`` and used again; a find is printed as a line for ``tests/fuzz/found.txt``, and makes the exit
code 1.
"""

import argparse
import base64
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.corpus import DICTIONARY, seeds
from tests.fuzz.targets import TARGETS

KEPT = Path("dist/fuzz")
_RUNS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERED = re.compile(r"cov: (\d+)")


def prepared(target: str, kept: Path) -> list[str]:
    """Write what the fuzzer starts from; return its arguments."""
    corpus = kept / target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    arguments = [str(corpus), f"-artifact_prefix={kept / target}-"]
    if quoted := ["".join(f"\\x{byte:02x}" for byte in word) for word in DICTIONARY.get(target, ())]:
        words = kept / f"{target}.dict"
        words.write_text("".join(f'"{word}"\n' for word in quoted))
        arguments.append(f"-dict={words}")
    return arguments


def run(target: str, seconds: int, kept: Path) -> tuple[int, bool]:
    """Fuzz one target; return how many inputs it took, and whether something was found."""
    for old in kept.glob(f"{target}-*"):
        old.unlink()
    limits = [
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-rss_limit_mb=2048",
        "-timeout=10",
        "-print_final_stats=1",
    ]
    command = [sys.executable, "-m", "tests.fuzz.one", target, *prepared(target, kept), *limits]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    runs = sum(map(int, _RUNS.findall(done.stderr)))
    covered = (_COVERED.findall(done.stderr) or ["0"])[-1]
    artifacts = sorted(kept.glob(f"{target}-*"))
    sys.stdout.write(f"{target:<20} {runs:>12,} inputs  {covered:>6} edges  {len(artifacts)} found\n")
    for artifact in artifacts:
        sys.stdout.write(f"  {target} {base64.b64encode(artifact.read_bytes()).decode()}\n")
    if done.returncode != 0 or not runs:
        said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("INFO: Instrumenting"))
        sys.stdout.write(said[-4000:] + done.stdout[-3000:])
    sys.stdout.flush()
    return runs, bool(artifacts) or done.returncode != 0 or not runs


def main() -> None:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=260, help="for all targets together")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where new inputs are kept")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], help="default: all")
    arguments = parser.parse_args()
    targets = arguments.targets or list(TARGETS)
    each = max(1, arguments.seconds // len(targets))
    results = [run(target, each, arguments.kept) for target in targets]
    sys.stdout.write(f"{sum(runs for runs, _found in results):,} inputs\n")
    sys.exit(any(found for _runs, found in results))


if __name__ == "__main__":
    main()
