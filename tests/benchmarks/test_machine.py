"""What benchmarks ask the kernel about a process whose threads come and go."""

import sys

from benchmarks.machine import Process, children_of, threads_of
from tests.processes import until

BURNS = """
import json, threading, time
def burn():
    end = time.thread_time() + 0.1
    while time.thread_time() < end:
        pass
for _turn in range(3):
    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()
print(json.dumps({"said": time.process_time()}), flush=True)
input()
"""
RESTLESS = """
import json, subprocess, sys, threading
begotten = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(json.dumps({"said": begotten.pid}), flush=True)
while True:
    threading.Thread(target=int).start()
"""


def child(script: str) -> Process:
    return Process([sys.executable, "-c", script], core=None)


def test_the_cpu_time_of_threads_that_have_ended_counts() -> None:
    with child(BURNS) as process:
        said = process.answer()["said"]
        # Three threads' of a tenth, none of which is there any more.
        assert 0.3 <= said <= process.cpu_seconds()
        # A thread that Python has joined may take the kernel a moment more to take away.
        until(lambda: threads_of(process.pid) == {process.pid}, "only the first thread is left")
        assert process.wake_ups() > 0


def test_threads_that_end_between_two_looks_are_no_error() -> None:
    with child(RESTLESS) as process:
        begotten = process.answer()["said"]
        for _look in range(300):
            assert process.pid in threads_of(process.pid)
            assert children_of(process.pid) == {begotten}
            assert process.wake_ups() >= 0
    assert threads_of(process.pid) == children_of(process.pid) == set()
