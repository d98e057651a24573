"""What every node of the project shares: lifecycle, parameters, worker, images, QoS, health.

Uses rclpy, never torch. Importing the package imports nothing: take what you need by module.
"""
