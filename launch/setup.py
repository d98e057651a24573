from glob import glob

from setuptools import find_packages, setup

setup(
    name="vjepa_bringup",
    version="0.1.0",
    packages=find_packages(include=["vjepa_bringup", "vjepa_bringup.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/vjepa_bringup"]),
        ("share/vjepa_bringup", ["package.xml"]),
        ("share/vjepa_bringup/launch", glob("*.launch.xml")),
        ("share/vjepa_bringup/config", glob("config/*")),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="vjepa-ros maintainers",
    maintainer_email="maintainers@vjepa-ros.org",
    description="Launch files, DDS profile, launcher for machines without ros2, demo and checks.",
    license="Apache-2.0",
)
