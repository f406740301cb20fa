"""Which names may travel, and which can exist elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkproto.paths import collision_key, decode_path, encode_path, path_problem, portability_problem


@given(st.binary())
def test_any_bytes_come_back_as_they_were(raw):
    assert encode_path(decode_path(raw)) == raw


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/x",
        "../../x",
        "a/../../b",
        "a/./b",
        "a//b",
        "a/",
        ".",
        "..",
        "a\0b",
        ".penstock/x",
        "a/.PENSTOCK/b",
        "x" * 4097,
    ],
)
def test_a_path_that_could_leave_its_directory_or_touch_our_state_has_a_problem(path):
    assert path_problem(path)


@pytest.mark.parametrize(
    "path",
    ["a", "a b", "a;b", "a\nb", "📄", "a\\b", "...", ".hidden", "..a", "\udcff", "x/" * 2047 + "x", "-", "~"],
)
def test_an_odd_but_safe_path_has_none(path):
    assert path_problem(path) is None


@pytest.mark.parametrize(
    "path", ["con", "a/NUL.txt", "COM1.tar.gz", "a:b", "a\\b", "a.", "a ", "a/b?", "a\nb", "\udcff", "lpt¹"]
)
def test_a_name_that_windows_or_macos_refuses_is_found(path):
    assert portability_problem(path)


@pytest.mark.parametrize("path", ["console.log", "a b", "a;b", "📄", ".hidden", "com10"])
def test_a_portable_name_is_let_be(path):
    assert portability_problem(path) is None


def test_names_that_differ_in_case_or_normalisation_collide():
    assert collision_key("CAFÉ.txt") == collision_key("cafe\N{COMBINING ACUTE ACCENT}.TXT")
    assert collision_key("a") != collision_key("b")
