"""``latency-forwarder`` whose kernel keeps what TCP cannot send at once: for what the limit on that costs."""

import daemons.stream.dial
from daemons.forwarder.main import main as forwarder_main

__all__: list[str] = []

NO_LIMIT = (1 << 31) - 1
"""The greatest int of C (ip-sysctl: tcp_notsent_lowat)."""

if __name__ == "__main__":
    daemons.stream.dial.UNSENT_BYTES = NO_LIMIT
    forwarder_main()
