"""Data: dataset configs that describe data sets, their preparation into uint8 arrays, and the stream of batches."""
