"""`python -m torpor.prewarm MODE`: the program without the command line of the whole product."""

import sys

from torpor.prewarm.program import main

sys.exit(main(sys.argv[1:]))
