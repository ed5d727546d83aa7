"""Out to the workers: doorbells through Celery, orders, acknowledgements and wishes through Redis."""
