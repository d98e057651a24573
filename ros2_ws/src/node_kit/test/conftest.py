from node_kit.testing import ros  # noqa: F401
