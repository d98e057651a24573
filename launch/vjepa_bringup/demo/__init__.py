"""`./run demo`: a simulated arm reaches the poses shown in goal pictures, driven by the nodes."""

import time

BEGUN_S = time.monotonic()  # imports take their time as well
