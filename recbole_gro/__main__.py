"""python -m recbole_gro is the command."""

import sys

from recbole_gro.cli.main import main

sys.exit(main())
