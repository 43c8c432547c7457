"""What the API takes and answers: the values of `core.types`, named and shaped as the REST contract says."""
