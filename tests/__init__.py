"""The tests.

Each process computes in one thread: the tensors are small, several tests run side by side, and a fork of a process with
a pool of threads could not use it.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
