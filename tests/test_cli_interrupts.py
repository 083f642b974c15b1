"""Ctrl-C is heard whenever it comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import psutil  # type: ignore[import-untyped]
import pytest

from kairos.cli.interrupts import insisted
from kairos.cli.run import terminated

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@pytest.mark.timeout(30)  # unheard, it would wait without end
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_the_waiting_thread_did_not_get_itself_ends_its_wait(
    number: signal.Signals,
) -> None:
    # Another thread takes it: as if it had come just before the wait began.
    waits = threading.Event()

    def other() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        waits.wait()
        signal.pthread_kill(threading.get_ident(), number)

    def wait() -> None:
        waits.set()
        threading.Event().wait()

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    taking = threading.Thread(target=other)
    try:
        with terminated() as told:
            taking.start()
            with pytest.raises(KeyboardInterrupt):
                wait()
        assert told == ([] if number == signal.SIGINT else [number])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        taking.join()


def test_nothing_is_left_of_it() -> None:
    open_before = psutil.Process().num_fds()
    handler = signal.getsignal(signal.SIGURG)
    with insisted():
        assert signal.getsignal(signal.SIGURG) is not handler
    assert signal.getsignal(signal.SIGURG) is handler
    assert signal.set_wakeup_fd(-1) == -1
    assert psutil.Process().num_fds() == open_before
    assert "kairos-interrupts" not in {thread.name for thread in threading.enumerate()}


def test_who_listens_to_signals_already_goes_on_listening() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing)
    try:
        with insisted():
            pass
        assert signal.set_wakeup_fd(before) == writing
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def test_ctrl_c_before_there_is_a_command_leaves_no_stack() -> None:
    program = """
import sys

class Pressed:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Pressed())
sys.argv = ["kairos", "mcp", "serve", "flows.py"]
from kairos.cli import main
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
