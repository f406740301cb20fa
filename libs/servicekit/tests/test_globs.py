import pytest

from servicekit.exceptions import ConfigurationError
from servicekit.globs import PathFilter


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.raw", "a.raw", True),
        ("*.raw", "deep/down/a.raw", True),
        ("*.raw", "a.raw.txt", False),
        ("tmp", "tmp/a.raw", True),
        ("tmp/", "x/tmp/a.raw", True),
        ("run1/*.raw", "run1/a.raw", True),
        ("run1/*.raw", "run1/b/a.raw", False),
        ("run1/*.raw", "x/run1/a.raw", False),
        ("run1/**", "run1/b/a.raw", True),
        ("**/raw/*.dat", "raw/a.dat", True),
        ("**/raw/*.dat", "x/y/raw/a.dat", True),
        ("[ab]?", "a1", True),
        ("[!ab]?", "a1", False),
        ("a[", "a[", True),
        ("*", "line\nbreak", True),
        ("a.b", "axb", False),
    ],
)
def test_a_pattern_matches_what_its_documentation_says(pattern, path, matches):
    assert PathFilter([pattern]).wants(path) is matches
    assert PathFilter([], [pattern]).wants(path) is not matches


def test_exclude_wins_over_include():
    assert not PathFilter(["*.raw"], ["a*"]).wants("a.raw")


def test_a_directory_is_passed_over_when_all_in_it_is_excluded():
    wanted = PathFilter([], ["tmp"])
    assert wanted.excludes_directory("x/tmp")
    assert not wanted.excludes_directory("x")


def test_an_empty_pattern_is_refused():
    with pytest.raises(ConfigurationError):
        PathFilter(["/"])
