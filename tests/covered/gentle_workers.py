"""A plugin of pytest: workers get to write down what they covered before they end.

They are killed at the end otherwise, since somebody's file may hold them. One that was lost is killed here too.
"""

import contextlib
import subprocess

SECONDS_TO_WRITE = 10.0


def pytest_configure(config):
    from oracle.subjects import remote  # not before coverage.py has started

    kill = remote.Worker.stop

    def stop(worker):
        process = worker._process
        if process is not None and worker._gone is None:
            with contextlib.suppress(subprocess.TimeoutExpired, OSError):  # it may have ended by itself
                process.stdin.close()  # at the end of its input a worker returns
                process.wait(SECONDS_TO_WRITE)
        kill(worker)

    remote.Worker.stop = stop
