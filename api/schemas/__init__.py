"""What the API takes and answers: the values of `core.domain`, named and shaped as the REST contract says."""
