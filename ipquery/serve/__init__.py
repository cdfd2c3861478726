"""What a worker does: HTTP, look-ups, and the routes between them."""
