"""Shows what a sweep has found: tables, figures, one page, and where its trials stand."""
