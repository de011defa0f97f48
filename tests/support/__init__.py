"""What several suites share: a world of pure decisions, a model of sagas."""
