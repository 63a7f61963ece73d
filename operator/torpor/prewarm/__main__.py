"""`python -m torpor.prewarm MODE`: the program without the command line of the whole product."""

import os
import sys

from torpor.prewarm.program import main

status = main(sys.argv[1:])
sys.stdout.flush()
sys.stderr.flush()
os._exit(
    status
)  # nothing is left to be cleaned up; taking the interpreter down costs 50 ms of CPU time
