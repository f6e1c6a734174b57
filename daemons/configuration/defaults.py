"""Where the programs meet unless told otherwise: for the sections, for ``--help``, and for who looks for a daemon."""

__all__ = ["FORWARDER_METRICS", "PROBE_METRICS", "RECEIVER_METRICS"]

FORWARDER_METRICS = "127.0.0.1:9471"
RECEIVER_METRICS = "127.0.0.1:9472"
PROBE_METRICS = "127.0.0.1:9473"
