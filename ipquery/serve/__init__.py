"""HTTP: one parser, the routes, and what they answer."""
