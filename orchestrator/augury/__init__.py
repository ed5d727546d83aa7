"""Augury: hyperparameter searches over any command, on your own machines."""
