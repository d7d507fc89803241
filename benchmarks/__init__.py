"""One script a published number; each prints its own `--help`."""
