"""``python -m pmigd.cli`` is pmigctl."""

from pmigd.cli.main import main

raise SystemExit(main())
