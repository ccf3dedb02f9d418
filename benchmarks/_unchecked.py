"""Stands for the process that tries a job's network: it finds nothing wrong. See :mod:`benchmarks._instead`.

Each site of a federation starts such a process before a job, with 7 s of CPU. Thirty on two cores are not ready before
FLARE gives the sites up.
"""

import json
import sys

if __name__ == "__main__":
    sys.stdin.read()
    print(json.dumps({"parameters": 1}))
