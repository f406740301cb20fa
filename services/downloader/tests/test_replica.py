"""A replica has a name that it finds again, and that no other one has."""

import os
import socket
import subprocess
import sys
from contextlib import closing

from penstock_downloader.replica import Replica

HOST = socket.gethostname()


def destination():
    return f"lab-{os.getpid()}"


def test_it_has_the_same_name_after_a_restart():
    for _ in range(2):
        with closing(Replica(destination())) as replica:
            assert replica.program_id == f"{destination()}/{HOST}"


def test_a_second_one_on_the_same_host_has_another_and_the_first_name_becomes_free():
    first = Replica(destination())
    with closing(Replica(destination())) as second, closing(Replica(f"{destination()}-other")) as other:
        assert second.program_id == f"{destination()}/{HOST}-2"
        assert other.program_id == f"{destination()}-other/{HOST}"
        first.close()
        with closing(Replica(destination())) as again:
            assert again.program_id == f"{destination()}/{HOST}"


def test_one_that_was_killed_leaves_its_name():
    code = (
        "import os, sys; from penstock_downloader.replica import Replica;"
        f"print(Replica({destination()!r}).program_id); sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)

    assert killed.stdout.strip() == f"{destination()}/{HOST}"
    with closing(Replica(destination())) as replica:
        assert replica.program_id == f"{destination()}/{HOST}"


def test_where_the_system_has_no_such_names_they_differ_by_process(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")

    assert Replica(destination()).program_id == f"{destination()}/{HOST}-{os.getpid()}"
