"""What an earlier process left behind is finished or removed, and never what somebody still needs."""

import os
import threading
from pathlib import Path

import pytest
from blake3 import blake3
from services.downloader.tests.records import File, new_id
from services.downloader.tests.simulation import TOPIC_ID

from penstock_downloader.deliveredlog import DeliveredLog, Entry
from penstock_downloader.delivery import Abandoned, Delivery, DeliveryThread, Tenure
from penstock_downloader.identity import Destination, open_destination
from penstock_downloader.partials import Partials
from penstock_downloader.recovery import finish_deliveries, remove_orphans
from penstock_downloader.sink import FileSystemSink
from servicekit import faults


@pytest.fixture
def destination(tmp_path) -> Destination:
    return open_destination(str(tmp_path), "destination")


def put_partial(destination: Destination, file: File) -> str:
    """Write a finished partial with the attributes that its file shall have, an old mtime among them."""
    path = os.path.join(destination.partials, str(file.upload_id))
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    os.write(fd, file.data)
    sink = FileSystemSink(destination.root)
    sink.dress(fd, path, file.upload_id, file.description, b"d" * 32)
    sink.close()
    os.close(fd)
    return path


def test_a_finished_partial_is_no_orphan_although_its_file_is_old(destination):
    path = put_partial(destination, File("a", b"bytes", new_id()))
    remove_orphans(destination, set(), 3600)
    assert os.path.exists(path)


def test_a_partial_that_any_log_of_the_volume_names_is_no_orphan(destination):
    file = File("a", b"bytes", new_id())
    path = put_partial(destination, file)
    log = DeliveredLog(os.path.join(destination.delivered, TOPIC_ID, "7"))
    log.append([Entry(file.upload_id, 3, b"d" * 32, "a")])
    log.close()
    remove_orphans(destination, set(), -3600)
    assert os.path.exists(path)


def test_a_partial_that_nobody_has_touched_for_long_goes_unless_it_is_known(destination):
    known, unknown = (put_partial(destination, File(name, b"bytes", new_id())) for name in "ab")
    remove_orphans(destination, {os.path.basename(known)}, -3600)
    assert os.path.exists(known)
    assert not os.path.exists(unknown)


def log_of(destination: Destination) -> DeliveredLog:
    return DeliveredLog(os.path.join(destination.delivered, TOPIC_ID, "0"))


def finish(destination: Destination) -> DeliveredLog:
    """Do what an assignment begins with; give the log as it is then."""
    log, sink = log_of(destination), FileSystemSink(destination.root)
    present = set(os.listdir(destination.partials))
    finish_deliveries(sink, Tenure(0, log, 0), Partials(destination.partials), present)
    sink.close()
    return log


@pytest.mark.parametrize("mode", [0o640, 0o200])
def test_a_file_that_was_logged_gets_its_name(destination, mode):
    file = File("a", b"bytes", new_id(), mode=mode)
    put_partial(destination, file)
    log = log_of(destination)
    log.append([Entry(file.upload_id, 3, blake3(b"bytes").digest(), "a")])
    log.close()
    finish(destination).close()
    delivered = Path(destination.root, "a")
    assert delivered.stat().st_mode & 0o777 == mode
    assert delivered.read_bytes() == b"bytes"


def test_a_partial_that_is_not_what_was_logged_gets_no_name_and_is_read_again(destination):
    file = File("a", b"half of the by", new_id())
    partial = put_partial(destination, file)
    log = log_of(destination)
    log.append([Entry(file.upload_id, 3, blake3(b"half of the bytes").digest(), "a")])
    log.close()
    log = finish(destination)
    assert log.find(file.upload_id) is None
    log.close()
    assert not os.path.exists(partial)
    assert not os.path.exists(os.path.join(destination.root, "a"))


class TakenAwayWhileTheDiskIsFull:
    """The partition goes to another process after the first attempt to log."""

    def __init__(self) -> None:
        self.asked = 0

    def sink_unavailable(self, problem) -> None:
        pass

    def confirm(self, tenure) -> bool:
        self.asked += 1
        return self.asked == 1


def test_nothing_is_logged_for_a_partition_that_was_lost_while_the_disk_was_full(destination):
    faults.arm({"PENSTOCK_FAIL_AT": "delivered-log.append=ENOSPC:1"})
    woken = threading.Event()
    sink, log = FileSystemSink(destination.root), log_of(destination)
    thread = DeliveryThread(
        sink,
        Partials(destination.partials),
        TakenAwayWhileTheDiskIsFull(),
        retry_seconds=0.001,
        wake=woken.set,
    )
    file = File("a", b"bytes", new_id())
    tenure = Tenure(0, log, 0)
    digest = blake3(file.data).digest()
    thread.submit(Delivery(tenure, file.upload_id, 0, file.description, digest, 0, value=file.data))
    assert woken.wait(10)
    assert thread.close(10)
    faults.arm({})
    assert [type(outcome) for outcome in thread.outcomes()] == [Abandoned]
    assert log.recent() == []
    log.close()
    sink.close()
