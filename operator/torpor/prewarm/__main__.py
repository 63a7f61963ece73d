"""`python -m torpor.prewarm MODE`: the program without the command line of the whole product."""

import gc
import os
import sys


def _run() -> int:
    gc.disable()  # until all is imported that the mode needs: see `program.settle`
    from torpor.prewarm.program import main

    return main(sys.argv[1:])


status = _run()
sys.stdout.flush()
sys.stderr.flush()
# Nothing is left to be cleaned up, and taking the interpreter down costs 50 ms of CPU time.
os._exit(status)
