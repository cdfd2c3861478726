"""Look-ups, as no HTTP server sees them: snapshot, caches and remote sources."""
