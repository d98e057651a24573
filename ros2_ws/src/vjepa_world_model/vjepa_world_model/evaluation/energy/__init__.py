"""`./run energy`: what a world model believes of actions whose outcome is known."""
