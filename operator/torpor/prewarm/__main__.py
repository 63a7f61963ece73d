"""`python -m torpor.prewarm MODE`: the program without the command line of the whole product."""

import os
import sys

from torpor.prewarm.program import main

status = main(sys.argv[1:])
sys.stdout.flush()
sys.stderr.flush()
# Nothing is left to be cleaned up, and taking the interpreter down costs 50 ms of CPU time.
os._exit(status)
