from glob import glob

from setuptools import find_packages, setup

setup(
    name="robot_cell",
    version="0.1.0",
    packages=find_packages(include=["robot_cell", "robot_cell.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/robot_cell"]),
        ("share/robot_cell", ["package.xml"]),
        ("share/robot_cell/cells", sorted(glob("cells/*.yaml"))),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="vjepa-ros maintainers",
    maintainer_email="maintainers@vjepa-ros.org",
    description="The described cell: arm, gripper, cameras, workspace, limits, layouts.",
    license="Apache-2.0",
)
