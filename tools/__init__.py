"""Checks that `make check` runs on files that are not Python. No part of the packages."""
