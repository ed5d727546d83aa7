"""The store: searches, runs, attempts, points and events in SQLite or PostgreSQL.

The only package that knows SQL. Its verbs are plain functions over a connection; every state
transition is one compare-and-set statement with its event row in the same transaction.
"""
