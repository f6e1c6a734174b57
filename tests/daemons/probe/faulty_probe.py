"""latency-probe with a fault in it: requests to one target end in an exception that tells the request."""

from daemons.probe.http.http1 import Http1
from daemons.probe.http.request import Request
from daemons.probe.main import main

FAULTY_PATH = "/faulty"

_request = Http1.request


def _faulty(self: Http1, request: Request) -> bytes:
    if request.path.startswith(FAULTY_PATH):
        local_variable = dict(request.headers)
        raise ValueError(f"{request!r} {local_variable}")
    return _request(self, request)


Http1.request = _faulty  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
