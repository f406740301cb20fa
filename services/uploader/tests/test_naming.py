import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_uploader.naming import derived_source_id, prefix_values, relative_path, render_prefix, wire_path
from servicekit.exceptions import ConfigurationError


def test_a_prefix_is_filled_in():
    assert render_prefix("{host}/raw/", {"host": "lab1"}) == "lab1/raw"
    assert render_prefix("", {}) == ""


@pytest.mark.parametrize("template", ["../x", "a//b", "{unknown}", "{host", ".penstock/x", "a\0b"])
def test_a_prefix_that_no_path_can_begin_with_is_refused(template):
    with pytest.raises(ConfigurationError):
        render_prefix(template, prefix_values())


@given(st.text(min_size=1), st.sampled_from(["", "p", "p/q"]))
def test_a_path_comes_back_from_the_wire(path, prefix):
    assert relative_path(prefix, wire_path(prefix, path)) == path


def test_a_path_with_another_prefix_is_not_ours():
    assert relative_path("p", "q/a") is None
    assert relative_path("p", "pa") is None


def test_a_source_keeps_its_id_when_all_state_is_lost_and_directories_differ(tmp_path):
    assert derived_source_id(str(tmp_path)) == derived_source_id(f"{tmp_path}/")
    assert derived_source_id(str(tmp_path)) != derived_source_id(str(tmp_path.parent))
    assert derived_source_id("/").isascii()
