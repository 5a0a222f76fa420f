"""python -m recbole_gro is the command."""

import sys

from recbole_gro.command import main

sys.exit(main())
