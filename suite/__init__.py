"""Pocketproof: proof that a deep-learning model survives the trip to a phone."""
