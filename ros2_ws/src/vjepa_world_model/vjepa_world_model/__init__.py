"""V-JEPA 2 world model: encoder, action-conditioned predictor, energy; no ROS in here."""
