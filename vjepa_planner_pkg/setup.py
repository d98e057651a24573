from glob import glob

from setuptools import find_packages, setup

setup(
    name="vjepa_planner_pkg",
    version="0.1.0",
    packages=find_packages(include=["vjepa_planner_pkg", "vjepa_planner_pkg.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/vjepa_planner_pkg"]),
        ("share/vjepa_planner_pkg", ["package.xml"]),
        ("share/vjepa_planner_pkg/config", glob("config/*.yaml")),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="vjepa-ros maintainers",
    maintainer_email="maintainers@vjepa-ros.org",
    description="Planning toward goal images: planner, MPC and command guard, and their nodes.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "encoder_node = vjepa_planner_pkg.nodes.encoder_node:main",
            "predictor_node = vjepa_planner_pkg.nodes.predictor_node:main",
            "mpc_node = vjepa_planner_pkg.nodes.mpc_node:main",
            "command_guard_node = vjepa_planner_pkg.nodes.command_guard_node:main",
            "composed_planner_node = vjepa_planner_pkg.nodes.composed_planner_node:main",
        ],
    },
)
