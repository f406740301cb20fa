import os
import sys

import pytest

from servicekit.filesystem import is_open_for_writing


@pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux'")
def test_a_file_that_somebody_writes_to_is_known(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    fd = os.open(path, os.O_RDONLY)
    try:
        assert not is_open_for_writing(fd)
        with path.open("ab"):
            assert is_open_for_writing(fd)
        assert not is_open_for_writing(fd)
    finally:
        os.close(fd)
