"""What an earlier process left behind is finished or removed, and never what somebody still needs."""

import os

import pytest
from services.downloader.tests.records import File, new_id
from services.downloader.tests.simulation import TOPIC_ID

from penstock_downloader.deliveredlog import DeliveredLog, Entry
from penstock_downloader.identity import Destination, open_destination
from penstock_downloader.recovery import remove_orphans
from penstock_downloader.sink import FileSystemSink


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
