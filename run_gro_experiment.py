"""The paper's experiments: python run_gro_experiment.py defenses"""

import sys

from recbole_gro.cli.experiment import main

if __name__ == "__main__":
    sys.exit(main())
