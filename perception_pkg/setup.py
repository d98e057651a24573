from glob import glob
from pathlib import Path

from setuptools import find_packages, setup


def files(folder: str) -> list[tuple[str, list[str]]]:
    """Everything below `folder`, kept in its place under share."""
    found = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    share = "share/perception_pkg"
    return [(f"{share}/{path.parent}", [str(path)]) for path in found]


setup(
    name="perception_pkg",
    version="0.1.0",
    packages=find_packages(include=["perception_pkg", "perception_pkg.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/perception_pkg"]),
        ("share/perception_pkg", ["package.xml"]),
        ("share/perception_pkg/config", glob("config/*.yaml")),
        *files("models"),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="vjepa-ros maintainers",
    maintainer_email="maintainers@vjepa-ros.org",
    description="Parts, surface defects, texts and codes in camera pictures: core and nodes.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "action_node = perception_pkg.nodes.action_node:main",
            "detector_node = perception_pkg.nodes.detector_node:main",
            "defect_node = perception_pkg.nodes.defect_node:main",
            "text_node = perception_pkg.nodes.text_node:main",
        ],
    },
)
