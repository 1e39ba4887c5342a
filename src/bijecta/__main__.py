"""Let ``python -m bijecta`` do what the command ``bijecta`` does."""

import sys

from bijecta.cli import main

if __name__ == "__main__":
    sys.exit(main())
