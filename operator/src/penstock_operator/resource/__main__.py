"""Write what is generated from the models. Run it in the root of the repository."""

from pathlib import Path
from typing import Final

from penstock_operator.resource.crd import crd_yaml
from penstock_operator.resource.reference import EXAMPLES, reference

CRD: Final = Path("charts/penstock/files/crds/directorystreams.yaml")
REFERENCE: Final = Path("docs/directorystream.md")


def generated(root: Path) -> dict[Path, str]:
    """Give the content of each generated file; the examples are read from `root`."""
    examples = {name: (root / "operator/examples" / f"{name}.yaml").read_text("utf-8") for name in EXAMPLES}
    return {CRD: crd_yaml(), REFERENCE: reference(examples)}


if __name__ == "__main__":
    for path, text in generated(Path()).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
