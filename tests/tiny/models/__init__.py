"""One module a family: what makes its tiny pipeline, and CASES for the tests that all families pass."""
