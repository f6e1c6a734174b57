"""The daemons' metrics as a Prometheus server has them, told apart by the daemon that they are of."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict
from typing import Any

from daemons.errors import ConfigError, LatencyError
from daemons.service.settings.config import is_loopback
from experiments.live.scrape import Labels, NoPage, ScrapedPage
from experiments.live.targets import ROLES, ScrapeTarget

__all__ = ["ask", "server_url"]

TIMEOUT_SECONDS = 10.0
JOB = "latency"
"""The job's name in ``prometheus.yml``, on which rules and dashboards rely too."""

_QUERY = f'{{job="{JOB}",__name__=~"up|latency_.*"}}'
_OF_TARGETS = frozenset({"__name__", "job", "instance", "deployment", "site", "region", "host", "role", "zone"})


def server_url(where: str, text: str) -> str:
    """Read ``HOST:PORT`` or a URL of a server.

    Raises:
        ConfigError: it is neither.
    """
    url = text if "://" in text else f"http://{text}"
    parts = urllib.parse.urlsplit(url)
    try:
        _port = parts.port
    except ValueError as error:
        raise ConfigError(where, f"{text!r}: {error}", "write HOST:PORT or http://HOST:PORT") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(where, f"{text!r} is no server", "write HOST:PORT or http://HOST:PORT")
    return url.rstrip("/")


def ask(url: str) -> dict[ScrapeTarget, ScrapedPage | NoPage]:
    """Get all daemons' latest samples.

    Returns:
        Of each target of the job its page, or why there is none.

    Raises:
        LatencyError: the server does not answer, or knows no target of the job.
    """
    query = urllib.parse.urlencode({"query": _QUERY})
    # A proxy of the environment's (http_proxy) is another machine, on which this one's loopback is its own.
    here = is_loopback(urllib.parse.urlsplit(url).hostname or "")
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if here else []))
    try:
        with opener.open(f"{url}/api/v1/query?{query}", timeout=TIMEOUT_SECONDS) as answer:
            found = json.loads(answer.read())["data"]["result"]
    except urllib.error.HTTPError as error:
        with error:
            raise LatencyError(f"{url}: no answer of Prometheus ({error.code} {error.reason}); is it there?") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = str(error)
        raise LatencyError(f"{url}: no answer of Prometheus ({why}); is it running there?") from error
    pages = _apart(found)
    if not pages:
        raise LatencyError(f"{url}: Prometheus has no target of job {JOB!r}; docs/monitoring.md has its configuration")
    return pages


def _apart(series: list[dict[str, Any]]) -> dict[ScrapeTarget, ScrapedPage | NoPage]:
    """Sort samples by target."""
    samples: dict[ScrapeTarget, dict[str, dict[Labels, float]]] = defaultdict(lambda: defaultdict(dict))
    down: set[ScrapeTarget] = set()
    for one in series:
        metric: dict[str, str] = one["metric"]
        role = metric.get("role", "")
        target = ScrapeTarget(role if role in ROLES else "", metric.get("instance", ""))
        name, value = metric["__name__"], float(one["value"][1])
        if name == "up":
            samples[target]  # it is there, whatever it says
            if not value:
                down.add(target)
            continue
        labels = frozenset((key, text) for key, text in metric.items() if key not in _OF_TARGETS)
        samples[target][name][labels] = value
    return {
        target: NoPage("Prometheus cannot scrape it") if target in down or not pages else ScrapedPage(pages)
        for target, pages in sorted(samples.items())
    }
