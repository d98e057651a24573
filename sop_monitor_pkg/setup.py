from glob import glob

from setuptools import find_packages, setup

setup(
    name="sop_monitor_pkg",
    version="0.1.0",
    packages=find_packages(include=["sop_monitor_pkg", "sop_monitor_pkg.*"]),
    package_data={"sop_monitor_pkg.web": ["static/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/sop_monitor_pkg"]),
        ("share/sop_monitor_pkg", ["package.xml"]),
        ("share/sop_monitor_pkg/config", glob("config/*.yaml")),
        ("share/sop_monitor_pkg/config/procedures", glob("config/procedures/*.yaml")),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="vjepa-ros maintainers",
    maintainer_email="maintainers@vjepa-ros.org",
    description="Monitor of a standard operating procedure: procedures, alarms, journal and page.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "sop_follower_node = sop_monitor_pkg.nodes.sop_follower_node:main",
            "sop_monitor_node = sop_monitor_pkg.nodes.sop_monitor_node:main",
        ],
    },
)
