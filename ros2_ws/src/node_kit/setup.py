from setuptools import find_packages, setup

setup(
    name="node_kit",
    version="0.1.0",
    packages=find_packages(include=["node_kit", "node_kit.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/node_kit"]),
        ("share/node_kit", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="vjepa-ros maintainers",
    maintainer_email="maintainers@vjepa-ros.org",
    description="What every node shares: parameters, lifecycle, worker, images, QoS, health.",
    license="Apache-2.0",
)
