"""Tests of gateway/store, mirrored file by file."""
