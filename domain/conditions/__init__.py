"""The one condition language: typed forms (`model`), the in-memory evaluator (`memory`), inputs and checks."""
