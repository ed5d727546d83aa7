"""Searches on real workers while everything dies at random, and a checker that asks what came of it."""

import os

# Before numpy is loaded, as in the server: with more threads the last bits of a suggestion are others.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
