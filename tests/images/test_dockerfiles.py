"""The Dockerfiles say the same as the distributions, and as each other; images/build suits each builder."""

import json
import re
import subprocess
import sys
import tomllib

import pytest
from tests.images.pods import NAMES, ROOT, USER, VERSION, dockerfile, image

PROJECTS = {
    name: tomllib.loads((dockerfile(name).parent / "pyproject.toml").read_text("utf-8")) for name in NAMES
}


def text_of(name: str) -> str:
    return dockerfile(name).read_text("utf-8")


def stage(name: str, which: str) -> str:
    """The instructions of one stage, with the image's own words taken out."""
    found = re.search(
        rf"^FROM (?:\S+ AS )?{which}\n.*?(?=^FROM |\Z)", text_of(name), re.MULTILINE | re.DOTALL
    )
    assert found, which
    return found[0]


@pytest.mark.parametrize("name", NAMES)
def test_labels_have_the_version_and_the_licence_of_the_distribution(name):
    project, text = PROJECTS[name]["project"], text_of(name)
    assert f"ARG VERSION={project['version']}\n" in text
    assert f'image.licenses="{project["license"]}"' in text
    assert f'image.title="penstock/{name}"' in text
    if name != "broker":
        assert f'image.description="{project["description"]}"' in text


@pytest.mark.parametrize("name", NAMES)
def test_an_image_runs_its_program_as_nobody(name):
    text = text_of(name)
    (program,) = re.findall(
        r'^ENTRYPOINT \["/usr/bin/tini", "-s", "--", "/opt/penstock/bin/(\S+)"\]$', text, re.MULTILINE
    )
    assert program in PROJECTS[name]["project"]["scripts"]
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == [f"{USER}:{USER}"]


@pytest.mark.parametrize("name", NAMES)
def test_the_first_stage_is_built_once_for_all(name):
    assert stage(name, "base") == stage(NAMES[0], "base")


@pytest.mark.parametrize("name", NAMES)
def test_only_what_every_builder_knows_and_no_address_is_in_it(name):
    text = text_of(name)
    assert not re.search(r"<<|--link|# syntax=|://|index-url|trusted-host|proxy", text, re.IGNORECASE)
    installs = re.findall(r"pip (?:--python \S+ )?(?:install|wheel) .*", text)
    assert len(installs) == 4 + (name == "broker")
    for line in installs:
        assert "--require-hashes --only-binary :all:" in line or "--no-index --no-deps" in line


@pytest.mark.parametrize(
    ("builder", "before", "after"),
    [
        ("{} build", ["build", "--tag", "TAG"], ["."]),
        ("{} buildx build --load", ["buildx", "build", "--load", "--tag", "TAG"], ["."]),
        ("{}", ["TAG", "."], []),
    ],
)
def test_each_builder_gets_its_arguments_in_its_order(tmp_path, builder, before, after):
    program = tmp_path / "builder"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        "with open(sys.argv[0] + '.calls', 'a') as calls:\n    print(json.dumps(sys.argv[1:]), file=calls)\n"
    )
    program.chmod(0o755)
    command = [
        "make",
        "--no-print-directory",
        "images",
        f"BUILD={builder.format(program)}",
        "IMAGES=uploader broker",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "builder.calls").read_text().splitlines()
    for name, call in zip(("uploader", "broker"), calls, strict=True):
        words = json.loads(call)
        file = str(dockerfile(name).relative_to(ROOT))
        assert words[: len(before)] == [word.replace("TAG", image(name)) for word in before]
        assert words[len(words) - len(after) :] == after
        assert words[words.index("--file") + 1] == file
        assert f"VERSION={VERSION}" in words
        assert any(re.fullmatch(r"REVISION=([0-9a-f]{40}(-dirty)?|unknown)", word) for word in words)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["no-such-builder-here build", "uploader"],
            "there is no no-such-builder-here here: name another builder",
        ),
        (
            ["true", "uplaoder"],
            "there is no image uplaoder: there are uploader, downloader, registry, operator",
        ),
        (["true"], "usage: images/build BUILDER IMAGE..."),
    ],
)
def test_what_cannot_be_built_is_one_line(arguments, says):
    done = subprocess.run([ROOT / "images/build", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
