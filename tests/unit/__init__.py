"""Tests of one module each, in the order of gateway/'s rooms."""
