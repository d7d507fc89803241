"""Tests that hold the gateway to its protocol, frame by frame."""
