"""`python -m penstock` is `penstock`."""

import sys

from penstock.main import main

sys.exit(main())
