from pathlib import Path

from setuptools import find_packages, setup


def files(folder: str) -> list[tuple[str, list[str]]]:
    """Everything below `folder`, kept in its place under share."""
    found = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    share = "share/vjepa_world_model"
    return [(f"{share}/{path.parent}", [str(path)]) for path in found]


setup(
    name="vjepa_world_model",
    version="0.1.0",
    packages=find_packages(include=["vjepa_world_model", "vjepa_world_model.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/vjepa_world_model"]),
        ("share/vjepa_world_model", ["package.xml"]),
        *files("models"),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="vjepa-ros maintainers",
    maintainer_email="maintainers@vjepa-ros.org",
    description="V-JEPA 2 encoder and action-conditioned predictor: weights, energy, training.",
    license="Apache-2.0",
)
