"""``python -m glmheads.cli``."""

import sys

from glmheads.cli import main

if __name__ == "__main__":
    sys.exit(main())
