"""Feature extractors: frozen networks that turn images into features, their weights, and a store of what they gave."""
