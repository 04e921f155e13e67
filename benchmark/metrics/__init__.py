"""Metrics: pure functions of features, logits and labels, and the extractors that make those from images."""
