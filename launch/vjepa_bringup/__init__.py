"""Starting the stack: launcher, demo, doctor and data collection."""
