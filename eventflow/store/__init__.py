"""The only code that touches the database: models, `record` (writes), `queries` (reads), `spans` (the span engine)."""
