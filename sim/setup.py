from glob import glob

from setuptools import find_packages, setup

setup(
    name="vjepa_sim",
    version="0.1.0",
    packages=find_packages(include=["vjepa_sim", "vjepa_sim.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/vjepa_sim"]),
        ("share/vjepa_sim", ["package.xml"]),
        ("share/vjepa_sim/config", glob("config/*.yaml")),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="vjepa-ros maintainers",
    maintainer_email="maintainers@vjepa-ros.org",
    description="Simulated Franka Panda with tasks, camera and goal images, and its node.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "sim_node = vjepa_sim.nodes.sim_node:main",
            "station_node = vjepa_sim.nodes.station_node:main",
        ],
    },
)
