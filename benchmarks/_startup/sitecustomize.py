"""Run at the start of every Python that has this folder on its path, as :func:`benchmarks._instead.instead` puts it.

Where Python is to run a module that a benchmark has replaced, the benchmark's own runs in its place.
"""

import json
import os
import runpy
import sys
import traceback

replaced: dict[str, str] = json.loads(os.environ.get("FEDGIN_BENCHMARK_MODULES", "{}"))
module = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv else ""
if module in replaced:
    code = 1
    try:
        runpy.run_module(replaced[module], run_name="__main__")
        code = 0
    except BaseException:  # Python would go on and run what was replaced
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)
