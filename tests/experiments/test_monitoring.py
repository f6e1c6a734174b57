import json
import signal
import urllib.request

import pytest

from tests.processes import running, until
from tests.programs import free_port

pytestmark = pytest.mark.process


def test_it_watches_the_demo_with_real_servers_and_leaves_nothing_behind() -> None:
    addresses = [f"127.0.0.1:{free_port()}" for _server in range(2)]
    command = ("monitoring", "--prometheus", addresses[0], "--alertmanager", addresses[1])
    with running("experiments.main", *command, ready=None, deadline_seconds=60) as program:
        until(lambda: any("Ctrl-C" in line for line in program.lines), "all servers serve", 120)

        def up() -> dict[str, str]:
            with urllib.request.urlopen(f"http://{addresses[0]}/api/v1/query?query=up", timeout=10) as answer:
                series = json.load(answer)["data"]["result"]
            return {each["metric"].get("role", each["metric"]["job"]): each["value"][1] for each in series}

        expected = dict.fromkeys(("receiver", "forwarder", "probe", "prometheus", "alertmanager"), "1")
        until(lambda: up() == expected, "Prometheus scrapes all daemons and itself", 60)
        program.send_signal(signal.SIGINT)
        assert program.wait(60) == 0
    for address in addresses:
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"http://{address}/", timeout=10)


@pytest.mark.parametrize("target", ["receiver", "receiver=9472"])
def test_a_target_that_is_none_is_refused(target: str) -> None:
    with running("experiments.main", "monitoring", "--target", target, ready=None, exit_code=2) as program:
        assert program.wait() == 2
        assert "is not ROLE=HOST:PORT" in program.log
