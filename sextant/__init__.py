"""The library that the workloads stand on: what Lightning lacks."""
