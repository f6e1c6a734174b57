"""One target under libFuzzer: ``python -m tests.fuzz.one TARGET LIBFUZZER-ARGUMENTS``."""

import logging
import sys

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore] # on x86-64 alone

with atheris.instrument_imports(include=["daemons", "experiments", "tests.fuzz", "h11", "websockets", "tomllib"]):
    from daemons.service.log import logs
    from tests.fuzz.targets import TARGETS


def main() -> None:
    # What is told of strange inputs is told by the thousand here.
    logs.configure("json", "error")
    logging.disable(logging.CRITICAL)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]]())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
