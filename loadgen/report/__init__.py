"""What a run has found, and its forms: text, tables, JSON, pages with charts."""
