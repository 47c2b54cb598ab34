"""``python -m pmigd`` is ``pmigd``."""

import sys

from pmigd.daemon.main import main

sys.exit(main())
