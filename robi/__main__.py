"""`python -m robi` is the command `robi`."""

import sys

from robi.cli.main import main

sys.exit(main())
