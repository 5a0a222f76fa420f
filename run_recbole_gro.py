"""The command of recbole_gro: python run_recbole_gro.py --model=BERT4Rec --config_files=gro.yaml"""

import sys

from recbole_gro.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
