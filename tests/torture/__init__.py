"""Searches on real workers while everything dies at random, and a checker that asks what came of it."""
