"""``python -m retrace`` is the same as the ``retrace`` command."""

import sys

from retrace.launcher import main

if __name__ == "__main__":
    sys.exit(main())
