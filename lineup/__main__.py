"""Makes ``python -m lineup`` work."""

import sys

from lineup.cli import main

sys.exit(main())
