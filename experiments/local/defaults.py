"""What a command line shows as defaults, where help finds it without what only work needs."""

__all__ = ["ALERTMANAGER", "EVENTS_PER_SECOND", "GRAFANA", "PROMETHEUS"]

EVENTS_PER_SECOND = 200.0
PROMETHEUS, ALERTMANAGER, GRAFANA = "127.0.0.1:9090", "127.0.0.1:9093", "127.0.0.1:3000"
