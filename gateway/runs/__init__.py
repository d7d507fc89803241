"""Runs carried out: claimed, executed, written, kept alive, ended."""
